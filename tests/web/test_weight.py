"""What the page weighs: in bytes on its way, and in memory after many updates."""

import asyncio
import gzip
import re

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


async def test_scripts_and_styles_weigh_no_more_than_ninety_kilobytes_compressed() -> None:
    files = [*sorted((WEB / "app").rglob("*.js")), *sorted((WEB / "styles").glob("*.css"))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    # The types for the checker are comments, and cost a browser nothing but their way: they count apart.
    code = [re.sub(r"/\*.*?\*/|^ *//.*?$", "", text, flags=re.DOTALL | re.MULTILINE) for text in texts]
    assert _compressed(code) <= 90_000
    assert _compressed(texts) - _compressed(code) <= 18_500


async def test_the_font_weighs_no_more_than_sixty_kilobytes_and_has_its_licence_beside_it() -> None:
    fonts = list((WEB / "fonts").glob("*.woff2"))
    assert sum(font.stat().st_size for font in fonts) <= 60_000
    assert "SIL Open Font License" in (WEB / "fonts" / "OFL.txt").read_text(encoding="utf-8")


def _compressed(texts: list[str]) -> int:
    return len(gzip.compress("".join(texts).encode(), 9))
