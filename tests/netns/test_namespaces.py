"""The tests' own network: machines reach each other, and what is loopback stays at home."""

from __future__ import annotations

import socket
import sys

import httpx
import pytest

from netns.namespaces import FOLDER, Lan, Machine

pytestmark = pytest.mark.one_process
SERVER = """
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{self.client_address[0]} {self.headers.get('x-test')}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer.address_family = __import__("socket").AF_INET6
server = http.server.ThreadingHTTPServer(("::", 6375), Echo)
print("ready", flush=True)
server.serve_forever()
"""


async def serve(machine: Machine) -> None:
    process = await machine.run([sys.executable, "-c", SERVER])
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"


async def test_requests_leave_from_the_machine_that_sends_them() -> None:
    async with Lan(["a", "b"]) as lan:
        a, b = lan
        await serve(b)
        async with b.http(6375, {"x-test": "hi"}) as client:
            assert (await client.get("/")).text == "::ffff:127.0.0.1 hi"
        async with a.http(6375, host=b.address) as client:
            assert (await client.get("/")).text == f"::ffff:{a.address} None"
            assert (await client.get("/")).is_success, "the connection is kept and used again"
        async with a.http(6375, host=b.address6) as client:
            assert (await client.get("/")).text == f"{a.address6} None"
        async with a.http(6375) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
        await b.link(up=False)
        async with a.http(6375, host=b.address, timeout_s=0.5) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get("/")
        await b.link(up=True)
        async with a.http(6375, host=b.address) as client:
            assert (await client.get("/")).is_success


async def test_nothing_is_left_behind() -> None:
    async with Lan(["a"]) as lan:
        process = await lan["a"].run(["sleep", "1000"])
        home, namespace = lan["a"].home, lan["a"].namespace
        assert home.is_dir()
        assert (FOLDER / namespace).exists()
    assert process.returncode is not None
    assert not home.exists()
    assert not (FOLDER / namespace).exists()
    assert "port1" not in [name for _, name in socket.if_nameindex()]


async def test_a_service_runs_on_each_machine_and_is_asked_there() -> None:
    async with Lan(["a", "b"]) as lan:
        for machine in lan:
            await machine.serve()
        async with lan["a"].api() as a, lan["b"].api() as b:
            answers = [await client.get("/mesh/snapshot") for client in (a, b)]
        assert [answer.status_code for answer in answers] == [200, 200]
        async with lan["a"].http(6374, host=lan["b"].address) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/healthz")
