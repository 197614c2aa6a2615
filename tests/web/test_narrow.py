"""Narrow windows: the header in at most two rows, nothing cut off, whatever it has to say."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from web.fake_service import FakeService
from web.page_driver import open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ROWS = """() => new Set([...document.querySelectorAll(".top > :not(#filters)")].filter((e) => e.checkVisibility())
  .map((e) => { const r = e.getBoundingClientRect(); return Math.round((r.top + r.bottom) / 80); })).size"""
"""How many rows the header has; its parts lie in the middle of a row of about 40 pixels."""
CUT = """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility())
  .filter((e) => { const r = e.getBoundingClientRect();
    return r.left < 0 || r.right > innerWidth + 0.5 || e.scrollWidth > e.clientWidth + 1; })
  .map((e) => e.id || e.textContent)"""
"""What is cut off, of all that a selector finds."""


DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Resolves when a change of the window's size has arrived everywhere."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet(browser: Browser) -> AsyncIterator[Page]:
    """A page of whose header only an unhealthy backend speaks; for many sizes, for opening one costs seconds."""
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        yield page


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talkative(browser: Browser) -> AsyncIterator[Page]:
    """One whose header shows notices besides."""
    service = FakeService(mesh(10, 60))
    service.notices = ("The keyring is locked.", "The port 6374 is taken.")
    async with open_fake(browser, service) as page:
        await expect(page.locator("#notices")).to_be_visible()
        yield page


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["Backends", "Models"])
async def table(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Page]:
    async with open_fake(browser, FakeService(mesh(10, 60)), at="#view=table", cards=False) as page:
        await page.locator(".tabs button", has_text=request.param).click()
        yield page


async def _resize(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 700})
    await page.evaluate(DRAWN)


@pytest.mark.parametrize("width", [420, 520, 640, 700, 760, 820, 900, 1001, 1070, 1100, 1200])
async def test_the_header_is_whole_in_one_row_or_two_in_a_narrow_window(
    quiet: Page, talkative: Page, width: int
) -> None:
    for page in (quiet, talkative):
        await _resize(page, width)
        assert await page.evaluate(CUT, ".top > :not(#connection, #filters), #refresh span") == []
        assert await page.evaluate(ROWS) <= (2 if width <= 820 else 1)


@pytest.mark.parametrize("width", [420, 640, 760, 900])
async def test_the_titles_of_the_rings_and_the_legend_are_whole(browser: Browser, width: int) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60)), size=(width, 800)) as page:
        await expect(page.locator(".lane-header")).to_have_count(4)
        if width < 900:
            await page.get_by_role("button", name="Show the legend").click()
        for said in ("in memory", "slots", "waiting", "failed request"):
            await expect(page.locator("#legend li", has_text=said)).to_be_in_viewport(ratio=1)
        assert await page.evaluate(CUT, ".lane-header, #legend li") == []


@pytest.mark.parametrize("width", [420, 640, 760, 1000])
async def test_the_last_columns_of_the_table_are_there(table: Page, width: int) -> None:
    await _resize(table, width)
    assert await table.evaluate(CUT, "#table th:last-of-type, #table .scroll") == []
