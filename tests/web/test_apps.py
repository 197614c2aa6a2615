"""“Use it in your apps”: its texts, its key, its keyboard, and the first request of an app."""

import pytest
from playwright.async_api import Browser, Page, expect

from meshlight.domain.api_types import Requests
from meshlight.domain.events import TrafficEvent
from web.fake_apps import KEY
from web.fake_service import FakeService
from web.page_driver import AXE, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

COPIED = """() => { window.copied = []; document.addEventListener("copy", (e) => {
  copied.push(document.activeElement.value ?? String(getSelection())); }, true); }"""
COMPLAINTS = """async () => (await axe.run("#dialog")).violations.map(({ id }) => id)"""


async def tab(page: Page, name: str) -> None:
    await page.get_by_role("tab", name=name, exact=True).click()


async def test_the_key_is_copied_and_shown_only_when_asked_for(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60)), at="#apps") as page:
        await page.evaluate(COPIED)
        pane = page.get_by_role("tabpanel", name="Claude Code")
        text = pane.get_by_role("region", name="Text to copy")
        await expect(text).to_contain_text("export ANTHROPIC_AUTH_TOKEN='••••")
        await expect(pane).to_contain_text("meshlight launch claude")
        assert "apps" not in page.url
        await pane.get_by_role("button", name="Copy", exact=True).click()
        assert KEY in (await page.evaluate("copied"))[0]
        assert KEY not in await page.locator("body").inner_text()
        await pane.get_by_role("button", name="Show the key").click()
        await expect(text).to_contain_text(KEY)
        await tab(page, "Zed")
        assert KEY not in await page.locator("body").inner_text()
        await page.get_by_role("button", name="Copy the key").click()
        assert (await page.evaluate("copied"))[1] == KEY
        await expect(page.get_by_role("button", name="Show the key")).to_be_hidden()


async def test_its_tabs_are_walked_by_the_keyboard_and_a_call_is_told(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await page.locator('[data-key="u"]').click()
        await page.get_by_role("button", name="Use it in your apps …").click()
        await expect(page.get_by_role("tab", name="Claude Code")).to_be_focused()
        for key, name in (("ArrowDown", "Codex"), ("ArrowUp", "Claude Code"), ("ArrowUp", "curl")):
            await page.keyboard.press(key)
            await expect(page.get_by_role("tab", name=name)).to_be_focused()
            await expect(page.get_by_role("tab", selected=True)).to_have_text(name)
        await expect(page.locator(".waiting")).to_have_text("Waiting for its first request …")
        service.publish(
            lambda seq: TrafficEvent(seq=seq, routes=(), router=Requests(), apps=("curl", "aider"))
        )
        await expect(page.locator(".waiting")).to_have_text("✓ curl called.")
        await tab(page, "aider")
        await expect(page.locator(".waiting")).to_have_text(
            "✓ OpenAI's Python client, which aider uses, called."
        )
        await tab(page, "Cursor")
        await expect(page.locator(".waiting")).to_contain_text("be told from others")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("tab")).to_have_count(0)


async def test_the_model_of_the_address_is_used_and_another_can_be_chosen(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60)), at="#apps=gpt-oss-20b") as page:
        text = page.get_by_role("region", name="Text to copy")
        await tab(page, "curl")
        await expect(text).to_contain_text('"model": "gpt-oss-20b"')
        field = page.get_by_role("combobox", name="Model")
        await field.fill("qwen3-32b")
        await field.press("Enter")
        await expect(text).to_contain_text('"model": "qwen3-32b"')


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wrong_with_it_for_axe(browser: Browser, scheme: str) -> None:
    media = {"color_scheme": scheme}
    for size in ((1440, 900), (420, 800)):
        async with open_fake(browser, FakeService(mesh(10, 60)), at="#apps", size=size, media=media) as page:
            await tab(page, "aider")
            await page.evaluate("dispatchEvent(new CustomEvent('meshlight-apps', { detail: ['aider'] }))")
            await page.evaluate(AXE.read_text(encoding="utf-8"))
            assert await page.evaluate(COMPLAINTS) == []
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
