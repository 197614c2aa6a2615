"""Visiting the page with a browser: opening it, and the few questions that many tests ask it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from web.fake_service import FakeService

CHROMIUM = next(
    filter(None, map(shutil.which, ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"))),
    None,
)
"""The system's browser, also where Playwright has one of its own: the pictures are those of one program."""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Text is drawn the same whatever this machine's settings of fonts are.
    "--font-render-hinting=none", "--disable-lcd-text", "--force-color-profile=srgb",
]  # fmt: skip
AXE = Path(__file__).parents[2] / "packaging/node_modules/axe-core/axe.min.js"
COUNT_FRAMES = """
window.frames_asked = 0;
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => { window.frames_asked += 1; return ask(run); };
"""
HAS_PARTICLES = """() => { const c = document.getElementById("particles");
  return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }"""
"""Whether a particle is to be seen."""
FRAMES_AT_REST = """() => new Promise((done) => { let n = -1; const timer = setInterval(() => {
  if (n === frames_asked) { clearInterval(timer); done(); } n = frames_asked; }, 600); })"""
"""Resolves once no animation frame was asked for during 0.6 s; asks for none itself."""
SIZE = "document.querySelectorAll('*').length"


@asynccontextmanager
async def open_page(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = (1280, 800),
    cards: bool = True,
    clock: bool = False,
    expect_errors: bool = False,
    media: dict[str, Any] | None = None,
) -> AsyncIterator[Page]:
    """Open an address; any error that the page logs fails the test, unless `expect_errors` are expected."""
    options = {"color_scheme": "dark", **(media or {})}
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    await page.add_init_script(COUNT_FRAMES)
    if clock:
        await page.clock.install()
    await page.goto(url)
    if cards:
        await expect(page.locator('[data-key="r"]')).to_be_visible()
    try:
        yield page
        assert expect_errors or not errors
    finally:
        await context.close()


@asynccontextmanager
async def open_fake(
    browser: Browser, service: FakeService, *, at: str = "", **how: Any
) -> AsyncIterator[Page]:
    """Open the page of a fake service, which lives as long as the page is open."""
    await service.start()
    try:
        async with open_page(browser, service.url + at, **how) as page:
            yield page
    finally:
        await service.stop()


def card(page: Page, ident: str) -> Locator:
    """Return a backend's card."""
    return page.locator(f'[data-key="b:{ident}"]')


async def caught_up(page: Page, service: FakeService) -> None:
    """Wait until the page has taken the last event of the fake service."""
    await page.wait_for_function("(seq) => document.body.dataset.seq >= seq", arg=service.seq)
