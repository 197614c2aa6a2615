"""Adding a backend on the page: by hand, from a link, and handing its address on."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from web.fake_service import FakeService
from web.page_driver import AXE, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINK = "#add?kind=cluster&url=https%3A%2F%2Fc.example&name=Big+box&access_key=AKIA1&api_key=sk-1"


async def the_dialog(page: Page) -> None:
    await page.locator("#add").click()
    await expect(page.locator("#f-url")).to_be_focused()


def sent(service: FakeService) -> list[object]:
    """What was sent to add a backend."""
    return [body for method, path, body in service.asked if (method, path) == ("POST", "/mesh/backends")]


async def test_the_dialog_offers_the_services_kinds_in_groups_and_asks_what_each_wants(
    browser: Browser,
) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await the_dialog(page)
        groups = await page.locator("#f-kind optgroup").evaluate_all("all => all.map(g => g.label)")
        assert groups == ["Cloud", "This machine", "Router", "Cluster", "Other"]
        await expect(page.locator("#f-url")).to_have_attribute("placeholder", "http://127.0.0.1:11434")
        await page.locator("#f-kind").select_option("cluster")
        await expect(page.locator("#h-kind")).to_contain_text("signed by a pair of keys")
        await expect(page.locator("#f-access_key")).to_have_attribute("required", "")
        await expect(page.locator("#f-api_key")).to_have_attribute("type", "password")
        await expect(page.locator("#f-follow_clock")).to_be_checked()
        assert await page.locator("#f-ca_file").count() == 1
        await page.locator("#f-kind").select_option("openai")
        key_page = page.locator("#h-api_key a")
        await expect(key_page).to_have_attribute("href", "https://platform.openai.com/api-keys")
        await expect(page.locator("#f-url")).to_have_attribute("placeholder", "https://api.openai.com")
        await expect(page.locator("#f-url")).not_to_have_attribute("required", "")


async def test_what_was_typed_is_sent_and_nothing_else_is(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await the_dialog(page)
        await page.locator("#f-kind").select_option("cluster")
        await page.locator("#f-url").fill("https://c.example")
        await page.locator("#f-access_key").fill("AKIA1")
        await page.locator("#f-api_key").fill("sk-1")
        await page.locator("#f-follow_clock").uncheck()
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        assert sent(service) == [
            {
                "kind": "cluster",
                "url": "https://c.example",
                "access_key": "AKIA1",
                "api_key": "sk-1",
                "follow_clock": False,
            }
        ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
async def test_a_refused_key_is_told_beside_the_key_with_its_fix_to_eye_and_ear(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, expect_errors=True) as page:
        await the_dialog(page)
        await page.locator("#f-url").fill("http://127.0.0.1:8000")
        await page.locator("#f-api_key").fill("wrong")
        await page.keyboard.press("Enter")
        trouble = page.locator(".field", has=page.locator("#f-api_key")).locator(".problem")
        await expect(trouble).to_contain_text("It refuses the API key (401).")
        await expect(trouble).to_contain_text("Copy the key once more.")
        await expect(trouble).to_have_attribute("role", "alert")
        await expect(page.locator("#f-api_key")).to_be_focused()
        await expect(page.locator("#f-api_key")).to_have_attribute("aria-invalid", "true")
        await expect(page.locator("#dialog [role=status]")).to_have_text("Nothing was saved.")
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("axe.run('#dialog').then(r => r.violations.map(v => v.id))")
        assert found == []


async def test_one_that_does_not_answer_is_saved_anyway_or_switched_off_by_keyboard(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, expect_errors=True) as page:
        for button, more in (
            ("Save anyway", {"save_anyway": True}),
            ("Save switched off", {"save_anyway": True, "enabled": False}),
        ):
            await the_dialog(page)
            await page.locator("#f-url").fill("http://refuse:1")
            await page.keyboard.press("Enter")
            await expect(page.locator(".problem")).to_contain_text("Is Ollama running?")
            await page.keyboard.press("Tab")
            if button != "Save anyway":
                await page.keyboard.press("Tab")
            await expect(page.locator(":focus")).to_have_text(button)
            await page.keyboard.press("Enter")
            await expect(page.locator("#dialog")).to_be_hidden()
            assert sent(service)[-1] == {"kind": "ollama", "url": "http://refuse:1"} | more


async def test_a_link_fills_in_the_dialog_with_a_warning_and_adds_nothing(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, at=LINK) as page:
        await expect(page.locator("#dialog")).to_contain_text(
            "From a link: check the address before you connect."
        )
        for field, value in (
            ("kind", "cluster"),
            ("url", "https://c.example"),
            ("name", "Big box"),
            ("access_key", "AKIA1"),
            ("api_key", ""),
        ):
            await expect(page.locator(f"#f-{field}")).to_have_value(value)
        assert "add?" not in page.url
        assert sent(service) == []
        await page.keyboard.press("Escape")
        await expect(page.locator("#dialog")).to_be_hidden()


async def test_a_link_that_comes_to_an_open_page_is_taken_too_and_one_of_no_known_kind_is_not(
    browser: Browser,
) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await page.evaluate("location.hash = 'add?kind=nonsense&url=http://x'")
        await page.wait_for_function("() => !location.hash.includes('add?')")
        await expect(page.locator("#dialog")).to_be_hidden()
        name = "<img src=x onerror=window.hit=1>" + "x" * 99
        await page.evaluate(f"location.hash = 'add?kind=ollama&url=http://x&name={name}'")
        await expect(page.locator("#f-url")).to_have_value("http://x")
        assert len(await page.locator("#f-name").input_value()) == 80
        assert await page.evaluate("window.hit") is None


async def test_an_address_is_shared_as_a_picture_and_a_link_without_its_key(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await the_dialog(page)
        await page.locator("#f-kind").select_option("vllm")
        await page.locator("#f-url").fill("http://gpu.lan:8000")
        await page.locator("#f-api_key").fill("sk-1")
        await page.locator("#dialog button", has_text="Share").click()
        await expect(page.locator(".link-text")).to_have_text(
            "meshlight://add?kind=vllm&url=http%3A%2F%2Fgpu.lan%3A8000"
        )
        await page.wait_for_function("() => document.querySelector('.qr')?.naturalWidth > 0")
        await page.locator("#f-url").fill("http://127.0.0.1:8000")
        await page.locator("#dialog button", has_text="Share").click()
        await expect(page.locator("#dialog")).to_contain_text("leads to this machine only")
        await expect(page.locator(".qr")).to_have_count(0)


async def test_the_panel_shares_a_backend_and_copies_its_link(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await card(page, "cluster-7").click()
        await page.locator("#panel button", has_text="Share").click()
        await expect(page.locator("#dialog h2")).to_have_text(re.compile("^Share "))
        await expect(page.locator(".link-text")).to_contain_text(
            "meshlight://add?kind=cluster&url=http%3A%2F%2F10.0.0.7"
        )
        await page.locator("#dialog button", has_text="Copy link").click()
        await expect(page.locator("#dialog button").first).to_have_text("Copied")
        await page.keyboard.press("Escape")
        await card(page, "peer-3").click()
        await expect(page.locator("#panel button", has_text="Check now")).to_be_visible()
        await expect(page.locator("#panel button", has_text="Share")).to_be_hidden()


async def test_an_edit_sends_what_differs_and_keeps_the_key_unless_another_is_typed(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await card(page, "cluster-7").click()
        await page.locator("#panel button", has_text="Edit").click()
        await expect(page.locator("#f-api_key")).to_have_attribute("placeholder", "unchanged")
        await expect(page.locator("#f-kind")).to_be_disabled()
        await page.locator("#f-name").fill("attic")
        await page.locator("#f-access_key").fill("AKIA2")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        [change] = [body for method, _, body in service.asked if method == "PATCH"]
        assert change == {"name": "attic", "access_key": "AKIA2"}


async def test_a_new_address_asks_for_its_key_in_the_same_save(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await card(page, "ollama-1").click()
        await page.locator("#panel button", has_text="Edit").click()
        key = page.locator(".field", has=page.locator("#f-api_key"))
        await expect(page.locator("#f-api_key")).to_have_attribute("placeholder", "unchanged")
        for url, moved in (
            ("http://127.0.0.1:8081/below", False),
            ("https://127.0.0.1:8081", True),
            ("http://localhost:8081", True),
            ("http://127.0.0.1:8082", True),
        ):
            await page.locator("#f-url").fill(url)
            await expect(key.get_by_text("is not sent to")).to_be_visible(visible=moved)
        await expect(key).to_contain_text("A key for 127.0.0.1:8081 is not sent to 127.0.0.1:8082")
        await page.locator("#f-api_key").fill("sk-2")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        await page.locator("#panel button", has_text="Edit").click()
        await page.locator("#f-url").fill("http://127.0.0.1:8083")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        assert [body for method, _, body in service.asked if method == "PATCH"] == [
            {"url": "http://127.0.0.1:8082", "api_key": "sk-2"},
            {"url": "http://127.0.0.1:8083", "api_key": ""},
        ]


async def test_where_a_key_is_needed_a_new_address_is_not_saved_without_it(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page:
        await card(page, "cluster-7").click()
        await page.locator("#panel button", has_text="Edit").click()
        await expect(page.locator("#f-api_key")).not_to_have_attribute("required", "")
        await page.locator("#f-access_key").fill("AKIA1")
        await page.locator("#f-url").fill("http://elsewhere:8080")
        await page.keyboard.press("Enter")
        await expect(page.locator("#f-api_key:invalid")).to_be_focused()
        assert [body for method, _, body in service.asked if method == "PATCH"] == []


async def test_a_key_that_the_service_asks_for_is_asked_for_at_its_field(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, expect_errors=True) as page:
        await card(page, "ollama-1").click()
        await page.locator("#panel button", has_text="Edit").click()
        await page.locator("#f-url").fill("http://keyed:8081")
        await page.keyboard.press("Enter")
        key = page.locator(".field", has=page.locator("#f-api_key"))
        await expect(key.get_by_role("alert")).to_contain_text("was given for another address")
        await expect(key.get_by_role("alert")).to_contain_text("Give the key for the new address.")
        await expect(page.locator("#f-api_key")).to_be_focused()
        await expect(key.get_by_role("button")).to_have_count(0)
        await page.keyboard.type("sk-3")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
