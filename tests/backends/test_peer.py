"""A peer as a backend: its catalog is a stranger's text, its key must be the compared one."""

import ssl

import msgspec
import pytest

from backends.peer_rig import ANNA, BEN, CATALOG, MALLORY, SHARED, answer, ben, catalog, connected, probe_of
from meshlight.backends.base import ChannelDeps, Probe
from meshlight.backends.peer import PeerChannel, PeerKind, _decode, _probe_of
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.errors import Conflict, ConnectError, NotFound
from meshlight.domain.health import Answered, Failed, Refused
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.peers.tls import client_context, server_context
from servers.byte_server import Peer
from servers.byte_server import answering as _answering


async def test_the_models_of_a_peer_are_listed_with_what_it_tells_of_them() -> None:
    probe = await probe_of(
        backends=[SHARED | {"details": {"m": {"context": 4096, "quantization": "Q4_K_M"}}}]
    )

    assert isinstance(probe.fact, Answered)
    assert probe.models == ("m",)
    assert probe.details == {"m": ModelDetail(context=4096, quantization="Q4_K_M")}
    assert probe.about == {"study": "ollama, healthy, 1 model"}
    assert probe.warnings == ()


@pytest.mark.parametrize(
    ("terms", "can_load"),
    [({}, False), ({"may_manage": True}, True), ({"may_manage": True, "paused": True}, False)],
)
async def test_whether_models_may_be_loaded_there_is_in_the_catalog(
    terms: dict[str, object], can_load: bool
) -> None:
    assert (await probe_of(**terms)).can_load is can_load


@pytest.mark.parametrize(
    ("status", "error"), [(403, Conflict), (404, NotFound), (409, Conflict), (500, Conflict), (200, Conflict)]
)
async def test_what_a_peer_refuses_to_load_is_told_in_its_words(status: int, error: type[Exception]) -> None:
    said = {"error": {"message": "Somebody\x1b[31m uses it now."}}
    async with connected(ben(answer(said, status))) as (connection, server):
        for act in (PeerKind().load_model, PeerKind().unload_model):
            with pytest.raises(error, match=r"Ben did not (un)?load m\. It says: Somebody") as caught:
                await act(connection.probes, connection.backend, None, "m")
            assert str(caught.value).isprintable()
        assert [request.body for request in server.requests] == [b'{"model":"m"}'] * 2


async def test_an_unchanged_catalog_is_not_sent_again_and_means_the_same() -> None:
    async with connected(ben(catalog(), answer(b"", 304))) as (connection, server):
        first, second = await connection.probe(), await connection.probe()

        asked = [request for request in server.requests if "/peer/catalog" in request.line]
        assert [request.headers.get("if-none-match") for request in asked] == [None, '"aaaa1111"']
        assert isinstance(second.fact, Answered)
        assert (second.models, second.about) == (first.models, first.about)


async def test_a_304_to_who_has_no_catalog_is_no_answer() -> None:
    async with connected(ben(answer(b"", 304))) as (connection, _):
        assert isinstance((await connection.probe()).fact, Failed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b"{" + b'"v":1,' * 3 + b"}",
        b'{"node_id":"x","name":"y","backends":[' + b"{}," * 500_001 + b"{}]}",
        msgspec.json.encode(CATALOG | {"backends": [SHARED | {"state": "splendid"}]}),
        msgspec.json.encode(CATALOG | {"backends": [SHARED | {"models": [7]}]}),
    ],
)
async def test_what_is_no_catalog_is_told_so_and_changes_nothing(body: bytes) -> None:
    async with connected(ben(answer(body))) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Failed)
    assert probe.fact.reason.code == "bad-reply"
    assert "no catalog" in probe.fact.reason.text
    assert probe.models is None


async def test_a_catalog_of_a_later_version_with_more_in_it_is_read_as_far_as_it_is_known() -> None:
    assert (await probe_of(v=2, colour="blue", backends=[SHARED | {"mood": "fine"}])).models == ("m",)


