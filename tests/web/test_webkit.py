"""One smoke in WebKitGTK, the engine of the window on Linux: the page paints, particles move, nothing complains."""

import asyncio
import json
import os
import shutil
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meshlight.domain.events import RouteTraffic
from web.fake_chat import FakeAnswer
from web.fake_service import FakeService
from web.sample_mesh import mesh

DRIVER = shutil.which("WebKitWebDriver")
XVFB = shutil.which("Xvfb")
BROWSER = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))), None)

LOOK = """
const done = arguments[0];
window.faults = [];
window.addEventListener("error", (e) => faults.push(e.message));
let n = 0;
const look = setInterval(() => {
  n += 1;
  const chips = document.querySelectorAll(".chip").length;
  const c = document.getElementById("edges");
  const lit = c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
  if (n < 100 && !(chips >= 60 && lit)) return;
  clearInterval(look);
  done([document.querySelectorAll(".backend").length, chips, lit]);
}, 100);
"""
WATCH = """
const done = arguments[0];
let n = 0;
const look = setInterval(() => {
  n += 1;
  const c = document.getElementById("particles");
  const lit = c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
  if (!lit && n < 60) return;
  clearInterval(look);
  done([lit, faults]);
}, 50);
"""
ASK = """
const done = arguments[0];
import("/app/chrome/open.js").then(({ openTry }) => openTry(undefined, "Hello"));
let n = 0;
const look = setInterval(() => {
  n += 1;
  if (!document.querySelector(".meta")?.textContent && n < 200) return;
  clearInterval(look);
  const texts = [...document.querySelectorAll(".answer > *")].map((e) => `${e.localName} ${e.textContent}`);
  done([texts, document.getElementById("try-drawer")?.offsetWidth > 300, faults]);
}, 50);
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (DRIVER and XVFB and BROWSER), reason="needs webkit2gtk-driver and xvfb"),
]


class Driver:
    """The few words of W3C WebDriver that this test speaks."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.session = ""

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.base + path, data=data, method=method, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - loopback
            return json.load(reply)["value"]

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        return await asyncio.to_thread(
            self._ask, method, f"/session/{self.session}{path}" if self.session else path, body
        )

    async def run(self, script: str) -> Any:
        return await self.ask("POST", "/execute/async", {"script": script, "args": []})


async def _screen(xvfb: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start a screen and return it with its number; now and then Xvfb loses the race for a number and gives up."""
    for _ in range(5):
        read, write = os.pipe()
        display = await asyncio.create_subprocess_exec(
            xvfb, "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp",
            pass_fds=[write], stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        # To the end of the line: a screen that can't write its last byte dies of it.
        with os.fdopen(read) as line:
            number = (await asyncio.to_thread(line.readline)).strip()
        if number:
            return display, number
        await display.wait()
    pytest.fail("Xvfb did not start")


async def _listening(driver: str, environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, Driver]:
    """Start the driver on a free port; when somebody takes that port first, on another one."""
    async with asyncio.timeout(20):
        while True:
            probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            made = Driver(probe.sockets[0].getsockname()[1])
            probe.close()
            await probe.wait_closed()
            process = await asyncio.create_subprocess_exec(
                driver, f"--port={made.base.rpartition(':')[2]}", "--host=127.0.0.1", env=environment,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            while process.returncode is None:
                try:
                    await made.ask("GET", "/status")
                except OSError:
                    await asyncio.sleep(0.05)  # not listening yet
                else:
                    return process, made


@pytest_asyncio.fixture
async def driver() -> AsyncIterator[Driver]:
    assert DRIVER
    assert XVFB
    display, number = await _screen(XVFB)
    environment = os.environ | {
        "DISPLAY": f":{number}",
        "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    }
    want = {
        "capabilities": {
            "alwaysMatch": {"webkitgtk:browserOptions": {"binary": str(BROWSER), "args": ["--automation"]}}
        }
    }
    process, made = await _listening(DRIVER, environment)
    try:
        made.session = (await made.ask("POST", "/session", want))["sessionId"]
        yield made
        await made.ask("DELETE", "")
    finally:
        for one in (process, display):
            if one.returncode is None:
                one.terminate()
            await one.wait()


async def test_the_window_s_engine_paints_the_mesh_and_lets_requests_fly(driver: Driver) -> None:
    service = FakeService(mesh(10, 60), tick_s=60)
    await service.start()
    try:
        await driver.ask("POST", "/url", {"url": service.url})
        seen = await driver.run(LOOK)
        assert seen == [10, 60, True]
        model = service.views["ollama-1"].models[0]
        watch = asyncio.create_task(driver.run(WATCH))
        while not watch.done():  # a request now and then, however slowly the driver looks
            service.flow(RouteTraffic(backend="ollama-1", model=model, started=1, in_flight=1))
            await asyncio.wait({watch}, timeout=0.4)
        flown, faults = watch.result()
        assert flown
        assert faults == []
        service.answers = [FakeAnswer(("**Hel", "lo** `you` https://example.org/.\n\n- one"))]
        said = ["p Hello you https://example.org/.", "div one"]
        assert await driver.run(ASK) == [said, True, []]
    finally:
        await service.stop()
