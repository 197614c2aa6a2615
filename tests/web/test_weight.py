"""What the page weighs: in bytes on its way, and in memory after many updates."""

import asyncio
import gzip

import pytest
from playwright.async_api import Browser

from web.fake_service import WEB, FakeService
from web.page_driver import SIZE, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_two_thousand_updates_leave_page_and_heap_as_they_were(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service) as page:
        session = await page.context.new_cdp_session(page)

        async def heap() -> float:
            await session.send("HeapProfiler.collectGarbage")
            return float(await page.evaluate("performance.memory.usedJSHeapSize"))

        async def tick(n: int) -> None:
            for i in range(n):
                service.tell(*service.views.values())
                if i % 50 == 0:
                    await asyncio.sleep(0)
            await caught_up(page, service)

        await tick(300)
        before, elements = await heap(), await page.evaluate(SIZE)
        await tick(2_000)
        assert await heap() - before < 2_000_000
        assert await page.evaluate(SIZE) == elements


async def test_scripts_and_styles_weigh_no_more_than_sixty_kilobytes_as_they_are_served() -> None:
    files = [*sorted((WEB / "app").rglob("*.js")), *sorted((WEB / "styles").glob("*.css"))]
    assert len(gzip.compress(b"".join(f.read_bytes() for f in files), 9)) <= 60_000
