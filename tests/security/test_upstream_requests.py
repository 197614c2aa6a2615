"""What a running node sends to an engine: no header, query or second model that was not checked."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from meshlight.simulator.engine import SimulatedEngine
from security.paired_node import PairedNode, simulated

HI = [{"role": "user", "content": "hi"}]
BODY = json.dumps({"model": "shared", "messages": HI}).encode()
WHO = (
    "remote-user: owner",
    "x-forwarded-user: owner",
    "forwarded: for=1.2.3.4",
    "x-real-ip: 1.2.3.4",
    "cookie: a=b",
    "x-amz-security-token: t",
    "x-goog-user-project: p",
    "x-webauth-user: owner",
)
CLIENTS = (
    "openai-organization: org",
    "x-session-id: s",
    "user-agent: canary",
    "anthropic-beta: b",
    "accept: */*",
)


class Both:
    """The same engine behind the local listener and the one for peers."""

    def __init__(self, found: PairedNode, engine: SimulatedEngine) -> None:
        self.found = found
        self.engine = engine

    async def post(
        self, who: str, target: str, body: bytes, *headers: str, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        lines = [f"content-type: {kind}", f"content-length: {len(body)}", *headers]
        if who == "peer":
            head = [f"POST {target} HTTP/1.1", "host: x", "connection: close", *lines, "", ""]
            answer = await self.found.send("\r\n".join(head).encode() + body)
            return answer.status, answer.body
        given = dict(line.split(": ", 1) for line in lines)
        reply = await self.found.node.http.post(f"{self.found.node.url}{target}", content=body, headers=given)
        return reply.status_code, reply.content


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with (
        SimulatedEngine("llamacpp", "study", models=("shared", "hidden"), keep=100) as engine,
        simulated(tmp_path, [engine], 'share_models = ["shared"]') as found,
    ):
        yield Both(found, engine)


@pytest.mark.parametrize("who", ["owner", "peer"])
async def test_nobody_tells_an_engine_who_they_are(both: Both, who: str) -> None:
    status, text = await both.post(who, "/v1/chat/completions?user=owner&b=1", BODY, *WHO, *CLIENTS)
    assert status == 200, text
    call = both.engine.calls()[-1]
    for line in WHO:
        assert not call.header(line.partition(":")[0]), line
    assert bool(call.header("openai-organization")) == (who == "owner")
    assert (call.header("user-agent") == "canary") == (who == "owner")
    assert call.header("anthropic-beta") == "b"
    assert ("?" in call.target) == (who == "owner")


@pytest.mark.parametrize("who", ["owner", "peer"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"model":"shared","model":"hidden"}', "application/json"),
        (b'{"model":"shared","Model":"hidden"}', "application/json"),
        (b'{"mod\\u0065l":"hidden","model":"shared"}', "application/json"),
        (
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nshared\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b'{"model":"hidden"}', "multipart/form-data; boundary=x"),
    ],
)
async def test_a_request_that_names_two_models_reaches_no_engine(
    both: Both, who: str, body: bytes, kind: str
) -> None:
    before = len(both.engine.calls())
    status, text = await both.post(who, "/v1/chat/completions", body, kind=kind)
    assert status in {400, 415}, text
    assert len(both.engine.calls()) == before


@pytest.mark.parametrize("who", ["owner", "peer"])
@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)]
)
async def test_a_compressed_request_arrives_unpacked(
    both: Both, who: str, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    status, text = await both.post(who, "/v1/chat/completions", pack(BODY), f"content-encoding: {coding}")
    assert status == 200, text
    call = both.engine.calls()[-1]
    assert not call.header("content-encoding")
    assert call.header("content-length") == str(len(BODY))
    status, text = await both.post(
        who, "/v1/chat/completions", pack(b'{"model":"hidden"}')[:-3], f"content-encoding: {coding}"
    )
    assert status == 400, text
    status, text = await both.post(
        who, "/v1/chat/completions", pack(bytes(65 << 20)), f"content-encoding: {coding}"
    )
    assert status == 413, text


@pytest.mark.parametrize("who", ["owner", "peer"])
@pytest.mark.parametrize(
    "target", ["//v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/", "/chat/completions"]
)
async def test_another_spelling_of_a_path_is_that_path(both: Both, who: str, target: str) -> None:
    status, text = await both.post(who, target, BODY)
    assert status == 200, text
    assert both.engine.calls()[-1].target == "/v1/chat/completions"


@pytest.mark.parametrize("target", ["//v1/chat/completions", "/chat/completions", "/v1/models/", "/models"])
async def test_another_spelling_wants_the_key_and_no_cookie_too(both: Both, target: str) -> None:
    http = both.found.node.http
    for headers in (
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": "", "cookie": "a=b"},
    ):
        method = "GET" if "models" in target else "POST"
        answer = await http.request(method, f"{both.found.node.url}{target}", headers=headers)
        assert answer.status_code == 401
    foreign = {"host": "evil.example"}
    answer = await http.request("POST", f"{both.found.node.url}{target}", headers=foreign, content=BODY)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "target", ["//mesh/snapshot", "/mesh/snapshot/", "//peer/catalog", "//metrics", "//healthz"]
)
async def test_no_spelling_leads_a_peer_to_what_is_not_inference(both: Both, target: str) -> None:
    answer = await both.found.request("GET", target)
    assert answer.status == 404


async def test_a_model_named_by_its_files_path_is_asked_for_by_its_last_part(tmp_path: Path) -> None:
    path = "/home/anna/models/small.gguf"
    async with (
        SimulatedEngine("vllm", "attic", models=(path,), keep=100) as engine,
        simulated(tmp_path, [engine]) as found,
    ):
        catalog = await found.request("GET", "/peer/catalog")
        assert catalog.json()["backends"][0]["models"] == ["small.gguf"]
        assert b"anna" not in catalog.raw
        assert b"attic" not in catalog.raw
        assert (await found.chat("small.gguf")).status == 200
        assert engine.calls()[-1].json()["model"] == path
        assert (
            await found.request("POST", "/api/chat", {"model": "small.gguf", "messages": HI})
        ).status == 200
        await engine.stop()
        refused = await found.chat("small.gguf")
        assert refused.status in {502, 503}
        assert b"anna" not in refused.raw
