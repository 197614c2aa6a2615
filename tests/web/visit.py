"""Visiting the page with a browser: opening it, and the few questions that many tests ask it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from web.stand import Stand

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).parents[2] / "packaging/node_modules/axe-core/axe.min.js"
COUNT_FRAMES = """
window.frames_asked = 0;
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => { window.frames_asked += 1; return ask(run); };
"""
PAINTED = """() => { const c = document.getElementById("particles");
  return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }"""
"""Whether a particle is in the air."""
STILL = """() => new Promise((done) => { let n = -1; const look = setInterval(() => {
  if (n === frames_asked) { clearInterval(look); done(); } n = frames_asked; }, 600); })"""
"""Resolves once no animation frame was asked for during 0.6 s; asks for none itself."""
SIZE = "document.querySelectorAll('*').length"


@asynccontextmanager
async def visit(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = (1280, 800),
    cards: bool = True,
    clock: bool = False,
    complaints: bool = False,
    looks: dict[str, Any] | None = None,
) -> AsyncIterator[Page]:
    """Open an address; any error that the page logs fails the test, unless `complaints` are expected."""
    options = {"color_scheme": "dark", **(looks or {})}
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = await context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    await page.add_init_script(COUNT_FRAMES)
    if clock:
        await page.clock.install()
    await page.goto(url)
    if cards:
        await expect(page.locator('[data-key="r"]')).to_be_visible()
    try:
        yield page
        assert complaints or not said
    finally:
        await context.close()


@asynccontextmanager
async def opened(browser: Browser, stand: Stand, *, at: str = "", **how: Any) -> AsyncIterator[Page]:
    """Open the page of a stand, which lives as long as the visit."""
    await stand.start()
    try:
        async with visit(browser, stand.url + at, **how) as page:
            yield page
    finally:
        await stand.stop()


def card(page: Page, ident: str) -> Locator:
    """Return a backend's card."""
    return page.locator(f'[data-key="b:{ident}"]')


async def caught_up(page: Page, stand: Stand) -> None:
    """Wait until the page has taken the stand's last event."""
    await page.wait_for_function("(seq) => document.body.dataset.seq >= seq", arg=stand.seq)