async def test_what_is_in_memory_the_slots_and_the_context_are_passed_on() -> None:
    detail = {"loaded": True, "slots": 4, "context": 8192}
    cold = {"loaded": False, "load_s": 7.5, "slots": 2, "context": 131_072}
    probe = await probe_of(backends=[SHARED | {"details": {"m": detail}}])
    assert probe.details == {"m": ModelDetail(loaded=True, slots=4, context=8192)}
    probe = await probe_of(backends=[SHARED | {"details": {"m": cold}}, SHARED | {"details": {"m": detail}}])
    both = ModelDetail(loaded=True, load_s=7.5, slots=6, context=131_072)
    assert probe.details == {"m": both}, "of both together"
    crowded = {"running": 8, "waiting": 3}
    probe = await probe_of(
        backends=[SHARED | {"details": {"m": crowded}}, SHARED | {"details": {"m": crowded}}]
    )
    assert probe.details == {"m": ModelDetail(running=16, waiting=6)}
    probe = await probe_of(
        backends=[SHARED | {"details": {"m": crowded}}, SHARED | {"details": {"m": detail}}]
    )
    assert probe.details == {"m": ModelDetail(loaded=True, context=8192)}, "the other one takes requests"
    probe = await probe_of(backends=[SHARED | {"details": {"m": {"slots": -1, "load_s": -1.0}}}, SHARED])
    assert probe.details == {}


async def test_names_that_would_spoil_a_terminal_or_a_page_are_cleaned_or_left_out() -> None:
    evil = "\x1b[31m\u202eevil\r\nx"
    backend = SHARED | {
        "name": evil * 50,
        "kind": "o\x1b[2J",
        "models": ["good", evil, "", " ", "x" * 513, "good"],
        "details": {
            "good": {"context": -5, "quantization": evil * 99, "parameters": "\x00", "capabilities": [evil]},
            "never listed": {"context": 5},
        },
    }
    probe = await probe_of(name=evil, backends=[backend])

    assert probe.models == ("good",)
    assert probe.details is not None
    assert probe.about is not None
    assert set(probe.details) == {"good"}
    detail = probe.details["good"]
    assert detail.context is None
    shown = [
        *probe.about,
        *probe.about.values(),
        detail.quantization,
        detail.parameters,
        *detail.capabilities,
    ]
    assert all(text.isprintable() and len(text) <= 120 for text in shown)


async def test_a_catalog_without_bounds_is_cut_to_what_can_be_used() -> None:
    probe = await probe_of(
        backends=[SHARED | {"name": f"b{n}", "models": [f"{n}-{m}" for m in range(60)]} for n in range(300)]
    )

    assert probe.models is not None
    assert probe.about is not None
    assert len(probe.models) == 10_000
    assert len(probe.about) <= 20


async def test_a_hash_that_is_none_is_not_sent_back() -> None:
    async with connected(ben(catalog(hash='a"\r\nx-evil: 1'))) as (connection, server):
        await connection.probe()
        await connection.probe()

        assert all("if-none-match" not in request.headers for request in server.requests)
        assert all(b"evil" not in request.raw_head for request in server.requests)


async def test_a_paused_peer_answers_and_has_no_models_for_now() -> None:
    probe = await probe_of(paused=True)

    assert isinstance(probe.fact, Answered)
    assert probe.models == ()
    assert probe.warnings == ("Its owner has paused sharing on Ben.",)


async def test_models_of_a_backend_that_is_down_there_are_not_offered_here() -> None:
    probe = await probe_of(
        backends=[SHARED, SHARED | {"name": "attic", "state": "unhealthy", "models": ["n"]}]
    )

    assert probe.models == ("m",)
    assert probe.about == {"study": "ollama, healthy, 1 model", "attic": "ollama, unhealthy, 1 model"}


BEN_BACKEND = Backend(id="peer-ben", name="Ben", kind="peer", ring="lan", url="https://127.0.0.1:1")


def unusable(**fields: object) -> dict[str, str]:
    """The models of such a catalog that can't be used, and why."""
    decoded = _decode(msgspec.json.encode(CATALOG | fields))
    assert decoded is not None
    return {model: why.text for model, why in (_probe_of(decoded, BEN_BACKEND).unusable or {}).items()}


def test_models_that_a_peer_has_and_that_can_not_be_used_are_known_with_the_reason() -> None:
    assert unusable() == {}
    assert unusable(paused=True) == {"m": "Its owner has paused sharing on Ben."}
    down = SHARED | {"state": "unhealthy", "models": ["m", "n"]}
    assert unusable(backends=[down, SHARED]) == {"n": "study on Ben is unhealthy there."}


