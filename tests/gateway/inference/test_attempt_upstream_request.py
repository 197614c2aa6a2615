"""What goes to a backend: the same bytes where it speaks the protocol, else a translation; never a client's key."""

from collections.abc import Mapping

import msgspec
import pytest

from meshlight.backends.base import ModelRoute
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.errors import Untranslatable
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.attempt import UpstreamRequest, build_upstream_request
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.mesh.backend_connections import BackendConnection

CANARY = b"canary-5e1d"
BODY = b'{"model":"m",  "messages":[{"role":"user","content":"hi"}]}'


def link(kind: Kind, url: str = "http://127.0.0.1:8080", secret: str | None = None) -> BackendConnection:
    backend = Backend(id="b", name="b", kind=kind, ring="machine", url=url)
    address = Address("http", "127.0.0.1", 8080)
    found = BackendConnection(backend, Upstream(address), Upstream(address))
    found.set_secret(secret)
    return found


def inbound(
    operation: Operation = "chat/completions", body: bytes = BODY, visited: tuple[str, ...] = ()
) -> InferenceRequest:
    headers = (
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + CANARY),
        (b"x-api-key", CANARY),
        (b"x-meshlight-via", CANARY),
        (b"cookie", CANARY),
        (b"user-agent", b"curl"),
    )
    return InferenceRequest(
        operation=operation,
        target=f"/v1/{operation}",
        headers=headers,
        content_type=b"application/json",
        body=body,
        head=Head("m"),
        visited=visited,
    )


def packed(
    request: InferenceRequest,
    to: BackendConnection,
    model: str = "m",
    way: ModelRoute | None = None,
    *,
    translated: bool = False,
) -> UpstreamRequest:
    upstream_request = build_upstream_request(request, model, to, way, "here", translated=translated)
    assert isinstance(upstream_request, UpstreamRequest)
    return upstream_request


def named(upstream_request: UpstreamRequest) -> Mapping[bytes, bytes]:
    return dict(upstream_request.headers)


def test_what_the_backend_understands_goes_on_byte_for_byte_under_its_own_key() -> None:
    upstream_request = packed(inbound(), link("llamacpp", secret="sk-own"))

    assert upstream_request.body is inbound().body
    assert upstream_request.target == "/v1/chat/completions"
    assert upstream_request.translator is None
    assert named(upstream_request)[b"authorization"] == b"Bearer sk-own"
    assert named(upstream_request)[b"user-agent"] == b"curl"
    assert not any(CANARY in value for _, value in upstream_request.headers)


def test_another_name_of_the_model_is_written_into_the_body() -> None:
    assert msgspec.json.decode(packed(inbound(), link("llamacpp"), "other").body)["model"] == "other"


def test_engines_and_peers_are_told_through_whom_it_came() -> None:
    for kind in ("llamacpp", "peer"):
        upstream_request = packed(inbound(visited=("a",)), link(kind))
        assert named(upstream_request)[b"x-meshlight-via"] == b"a,here"


def test_a_peer_gets_the_request_as_it_came_and_no_key() -> None:
    for operation in ("chat/completions", "messages", "embeddings"):
        upstream_request = packed(inbound(operation), link("peer", secret="sk-never"))
        assert (upstream_request.body, upstream_request.target) == (BODY, f"/v1/{operation}")
        assert b"authorization" not in named(upstream_request)
        assert not any(CANARY in value or b"sk-never" in value for _, value in upstream_request.headers)


def test_a_way_of_its_own_decides_place_key_and_name_and_takes_none_of_the_clients_headers() -> None:
    there = Upstream(Address("http", "127.0.0.1", 9090))
    translator = ModelRoute(there, ((b"authorization", b"Bearer token"),), "service-model")
    upstream_request = packed(inbound(), link("continuum"), way=translator)

    assert upstream_request.upstream is there
    assert msgspec.json.decode(upstream_request.body)["model"] == "service-model"
    assert named(upstream_request)[b"authorization"] == b"Bearer token"
    assert b"user-agent" not in named(upstream_request)


def test_a_translated_request_brings_its_way_home_with_it() -> None:
    body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
    upstream_request = packed(inbound("messages", body), link("openai-compatible"), translated=True)

    assert upstream_request.target == "/v1/chat/completions"
    assert upstream_request.translator is not None
    assert not any(CANARY in value for _, value in upstream_request.headers)


def test_what_can_not_be_said_in_the_backends_protocol_is_named() -> None:
    body = b'{"model":"m","prompt":"hi","context":[1,2]}'
    with pytest.raises(Untranslatable, match="context"):
        packed(inbound("api/generate", body), link("llamacpp"), translated=True)


def test_a_cloud_behind_a_proxy_in_the_house_is_told_nothing_of_the_mesh_and_still_costs_money() -> None:
    cloud = link("openai", secret="sk-own")
    assert b"x-meshlight-via" not in named(packed(inbound(), cloud))
    assert cloud.backend.is_metered
