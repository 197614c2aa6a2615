"""The line to the service: silence, breaks, rest and a locked door."""

import pytest
from playwright.async_api import Browser, expect

from web.fake_service import FakeService
from web.page_driver import FRAMES_AT_REST, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_silence_is_said_and_news_takes_it_back(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service, clock=True) as page:
        service.is_dumb = True
        await page.clock.run_for(13_000)
        await expect(page.locator("#connection")).to_contain_text("No news for 12 s")
        service.tell(*service.views.values())
        await expect(page.locator("#connection")).to_be_hidden()


async def test_it_comes_back_by_itself_when_the_service_was_gone(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, expect_errors=True) as page:
        await service.stop()
        service.become("ollama-1", "unhealthy")
        await service.start()
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "unhealthy", timeout=15_000)


async def test_without_a_session_it_asks_for_the_key_and_names_the_easy_way(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    service.key = "right"
    async with open_fake(browser, service, cards=False, expect_errors=True) as page:
        await expect(page.locator("#session code").first).to_have_text("meshlight open")
        await page.locator("#key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#key-error")).to_contain_text("not the key")
        await page.locator("#key").fill("right")
        await page.keyboard.press("Enter")
        await expect(page.locator(".backend")).to_have_count(10)


async def test_a_hidden_page_runs_nothing_and_takes_up_again(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service) as page:
        await page.evaluate("window.dispatchEvent(new Event('meshlight-rest'))")
        service.become("ollama-1", "unhealthy")
        await page.evaluate(FRAMES_AT_REST)
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "healthy")
        await page.evaluate("window.dispatchEvent(new Event('meshlight-wake'))")
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "unhealthy")
