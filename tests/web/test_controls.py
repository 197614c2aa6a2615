"""What one can do: choose, find, filter, sort, add, look back; with the mouse and by keyboard alone."""

import re

import pytest
from playwright.async_api import Browser, expect

from web.fake_service import FakeService
from web.page_driver import SIZE, card, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_backend_that_goes_down_is_shown_with_reason_and_fix_and_told_politely(
    browser: Browser,
) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        service.become("ollama-1", "unhealthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "unhealthy")
        await expect(page.locator("#unhealthy")).to_contain_text("2 unhealthy")
        await expect(page.locator("#live")).to_contain_text(
            "Ollama is unhealthy. Connection refused at 127.0.0.1:8081."
        )
        await card(page, "ollama-1").click()
        await expect(page.locator("#panel .reason")).to_contain_text("Connection refused at 127.0.0.1:8081.")
        await expect(page.locator("#panel .fix").first).to_contain_text("Is the server running?")
        await expect(page.locator("#panel .changes")).to_contain_text("unhealthy")


ESCAPE = """() => {
  const escape = new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(escape);
  return document.activeElement.dataset.key;
}"""
"""Presses it, and returns what has the focus at once: the next key goes there."""


async def test_the_keyboard_alone_walks_opens_and_closes(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await page.locator('[data-key="r"]').focus()
        for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"):
            await page.keyboard.press(key)
        await expect(page.locator(".chip:focus")).to_have_count(1)
        await page.keyboard.press("Enter")
        await expect(page.locator("#panel .eyebrow")).to_have_text("Model")
        assert str(await page.evaluate(ESCAPE)).startswith("m:")
        for key, shows in (("?", "#help h2"), ("t", "#table table"), ("/", "#find:focus")):
            await page.keyboard.press(key)
            await expect(page.locator(shows)).to_be_visible()
            await page.keyboard.press("Escape")
        await page.locator("#table .link").nth(1).press("Enter")
        await expect(page.locator("#panel-title")).to_be_focused()
        await page.evaluate(ESCAPE)
        await expect(page.locator("#table .link").nth(1)).to_be_focused()
        await page.keyboard.press("r")
        await expect(page.locator("#refresh")).to_contain_text("Checking")
        await expect(page.locator("#refresh")).to_contain_text("Refresh")


async def test_search_counts_and_enter_goes_there(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await page.keyboard.press("/")
        await page.keyboard.type("continuum")
        await expect(page.locator("#hits")).to_have_text("2 backends, 0 models")
        await page.keyboard.press("Enter")
        await expect(page.locator("#panel h2")).to_have_text("continuum-berlin")
        assert "q=continuum" in page.url


async def test_only_the_unhealthy_are_left_by_one_press(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await page.locator("#unhealthy").click()
        await expect(page.locator(".backend")).to_have_count(1)
        await page.locator("#unhealthy").click()
        await expect(page.locator(".backend")).to_have_count(10)


async def test_the_table_sorts_and_holds_ten_thousand_models_in_few_elements(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(500, 10_000)), at="#view=table", cards=False) as page:
        rows = page.locator("#table tbody tr:not(.spacer)")
        await expect(rows.first).to_contain_text("unhealthy")
        await page.locator("th button", has_text="Latency").click()
        await expect(page.locator("th[aria-sort=ascending]")).to_have_text("Latency")
        await expect(page.locator("#table table")).to_have_attribute("aria-rowcount", "501")
        assert await page.evaluate(SIZE) <= 800
        await page.locator(".tabs button", has_text="Models").click()
        await expect(page.locator("th").first).to_have_text("Model")


async def test_a_backend_is_added_only_after_it_answered(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, expect_errors=True) as page:
        await page.locator("#add").click()
        await page.locator("#f-url").fill("http://refuse:1")
        await page.keyboard.press("Enter")
        await expect(page.locator(".problem b")).to_have_text("Connection refused at refuse:1.")
        await expect(page.locator(".problem p")).to_have_text("Is Ollama running?")
        await page.locator("#f-url").fill("http://127.0.0.1:11434")
        await page.locator("#f-name").fill("kitchen")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        await expect(card(page, "new-1")).to_contain_text("kitchen")
        await card(page, "new-1").click()
        await page.locator("#panel button", has_text="Disable").click()
        await expect(card(page, "new-1")).to_have_attribute("data-status", "disabled")
        await page.locator("#panel button", has_text="Remove").click()
        await page.locator("#dialog button.danger").click()
        await expect(card(page, "new-1")).to_have_class(re.compile(r"\bremoved\b"))


async def test_the_past_can_be_looked_at_and_left(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service, clock=True) as page:
        service.become("ollama-1", "unhealthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "unhealthy")
        for _ in range(2):
            await page.clock.run_for(5_000)
            service.tell(*service.views.values())
            await caught_up(page, service)
        service.become("ollama-1", "healthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "healthy")
        for _ in range(2):
            await page.locator("#timeline button").first.click()
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "unhealthy")
        await expect(page.locator(".when")).to_have_text("10 s ago")
        await page.locator("#timeline .now").click()
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "healthy")


async def test_theme_and_choice_outlive_a_reload(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await page.locator("#settings").click()
        await page.get_by_label("Theme of this page").select_option("light")
        await page.locator("#dialog .end button").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "light")
        await card(page, "peer-3").click()
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("data-theme", "light")
        await expect(page.locator("#panel h2")).to_have_text("studio-mac")
