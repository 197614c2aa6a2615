"""How the page looks: small pictures of it that are kept, and the comparison with how it looks now.

    python tests/web/screenshots.py

makes the kept pictures anew, after a change that was meant. They are averages over blocks of 8 by 8 pixels, and are
compared over blocks twice as large. The page brings its font, so the fonts of this machine change nothing.
"""

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageStat
from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from web.fake_service import FakeService
from web.page_driver import CHROMIUM, FLAGS, FRAMES_AT_REST, caught_up, open_fake
from web.sample_mesh import mesh

HERE = Path(__file__).parent
BASELINES = HERE / "baselines"
ACTUAL = HERE / "actual"
SIZES = ((1920, 1080), (1280, 800), (900, 600))
THEMES = ("dark", "light")
BLOCK = 8
MEAN_MOST = 1.0
"""Of 255: how far the pictures may lie apart on average."""
WORST_MOST = 100.0
"""Of 255: how far one block may."""


def path_of(folder: Path, theme: str, size: tuple[int, int]) -> Path:
    """Return where a picture is kept."""
    return folder / f"{theme}-{size[0]}x{size[1]}.png"


async def screenshot(browser: Browser, theme: str, size: tuple[int, int]) -> Image.Image:
    """Take the picture: ten backends with one chosen, in reduced motion, as a small one."""
    service = FakeService(mesh(10, 60), tick_s=600)
    media = {"color_scheme": theme, "reduced_motion": "reduce"}
    async with open_fake(browser, service, size=size, at="#sel=b:peer-4", media=media) as page:
        await caught_up(page, service)
        await page.evaluate(FRAMES_AT_REST)
        whole = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    return whole.reduce(BLOCK)


def distance(one: Image.Image, other: Image.Image) -> tuple[float, float]:
    """Return how far two pictures lie apart: on average, and at the worst block."""
    apart = ImageChops.difference(one.reduce(2), other.reduce(2))
    stat = ImageStat.Stat(apart)
    return sum(stat.mean) / 3, float(max(high for _, high in stat.extrema))


async def remake() -> None:
    """Make all kept pictures anew."""
    BASELINES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for theme in THEMES:
            for size in SIZES:
                (await screenshot(browser, theme, size)).save(path_of(BASELINES, theme, size), optimize=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(remake())
