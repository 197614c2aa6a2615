"""What goes to a backend: the same bytes where it speaks the protocol, else a translation; never a client's key."""

from collections.abc import Mapping

import msgspec
import pytest

from meshlight.backends.address import Address
from meshlight.backends.kind import Face, Way
from meshlight.backends.upstream import Upstream
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.errors import Untranslatable
from meshlight.gateway.bodies import Head
from meshlight.gateway.inbound import Inbound
from meshlight.gateway.parcel import Parcel, pack
from meshlight.mesh.links import Link

CANARY = b"canary-5e1d"
BODY = b'{"model":"m",  "messages":[{"role":"user","content":"hi"}]}'


def link(kind: Kind, url: str = "http://127.0.0.1:8080", secret: str | None = None) -> Link:
    backend = Backend(id="b", name="b", kind=kind, ring="machine", url=url)
    address = Address("http", "127.0.0.1", 8080)
    found = Link(backend, Upstream(address), Upstream(address))
    found.know(secret)
    return found


def inbound(face: Face = "chat/completions", body: bytes = BODY, visited: tuple[str, ...] = ()) -> Inbound:
    headers = (
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + CANARY),
        (b"x-api-key", CANARY),
        (b"x-meshlight-via", CANARY),
        (b"cookie", CANARY),
        (b"user-agent", b"curl"),
    )
    return Inbound(
        face=face,
        target=f"/v1/{face}",
        headers=headers,
        content_type=b"application/json",
        body=body,
        head=Head("m"),
        visited=visited,
    )


def packed(
    request: Inbound, to: Link, model: str = "m", way: Way | None = None, *, translated: bool = False
) -> Parcel:
    parcel = pack(request, model, to, way, "here", translated=translated)
    assert isinstance(parcel, Parcel)
    return parcel


def named(parcel: Parcel) -> Mapping[bytes, bytes]:
    return dict(parcel.headers)


def test_what_the_backend_understands_goes_on_byte_for_byte_under_its_own_key() -> None:
    parcel = packed(inbound(), link("llamacpp", secret="sk-own"))

    assert parcel.body is inbound().body
    assert parcel.target == "/v1/chat/completions"
    assert parcel.back is None
    assert named(parcel)[b"authorization"] == b"Bearer sk-own"
    assert named(parcel)[b"user-agent"] == b"curl"
    assert not any(CANARY in value for _, value in parcel.headers)


def test_another_name_of_the_model_is_written_into_the_body() -> None:
    assert msgspec.json.decode(packed(inbound(), link("llamacpp"), "other").body)["model"] == "other"


def test_engines_and_peers_are_told_through_whom_it_came() -> None:
    for kind in ("llamacpp", "peer"):
        parcel = packed(inbound(visited=("a",)), link(kind))
        assert named(parcel)[b"x-meshlight-via"] == b"a,here"


def test_a_peer_gets_the_request_as_it_came_and_no_key() -> None:
    for face in ("chat/completions", "messages", "embeddings"):
        parcel = packed(inbound(face), link("peer", secret="sk-never"))
        assert (parcel.body, parcel.target) == (BODY, f"/v1/{face}")
        assert b"authorization" not in named(parcel)
        assert not any(CANARY in value or b"sk-never" in value for _, value in parcel.headers)


def test_a_way_of_its_own_decides_place_key_and_name_and_takes_none_of_the_clients_headers() -> None:
    there = Upstream(Address("http", "127.0.0.1", 9090))
    way = Way(there, ((b"authorization", b"Bearer token"),), "service-model")
    parcel = packed(inbound(), link("continuum"), way=way)

    assert parcel.upstream is there
    assert msgspec.json.decode(parcel.body)["model"] == "service-model"
    assert named(parcel)[b"authorization"] == b"Bearer token"
    assert b"user-agent" not in named(parcel)


def test_a_translated_request_brings_its_way_home_with_it() -> None:
    body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
    parcel = packed(inbound("messages", body), link("openai-compatible"), translated=True)

    assert parcel.target == "/v1/chat/completions"
    assert parcel.back is not None
    assert not any(CANARY in value for _, value in parcel.headers)


def test_what_can_not_be_said_in_the_backends_protocol_is_named() -> None:
    body = b'{"model":"m","prompt":"hi","context":[1,2]}'
    with pytest.raises(Untranslatable, match="context"):
        packed(inbound("api/generate", body), link("llamacpp"), translated=True)


def test_a_cloud_behind_a_proxy_in_the_house_is_told_nothing_of_the_mesh_and_still_costs_money() -> None:
    cloud = link("openai", secret="sk-own")
    assert b"x-meshlight-via" not in named(packed(inbound(), cloud))
    assert cloud.backend.is_metered
