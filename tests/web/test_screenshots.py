"""The page looks as it did: at three sizes, light and dark."""

import pytest
from PIL import Image, ImageChops
from playwright.async_api import Browser

from web.screenshots import (
    ACTUAL,
    BASELINES,
    MEAN_MOST,
    SIZES,
    THEMES,
    WORST_MOST,
    distance,
    path_of,
    screenshot,
)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_page_looks_as_it_did(browser: Browser, theme: str, size: tuple[int, int]) -> None:
    kept = Image.open(path_of(BASELINES, theme, size)).convert("RGB")
    now = await screenshot(browser, theme, size)
    mean, worst = distance(kept, now)
    if mean > MEAN_MOST or worst > WORST_MOST:
        ACTUAL.mkdir(exist_ok=True)
        now.save(path_of(ACTUAL, theme, size))
    assert (mean <= MEAN_MOST, worst <= WORST_MOST) == (True, True), f"mean {mean:.1f}, worst {worst:.0f}"


async def test_a_picture_that_moved_is_another_one() -> None:
    kept = Image.open(path_of(BASELINES, "dark", SIZES[1])).convert("RGB")
    assert distance(kept, kept) == (0, 0)
    moved = distance(kept, ImageChops.offset(kept, 4, 0))
    assert moved[0] > MEAN_MOST or moved[1] > WORST_MOST
    other = distance(kept, Image.open(path_of(BASELINES, "light", SIZES[1])).convert("RGB"))
    assert other[0] > MEAN_MOST