def test_a_model_that_a_peer_does_not_share_any_more_is_known_as_that() -> None:
    upstream = Upstream(parse_address(BEN_BACKEND.url))
    channel = PeerChannel(PeerKind(), ChannelDeps(BEN_BACKEND, upstream, Upstream, lambda: 0.0, lambda: 0.0))
    before, after, again = (
        channel._with_withdrawn(Probe(fact=Answered(), models=models), BEN_BACKEND)
        for models in (("m", "n"), ("m",), ("m", "n"))
    )
    assert (before.unusable, again.unusable) == ({}, {})
    assert after.unusable is not None
    assert {model: why.text for model, why in after.unusable.items()} == {
        "n": "Ben does not share n with you any more."
    }


async def test_a_peer_that_shares_nothing_or_can_not_reach_us_says_so() -> None:
    probe = await probe_of(backends=[], sees_you=False)

    assert [text.split(":")[0] for text in probe.warnings or ()] == [
        "Ben can't reach this machine",
        "Ben shares no model with you now.",
    ]


async def test_who_was_unpaired_there_is_told_once_and_for_all() -> None:
    async with connected(ben(answer({"error": {}}, 403))) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Refused)
    assert probe.fact.reason.code == "unpaired"
    assert "meshlight pair" in probe.fact.reason.fix


async def test_over_tls_the_compared_key_is_taken() -> None:
    tls = server_context(BEN, [ANNA.certificate_pem])
    async with connected(
        ben(catalog()), server_tls=tls, client_tls=client_context(ANNA, BEN.certificate_pem)
    ) as (connection, server):
        assert isinstance((await connection.probe()).fact, Answered)
        assert server.requests[0].line == "GET /peer/catalog HTTP/1.1"


async def test_another_key_is_told_as_such_and_gets_not_a_byte() -> None:
    tls = server_context(MALLORY, [ANNA.certificate_pem])
    async with connected(
        ben(catalog()), server_tls=tls, client_tls=client_context(ANNA, BEN.certificate_pem)
    ) as (connection, server):
        probe = await connection.probe()

        assert isinstance(probe.fact, Refused)
        assert probe.fact.reason.code == "identity-changed"
        assert "posing as it" in probe.fact.reason.fix
        assert server.requests == []


async def test_a_server_that_does_not_know_our_key_is_told_as_one_that_hangs_up() -> None:
    tls = server_context(BEN, [MALLORY.certificate_pem])
    async with connected(
        ben(catalog()), server_tls=tls, client_tls=client_context(ANNA, BEN.certificate_pem)
    ) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Failed)
    assert probe.fact.reason.code == "connection-lost"
    assert "pair" in probe.fact.reason.fix


async def test_a_server_without_tls_is_told_as_another_program() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.read(5)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with connected(talk, client_tls=client_context(ANNA, BEN.certificate_pem)) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Failed)
    assert probe.fact.reason.code == "other-server"


async def test_a_peer_that_restarts_in_the_handshake_is_not_taken_for_an_impostor() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.reader.read(5)
        peer.reset()

    async with connected(hang_up, client_tls=client_context(ANNA, BEN.certificate_pem)) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Failed)
    assert probe.fact.reason.code == "connection-lost"


async def test_a_peer_whose_certificate_is_lost_here_is_no_impostor_either() -> None:
    def lost() -> ssl.SSLContext:
        raise ConnectError("tls", "This machine has no certificate of that peer: pair it anew.")

    async with connected(ben(catalog()), client_tls=lost) as (connection, _):
        probe = await connection.probe()

    assert isinstance(probe.fact, Refused)
    assert probe.fact.reason.code == "no-certificate"
    assert "no certificate" in probe.fact.reason.text


async def test_requests_go_to_the_peer_itself_and_no_other_way_is_better() -> None:
    async with connected(_answering(catalog())) as (connection, _):
        assert await connection.channel.route("m", None) is None
        assert connection.channel.renew("m", 401, b"") is False


def test_the_kind_sends_no_key_and_is_found_by_nobody() -> None:
    kind = PeerKind()

    assert kind.authorize("sk-secret") == ()
    assert kind.fields == ()
    assert kind.speaks("gemini/generateContent")
    assert kind.speaks("api/chat")


async def test_a_model_that_a_peer_may_fetch_from_far_away_says_how_far() -> None:
    far = SHARED | {"ring": "cloud", "models": ["m", "far"]}
    probe = await probe_of(backends=[SHARED, SHARED | {"ring": "company"}, far])
    assert probe.details == {"m": ModelDetail(ring="cloud"), "far": ModelDetail(ring="cloud")}
    assert (await probe_of(backends=[SHARED])).details == {}
