"""The LAN listener: only paired keys get in, and they get only what is shared."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshlight.gateway.inference.request import BODY_LIMIT
from meshlight.peers.tls import client_context, pairing_client_context
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER
from security.paired_node import MALLORY, PairedNode, read_all, settled, simulated
from security.test_smuggling import REFUSED, REFUSED_WHOLE

CANARY = "canary-c0ffee"
"""In the names of everything that is not shared."""
PEER_PATHS = ("/peer/catalog", "/peer/events")
NOT_SHARED = [
    f"{CANARY}-here",
    f"{CANARY}-only:latest",
    f"{CANARY}-only",
    f"{CANARY}-alias",
    f"study/{CANARY}-here",
    f"{CANARY}-attic/shared",
    f"{CANARY}-attic/{CANARY}-only:latest",
    "study/nothing",
    "nothing",
    "",
    "../shared",
]
NOT_FOR_PEERS = [
    "/",
    "/healthz",
    "/metrics",
    "/mesh",
    "/mesh/snapshot",
    "/mesh/events",
    "/mesh/backends",
    "/mesh/peers",
    "/mesh/settings",
    "/mesh/schema",
    "/mesh/session",
    "/%6desh/snapshot",
    "/v1/../mesh/snapshot",
    "/peer/../mesh/snapshot",
    "/v1/models",
    "/v1/models/shared",
    "/v1/%6dodels",
    "/v1beta/models",
    "/v1beta/models/shared",
    "/api/tags",
    "/api/ps",
    "/api/version",
    "/api/show",
    "/api/pull",
    "/peer",
    "/peer/",
    "/peer/catalog/",
    "/app/main.js",
]


@pytest.fixture
async def paired_node(tmp_path: Path) -> AsyncIterator[PairedNode]:
    """Anna may use `shared`, of two models, on one of two backends; an alias leads to each."""
    async with (
        SimulatedEngine("llamacpp", "study", models=("shared", f"{CANARY}-here")) as study,
        SimulatedEngine("ollama", f"{CANARY}-attic", models=(f"{CANARY}-only:latest", "shared")) as attic,
    ):
        aliases = f'[routing.aliases]\n{CANARY}-alias = "{CANARY}-here"\nfast = "shared"\n'
        async with simulated(
            tmp_path, [study, attic], 'share_models = ["shared"]', f"{IN_ORDER}\n{aliases}"
        ) as found:
            backend = (await found.node.http.get(f"/mesh/backends/{CANARY}-attic")).json()
            moved = await found.node.http.patch(f"/mesh/backends/{backend['id']}", json={"ring": "company"})
            assert moved.status_code == 200, moved.text
            await found.node.refresh()
            yield found


def leaks(simulated: PairedNode, said: bytes) -> bool:
    """Whether an answer holds anything of this node that is not shared, or its key."""
    return CANARY.encode() in said or simulated.node.key.encode() in said or b"127.0.0.1" in said


def tls12() -> ssl.SSLContext:
    context = pairing_client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def test_only_a_paired_key_gets_in(paired_node: PairedNode) -> None:
    strangers = {
        "another key": client_context(MALLORY, paired_node.certificate_pem),
        "no certificate": pairing_client_context(),
        "TLS 1.2": tls12(),
    }
    for who, tls in strangers.items():
        try:
            answer = await paired_node.send(b"GET /peer/catalog HTTP/1.1\r\nhost: x\r\n\r\n", tls)
        except OSError:
            continue
        assert answer.raw == b"", who
    assert (await paired_node.request("GET", "/peer/catalog")).status == 200


async def test_plain_http_is_no_language_here(paired_node: PairedNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", paired_node.port)
    writer.write(b"GET /peer/catalog HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await read_all(reader)
    writer.close()


async def test_what_is_not_for_peers_is_not_there_with_the_local_key_neither(
    paired_node: PairedNode,
) -> None:
    key = f"authorization: Bearer {paired_node.node.key}"
    for path in NOT_FOR_PEERS:
        for method, headers in (("GET", ()), ("POST", ()), ("DELETE", (key,)), ("GET", (key,))):
            answer = await paired_node.request(method, path, None, *headers)
            assert answer.status in {404, 405}, (method, path, answer.raw)
            assert not leaks(paired_node, answer.raw), answer.raw
            assert "set-cookie" not in answer.headers


async def test_the_host_header_does_not_matter_for_the_key_is_the_proof(paired_node: PairedNode) -> None:
    for host in ("evil.example", "127.0.0.1:6374", "localhost", "[::1]", "a" * 300):
        assert (await paired_node.request("GET", "/peer/catalog", host=host)).status == 200


async def test_the_catalog_holds_what_is_shared_and_nothing_else(paired_node: PairedNode) -> None:
    answer = await paired_node.request("GET", "/peer/catalog")

    [backend] = answer.json()["backends"]
    assert (backend["name"], backend["models"]) == ("llama.cpp", ["shared"])
    assert b"study" not in answer.raw
    assert not leaks(paired_node, answer.raw)
    assert paired_node.node.key.encode() not in answer.raw


async def test_a_shared_model_is_answered_and_the_answer_does_not_say_by_whom(
    paired_node: PairedNode,
) -> None:
    answer = await paired_node.chat("shared")

    assert answer.status == 200
    assert answer.json()["object"] == "chat.completion"
    assert not {name for name in answer.headers if name.startswith(("x-meshlight", "server", "x-ratelimit"))}
    assert not leaks(paired_node, answer.raw)


async def test_a_model_that_is_not_shared_is_not_there_whatever_it_is_called(paired_node: PairedNode) -> None:
    nothing = (await paired_node.chat("nothing at all")).body
    hi = [{"role": "user", "content": "hi"}]
    for model in NOT_SHARED:
        request = {
            "/v1/messages": {"model": model, "max_tokens": 9, "messages": hi},
            "/api/chat": {"model": model, "messages": hi},
            "/v1/embeddings": {"model": model, "input": "hi"},
        }
        for path, body in request.items():
            answer = await paired_node.request("POST", path, body)
            assert answer.status in ({404} if model else {400, 404}), answer.raw
            assert b"study" not in answer.body
            assert not leaks(paired_node, answer.raw), answer.raw
        if model:
            assert (
                await paired_node.chat(model)
            ).body == nothing  # it can't be told from one that is nowhere


async def test_a_shared_model_by_the_name_of_its_backend_or_an_alias_is_that_model(
    paired_node: PairedNode,
) -> None:
    assert (await paired_node.chat("study/shared")).status == 200
    assert (await paired_node.chat("fast")).status == 200


async def test_why_a_backend_is_down_is_told_without_its_name_or_address(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", f"{CANARY}-engine", models=("m",)) as engine,
        simulated(tmp_path, [engine]) as found,
    ):
        engine_port = engine.url.rpartition(":")[2].encode()
        await engine.stop()
        hi = [{"role": "user", "content": "hi"}]
        bodies: dict[str, dict[str, object]] = {
            "/v1/chat/completions": {"messages": hi},
            "/v1/messages": {"max_tokens": 5, "messages": hi},
            "/api/chat": {"messages": hi},
            "/v1/embeddings": {"input": "x"},
        }
        for path, body in bodies.items():
            answer = await found.request("POST", path, {"model": "m", **body})
            assert answer.status in {502, 503}, answer.raw
            assert b"The other machine gets no answer from 'm'" in answer.body
            assert not leaks(found, answer.raw)
            assert engine_port not in answer.body
        local = await found.node.chat("m")
        assert CANARY in local.text  # the people here are told


async def test_a_paused_peer_is_told_so_by_its_catalog_and_by_every_request(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "study", models=("m",)) as engine,
        simulated(tmp_path, [engine], "paused = true") as found,
    ):
        assert (await found.request("GET", "/peer/catalog")).json()["paused"] is True
        answer = await found.chat("m")
        assert answer.status == 503
        assert b"paused" in answer.body
        assert "retry-after" in answer.headers


async def test_a_request_that_went_round_in_a_circle_ends_here(paired_node: PairedNode) -> None:
    router = (await paired_node.node.http.get("/mesh/snapshot")).json()["router"]
    for via in (router["node_id"], f"a,{router['node_id']}", "a,b,c", "a,,, ,b,c" + ",d" * 1000):
        answer = await paired_node.chat("shared", f"x-meshlight-via: {via}")
        assert answer.status == 508
        assert not leaks(paired_node, answer.raw)


async def test_too_large_a_head_or_body_is_refused_before_it_is_read(paired_node: PairedNode) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
    long = await paired_node.send(head + b"x-a: " + b"a" * 70_000 + b"\r\n\r\n")
    assert long.status in {0, 431}
    target = await paired_node.send(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert target.status in {0, 414}
    announced = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % (BODY_LIMIT + 1)
    assert (await paired_node.send(head + announced + b"{}")).status == 413
    assert (await paired_node.request("GET", "/peer/catalog")).status == 200


async def test_requests_of_unclear_length_are_refused_and_what_follows_is_not_answered(
    paired_node: PairedNode,
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    for name, raw in REFUSED.items():
        answer = await paired_node.send(head + raw + b"GET /peer/catalog HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.status in {400, 501}, name
        assert answer.raw.count(b"HTTP/1.1 ") == 1, name


async def test_what_is_not_a_plain_request_is_refused(paired_node: PairedNode) -> None:
    for name, raw in REFUSED_WHOLE.items():
        answer = await paired_node.send(raw % 1 if b"%d" in raw else raw)
        if name != "TLS":  # which is only half a line here
            assert (answer.status, answer.raw.count(b"HTTP/1.1 ")) == (400, 1), name


async def test_three_hundred_strangers_who_say_nothing_keep_no_peer_out(paired_node: PairedNode) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", paired_node.port) for _ in range(300)]
    try:
        for _ in range(3):
            assert (await paired_node.request("GET", "/peer/catalog")).status == 200
        # The eldest of them had to go.
        async with asyncio.timeout(10):
            assert await read_all(silent[0][0]) == b""
    finally:
        for _, writer in silent:
            writer.transport.abort()


async def test_a_peer_uses_no_more_at_once_than_its_terms_say(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "study", models=("m",), first_token_s=30.0) as engine,
        simulated(tmp_path, [engine], "max_in_flight = 1") as found,
    ):
        reader, writer = await found.connect()
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        async with asyncio.timeout(10):
            while (await settled(found.node))["peers"][0]["in_flight"] == 0:
                pass
        refused = await found.chat("m")
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "application/json"
        writer.transport.abort()
        async with asyncio.timeout(10):
            while (await settled(found.node))["peers"][0]["in_flight"]:
                pass
        del reader


async def test_unpairing_cuts_what_the_peer_has_open_and_lets_it_ask_nothing_more(
    paired_node: PairedNode,
) -> None:
    reader, writer = await paired_node.connect()
    writer.write(b"GET /peer/events HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"event: catalog" in await reader.readuntil(b'"}')
    peer = (await settled(paired_node.node))["peers"][0]["id"]

    async with asyncio.timeout(10):
        gone = await paired_node.node.http.delete(f"/mesh/peers/{peer}")
        assert gone.json()["peers"] == []
        await read_all(reader)
    writer.close()
    # It was not told yet, so it may still hear that it is no peer any more, and nothing else.
    for path in (*PEER_PATHS, "/v1/models", "/mesh/snapshot"):
        answer = await paired_node.request("GET", path)
        assert answer.status == 403, answer.raw
    assert (await paired_node.chat("shared")).status == 403
    assert (await paired_node.request("POST", "/peer/unpair")).status == 204
