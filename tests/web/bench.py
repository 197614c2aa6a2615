"""Compare the page with a small React Flow page of the same 100/2,000 mesh, in software-rendered Chromium:

    python tests/web/bench.py

Prints pan frames a second, milliseconds from an update to its paint, and elements; then the CPU of particles on 40
busy edges. Wants npm and the network once (it installs React Flow into a temporary folder). Ratios hold between
machines, absolute numbers don't.
"""

import asyncio
import functools
import http.server
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import Page, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from web.fake_service import FakeService
from web.sample_mesh import mesh

FLOW = Path(__file__).parent / "flow"
# No limit of 60 frames a second: it would hide how far the two pages are apart.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-gpu-vsync",
    "--disable-frame-rate-limit",
]
FRAMES = """() => new Promise((done) => {
  let n = 0;
  const start = performance.now();
  const step = (t) => {
    n += 1;
    if (t - start > 2500) done(n * 1000 / (t - start));
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
PAINT = """(act) => new Promise((done) => {
  const start = performance.now();
  act();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
WATCH_HEALTH = """
const add = EventSource.prototype.addEventListener;
window.took = [];
EventSource.prototype.addEventListener = function (name, run) {
  add.call(this, name, (m) => {
    const start = performance.now();
    run(m);
    if (name === "health") requestAnimationFrame(() => setTimeout(() => took.push(performance.now() - start)));
  });
};
"""
BARE = """() => {
  const c = document.querySelector("canvas"), p = c.getContext("2d");
  const s = document.createElement("canvas"), q = s.getContext("2d");
  s.width = s.height = 20;
  q.fillStyle = "#3ae3c0";
  q.arc(10, 10, 8, 0, 7);
  q.fill();
  let last = 0;
  const step = (t) => {
    if (t - last > 29) {
      last = t;
      p.clearRect(0, 0, 1280, 700);
      for (let i = 0; i < 170; i++) p.drawImage(s, 300 + (t / 1200 + i / 170) % 1 * 900, (i % 40) * 17);
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}"""
HTML = """<!doctype html><link rel=stylesheet href=/app.css>
<div id=root></div><script type=module src=/app.js></script>"""


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


async def pan_fps(page: Page) -> float:
    """Drag in circles for two and a half seconds and count frames."""
    counted = asyncio.create_task(page.evaluate(FRAMES))
    await page.mouse.move(640, 400)
    await page.mouse.down()
    step = 0
    while not counted.done():
        step += 1
        await page.mouse.move(640 + (step * 7) % 120, 400 + (step * 5) % 90)
    await page.mouse.up()
    return float(await counted)


async def ours(browser: Any) -> dict[str, float]:
    """Measure the page of `web/`."""
    service = await FakeService(mesh(100, 2_000), tick_s=600).start()
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.add_init_script(WATCH_HEALTH)
    await page.goto(service.url)
    await page.wait_for_selector(".backend")
    for _ in range(8):
        for view in list(service.views.values()):
            service.views[view.id] = msgspec.structs.replace(view, latency_ms=(view.latency_ms or 1) + 7)
        service.tell(*service.views.values())
        await asyncio.sleep(0.3)
    took = sorted(await page.evaluate("took"))
    result = {
        "update ms": took[len(took) // 2],
        "elements": await page.evaluate("document.querySelectorAll('*').length"),
        "pan fps": await pan_fps(page),
    }
    await page.close()
    await service.stop()
    return result


async def flow(browser: Any, folder: str) -> dict[str, float]:
    """Measure the React Flow page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
    await page.wait_for_function(
        "() => document.querySelectorAll('.react-flow__node').length > 1000", timeout=30_000
    )
    await page.wait_for_timeout(1500)
    took = sorted([await page.evaluate(f"({PAINT})(() => window.tick())") for _ in range(5)])
    result = {
        "update ms": took[2],
        "elements": await page.evaluate("document.querySelectorAll('*').length"),
        "pan fps": await pan_fps(page),
    }
    await page.close()
    server.shutdown()
    return result


async def particles(browser: Any) -> tuple[float, float]:
    """Main-thread share of 40 busy edges, 170 particles in the air: ours, and a bare canvas of 30 frames a second."""
    service = await FakeService(mesh(40, 160), tick_s=600).start()
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.goto(service.url)
    await page.wait_for_selector(".backend")
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")

    async def spent() -> float:
        return float(
            next(
                m["value"]
                for m in (await session.send("Performance.getMetrics"))["metrics"]
                if m["name"] == "TaskDuration"
            )
        )

    from meshlight.domain.events import RouteTraffic  # noqa: PLC0415 - only this measurement makes traffic

    live = [v for v in service.views.values() if v.models]
    before = await spent()
    for _ in range(16):
        service.flow(*(RouteTraffic(backend=v.id, model=v.models[0], started=1, in_flight=1) for v in live))
        await asyncio.sleep(0.25)
    mine = (await spent() - before) / 4
    await page.goto("about:blank")
    await page.set_content("<canvas width=1280 height=700></canvas>")
    await page.evaluate(BARE)
    before = await spent()
    await asyncio.sleep(4)
    bare = (await spent() - before) / 4
    await page.close()
    await service.stop()
    return mine, bare


def build(folder: Path) -> Path:
    """Install and bundle the React Flow page; return the folder to serve."""
    shutil.copytree(FLOW, folder, dirs_exist_ok=True)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    options = [
        "--bundle",
        "--jsx=automatic",
        "--format=esm",
        "--minify",
        "--outfile=out/app.js",
        "--log-level=error",
    ]
    production = '--define:process.env.NODE_ENV="production"'
    subprocess.run(["npx", "esbuild", "app.jsx", *options, production], cwd=folder, check=True)
    out = folder / "out"
    (out / "index.html").write_text(HTML)
    (out / "mesh.json").write_bytes(msgspec.json.encode(FakeService(mesh(100, 2_000)).snapshot()))
    return out


async def main() -> None:
    """Build, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        out = build(Path(folder))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            a, b = await ours(browser), await flow(browser, str(out))
            mine, bare = await particles(browser)
            await browser.close()
    print(f"{'':<10}{'Meshlight':>12}{'React Flow':>12}{'ratio':>9}")
    for name, value in a.items():
        print(f"{name:<10}{value:>12.1f}{b[name]:>12.1f}{value / b[name]:>9.3f}")
    print(f"particles, share of one core: ours {mine:.3f}, bare canvas {bare:.3f}, ratio {mine / bare:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
