"""Which secrets go where: ours never to a backend, a backend's only to that one, and none can act as ours."""

from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, chat, complete, responds
from node import IN_ORDER, Node

BACKEND_KEYS = {"a": "sk-canary-of-backend-a-0001", "b": "sk-canary-of-backend-b-0002"}
CHAT = "/v1/chat/completions"


def keys(node: Node) -> list[dict[str, str]]:
    """Return the ways in which clients bring the local key."""
    return [
        {"authorization": f"Bearer {node.key}"},
        {"Authorization": f"bearer {node.key}"},
        {"authorization": "", "x-api-key": node.key},
        {"authorization": "", "x-goog-api-key": node.key},
        {
            "authorization": f"Bearer {node.key}",
            "x-api-key": node.key,
            "api-key": node.key,
            "proxy-authorization": f"Bearer {node.key}",
            "cookie": f"meshlight_session={node.key}",
        },
    ]


async def test_the_local_key_never_goes_upstream(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        del node.http.headers["authorization"]
        for headers in keys(node):
            given = {name: value for name, value in headers.items() if value}
            query = f"?key={node.key}&beta=1&api_key={node.key}&%6bey={node.key}&access_token={node.key}"
            answer = await node.http.post(CHAT + query, json=chat("m"), headers=given)
            assert answer.status_code == 200, answer.text
        assert len(backend.posts) == len(keys(node))
        for request in backend.requests:
            assert node.key.encode() not in request.raw
        assert {request.target for request in backend.posts} == {CHAT + "?beta=1"}


async def test_a_backends_key_goes_to_that_backend_alone(tmp_path: Path) -> None:
    async with RawBackend("x") as first, RawBackend("y") as second, Node(tmp_path, extra=IN_ORDER) as node:
        for place, (name, backend) in enumerate((("a", first), ("b", second))):
            added = await node.http.post(
                "/mesh/backends",
                json={
                    "kind": "openai-compatible",
                    "name": name,
                    "url": backend.url,
                    "api_key": BACKEND_KEYS[name],
                    "priority": place,
                },
            )
            assert added.status_code == 201, added.text
        await node.refresh()
        first.respond = responds(complete(b"", status=b"503 Odd"))
        assert (await node.chat("m")).headers["x-meshlight-backend"] == "b"
        for backend, own, other in ((first, "a", "b"), (second, "b", "a")):
            assert backend.posts[0].header(b"authorization") == [f"Bearer {BACKEND_KEYS[own]}".encode()]
            assert all(BACKEND_KEYS[other].encode() not in request.raw for request in backend.requests)


async def test_a_refusal_that_quotes_our_key_at_the_backend_does_not_reach_the_client(tmp_path: Path) -> None:
    key = BACKEND_KEYS["a"]
    async with RawBackend("a") as backend, Node(tmp_path) as node:
        added = await node.http.post(
            "/mesh/backends",
            json={"kind": "openai-compatible", "name": "a", "url": backend.url, "api_key": key},
        )
        assert added.status_code == 201, added.text
        await node.refresh()
        for status in (b"401 Unauthorized", b"403 Forbidden"):
            error = b'{"error":{"message":"Incorrect API key provided: %b"}}' % key.encode()
            backend.respond = responds(complete(error, b"content-type: application/json", status=status))
            answer = await node.chat("m")
            assert answer.status_code == 503
            assert key not in answer.text
            assert key not in (await node.http.get("/mesh/snapshot")).text


async def test_what_describes_the_client_and_its_connection_stays_here(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        dropped = {
            "x-forwarded-for": "10.0.0.1",
            "forwarded": "for=10.0.0.1",
            "x-real-ip": "10.0.0.1",
            "sec-fetch-site": "same-origin",
            "origin": node.url,
            "referer": node.url,
            "connection": "keep-alive, x-own",
            "x-own": "1",
            "te": "trailers",
            "upgrade": "h2c",
            "accept-encoding": "gzip, br",
            "x-meshlight-backend": "forged",
            "x-meshlight-secret": "forged",
        }
        kept = {"openai-beta": "assistants=v2", "x-stainless-lang": "python", "traceparent": "00-1-2-01"}
        answer = await node.http.post(CHAT, json=chat("m"), headers=dropped | kept)
        assert answer.status_code == 200
        (request,) = backend.posts
        sent = dict(request.raw_headers)
        for name in dropped.keys() - {"accept-encoding"}:
            assert name.encode() not in sent, name
        assert sent[b"accept-encoding"] == b"identity"
        assert sent[b"host"] == backend.url.removeprefix("http://").encode()
        for name, value in kept.items():
            assert sent[name.encode()] == value.encode()
        assert len(request.raw_headers) == len(sent)


async def test_a_backend_sets_no_cookie_and_forges_nothing(tmp_path: Path) -> None:
    raw = complete(
        b"{}",
        b"Set-Cookie: meshlight_session=evil",
        b"ACCESS-CONTROL-ALLOW-ORIGIN: *",
        b"access-control-allow-credentials: true",
        b"x-meshlight-backend: forged",
        b"X-Meshlight-Attempts: 99",
        b"clear-site-data: *",
        b"connection: keep-alive, x-own",
        b"x-own: 1",
        b"keep-alive: timeout=5",
        b"server: odd",
        b"content-type: application/json",
        b"x-ratelimit-remaining: 9",
        b"x-request-id: theirs",
    )
    async with RawBackend("a", respond=responds(raw)) as backend, Node(tmp_path, [backend]) as node:
        answer = await node.chat("m")
        assert dict(answer.headers) == {
            "content-length": "2",
            "content-type": "application/json",
            "x-ratelimit-remaining": "9",
            "x-request-id": "theirs",
            "x-content-type-options": "nosniff",
            "x-meshlight-backend": "a",
            "x-meshlight-attempts": "1",
        }


async def test_every_answer_says_who_answered_and_has_an_id_of_its_own(tmp_path: Path) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        answers: list[Any] = [await node.chat("m") for _ in range(3)]
        assert len({answer.headers["x-request-id"] for answer in answers}) == 3


@pytest.mark.parametrize("header", ["a\tb", "caf\xe9", "x" * 8_000])
async def test_an_odd_but_lawful_header_passes(tmp_path: Path, header: str) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        headers = {"x-title": header.encode("latin-1")}
        answer = await node.http.post(CHAT, json=chat("m"), headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 200
        assert backend.posts[0].header(b"x-title") == [header.encode("latin-1")]
