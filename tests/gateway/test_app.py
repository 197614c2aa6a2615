"""What is joined to one application, and what is only loaded when it is needed."""

import asyncio
import subprocess
import sys
from typing import cast

import httpx
import pytest

from gateway.local_gateway import running
from meshlight.gateway.app import ControlOnDemand
from meshlight.gateway.parts import GatewayParts
from meshlight.gateway.server.asgi import ASGIApp, Message, Receive, Scope, Send

LARGE = (
    "litestar",
    "httpx",
    "prometheus_client",
    "cryptography",
    "keyring",
    "meshlight.gateway.translation.chat",
)


def test_a_service_that_is_only_asked_for_models_loads_neither_control_api_nor_translations() -> None:
    program = f"import sys, meshlight.service.wiring; print([m for m in {LARGE!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


async def test_the_first_requests_to_the_control_api_share_one() -> None:
    async with running(None) as gateway:
        answers = await asyncio.gather(*(gateway.http.get("/mesh/snapshot") for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4
        assert (await gateway.http.get("/v1/models")).status_code == 200


async def test_who_looks_whether_the_service_runs_gets_the_same_answer_before_and_after() -> None:
    async def asked(http: httpx.AsyncClient) -> list[tuple[int, str | None, str]]:
        paths = ("/healthz", f"/healthz?challenge={'ab' * 32}", "/healthz?challenge=no", "/healthz?x=1")
        answers = [await http.get(path) for path in paths]
        return [(one.status_code, one.headers.get("content-type"), one.text) for one in answers]

    async with running(None) as gateway:
        first = await asked(gateway.http)
        assert [status for status, _, _ in first] == [200, 200, 400, 200]
        assert await asked(gateway.http) == first


async def test_a_control_api_that_could_not_be_loaded_is_loaded_for_the_next_request() -> None:
    tries: list[int] = []
    answered: list[str] = []

    async def control(scope: Scope, _receive: Receive, _send: Send) -> None:
        answered.append(scope["path"])

    def build(_parts: GatewayParts) -> ASGIApp:
        tries.append(1)
        if len(tries) == 1:
            raise ImportError("half an update")
        return control

    async def receive() -> Message:
        return {}

    async def send(_message: Message) -> None:
        return

    app = ControlOnDemand(cast("GatewayParts", None), build)
    with pytest.raises(ImportError):
        await app({"path": "/mesh/first", "method": "GET"}, receive, send)
    for path in ("/mesh/second", "/mesh/third"):
        await app({"path": path, "method": "GET"}, receive, send)
    assert (answered, len(tries)) == (["/mesh/second", "/mesh/third"], 2)
