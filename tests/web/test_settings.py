"""The settings sheet, the locked page that asks to be let in, and the question where there is no keyring."""

import asyncio
import json

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, Page, Route, expect

from meshlight.domain.events import SignInRequestEvent
from web.fake_service import FakeService
from web.page_driver import AXE, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def service_here() -> FakeService:
    return FakeService(mesh(4, 12), tick_s=600)


def changes(service: FakeService) -> list[object]:
    return [body for method, _, body in service.asked if method == "PATCH"]


async def serious(page: Page) -> str:
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
    return json.dumps(
        [
            (f["id"], [n["target"] for n in f["nodes"]])
            for f in found
            if f["impact"] in {"serious", "critical"}
        ]
    )


async def test_by_keyboard_alone_each_change_is_saved_at_once_and_two_pages_are_equal(
    browser: Browser,
) -> None:
    service = service_here()
    async with open_fake(browser, service) as page:
        other = await page.context.new_page()
        await other.goto(service.url + "#settings=rings")
        bound = other.get_by_role("switch", name="Never beyond my network")
        await expect(bound).to_be_focused()
        answers = asyncio.Event()

        async def hold(route: Route) -> None:
            await answers.wait()
            await route.continue_()

        await page.route("**/mesh/settings", hold)
        await page.keyboard.press(",")
        name = page.get_by_label("Name", exact=True)
        await expect(name).to_be_focused()
        await page.keyboard.press("Tab")
        answers.set()
        await expect(name).to_have_value("studio")
        # A key that is pressed before the answer has come is not lost.
        await expect(page.get_by_role("switch", name="Visible to others")).to_be_focused()
        await name.fill("Bo's Mac")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("switch", name="Visible to others")).to_be_focused()
        await page.keyboard.press("Space")
        await expect(other.get_by_role("switch", name="Visible to others")).to_be_checked()
        await expect(other.get_by_label("Name", exact=True)).to_have_value("Bo's Mac")
        await bound.press("Space")
        await expect(page.get_by_role("switch", name="Never beyond my network")).to_be_checked()
        assert changes(service) == [
            {"name": "Bo's Mac"},
            {"lan": {"visible": True}},
            {"routing": {"bound": "lan"}},
        ]
        await page.keyboard.press("Escape")
        await expect(page.locator("#dialog")).to_be_hidden()
        await page.keyboard.press(",")
        await expect(name).to_have_value("Bo's Mac")
        snapshots = [path for _, path, _ in service.asked].count("/mesh/snapshot")
        service.publish(lambda seq: SignInRequestEvent(seq=seq, code="4821", left_s=60.0))
        service.tell(*service.views.values())
        await caught_up(page, service)
        assert [path for _, path, _ in service.asked].count("/mesh/snapshot") == snapshots, (
            "no event was missed"
        )


async def test_start_at_login_says_what_it_does_here_or_why_not(browser: Browser) -> None:
    service = service_here()
    async with open_fake(browser, service) as page:
        await page.keyboard.press(",")
        login = page.get_by_role("switch", name="Start at login")
        await expect(page.get_by_text("by the desktop's autostart")).to_be_visible()
        await login.press("Space")
        await expect(page.get_by_text("The icon in the tray starts at login.")).to_be_visible()
        await page.keyboard.press("Escape")
        service.settings.login = replace(service.settings.login, on=False, can=False, text="No desktop here.")
        await page.keyboard.press(",")
        await expect(page.get_by_text("No desktop here.")).to_be_visible()
        await expect(login).to_be_disabled()


async def test_the_key_is_shown_when_asked_for_and_replaced_after_a_question(browser: Browser) -> None:
    service = service_here()
    async with open_fake(browser, service) as page:
        await page.keyboard.press(",")
        key = page.locator("#s-local")
        await expect(key).to_have_text("••••••••")
        show = page.get_by_role("button", name="Show", exact=True)
        await show.click()
        await expect(key).to_have_text(service.settings.key)
        await show.click()
        await expect(key).to_have_text("••••••••")
        old = service.settings.key
        await page.get_by_role("button", name="Replace …").click()
        await expect(page.get_by_role("button", name="Keep it")).to_be_focused()
        assert service.settings.key == old
        await page.get_by_role("button", name="Replace", exact=True).click()
        await expect(key).not_to_have_text("••••••••")
        await expect(key).to_have_text(service.settings.key)
        assert service.settings.key != old


async def test_an_app_gets_a_key_that_is_shown_once_and_can_be_taken_back(browser: Browser) -> None:
    service = service_here()
    async with open_fake(browser, service) as page:
        await page.keyboard.press(",")
        name = page.get_by_placeholder("Name of the app")
        await name.fill("<b>Zed</b>")
        await name.press("Enter")  # the sheet may have taken the focus meanwhile, for its first line
        await expect(page.get_by_text("ml-new-key-of-an-app")).to_be_visible()
        await expect(page.locator("#s-app-keys")).to_contain_text("<b>Zed</b>")
        await page.get_by_role("button", name="Remove Zed on the laptop").click()
        await expect(page.locator("#s-app-keys li")).to_have_count(1)
        assert [key.id for key in service.settings.keys] == ["b2"]


async def test_a_folder_that_is_refused_stays_typed_with_the_reason_beside_it(browser: Browser) -> None:
    service = service_here()
    async with open_fake(browser, service, expect_errors=True) as page:
        await page.keyboard.press(",")
        folder = page.get_by_label("Look for models in")
        await folder.fill("/nowhere")
        await folder.press("Enter")
        await expect(page.locator("#s-folder .said")).to_contain_text("there is no folder '/nowhere'")
        await expect(folder).to_have_value("/nowhere")
        await folder.fill("/data")
        await folder.press("Enter")
        await expect(page.locator("#s-folders")).to_contain_text("/data")
        await expect(folder).to_have_value("")
        await page.get_by_role("button", name="Remove ~/models").click()
        await expect(page.locator("#s-folders li")).to_have_count(1)
        assert changes(service)[-1] == {"local": {"folders": ["/data"]}}


async def test_a_newer_version_and_the_licences_are_told(browser: Browser) -> None:
    service = service_here()
    async with open_fake(browser, service) as page:
        await page.keyboard.press(",")
        await page.get_by_role("switch", name="Look for a newer version").press("Space")
        await expect(page.get_by_text("Version 0.2.0 is out.")).to_be_visible()
        await page.get_by_text("Version and licences").click()
        await expect(page.locator(".licences li")).to_have_count(12)
        theme = page.get_by_label("Theme of this page")
        await theme.select_option("light")
        await expect(page.locator(":root")).to_have_attribute("data-theme", "light")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize(
    "media", [{"color_scheme": "dark"}, {"color_scheme": "light"}], ids=["dark", "light"]
)
async def test_axe_finds_nothing_serious_in_the_settings_and_on_the_locked_page(
    browser: Browser, media: dict[str, str]
) -> None:
    service = service_here()
    async with open_fake(browser, service, media=media) as page:
        await page.keyboard.press(",")
        await page.get_by_role("button", name="Replace …").click()
        await page.get_by_text("Version and licences").click()
        await expect(page.locator(".licences li")).to_have_count(12)
        assert await serious(page) == "[]"
    service = service_here()
    service.key = "k"
    async with open_fake(browser, service, media=media, cards=False, expect_errors=True) as page:
        await page.get_by_role("button", name="Let me in").click()
        await expect(page.locator("#let-in-status")).to_contain_text("4821")
        assert await serious(page) == "[]"


async def test_a_locked_page_asks_shows_the_code_of_the_tray_and_is_let_in(browser: Browser) -> None:
    service = service_here()
    service.key = "k"
    async with open_fake(browser, service, cards=False, expect_errors=True) as page:
        await expect(page.get_by_text("Choose “Open mesh” in the tray")).to_be_visible()
        await page.get_by_role("button", name="Let me in").click()
        await expect(page.get_by_text("Let the browser in (code 4821)")).to_be_visible()
        service.lets_in = True
        await expect(page.locator('[data-key="r"]')).to_be_visible()
        await expect(page.locator("#session")).to_be_hidden()


async def test_without_a_tray_the_command_is_told(browser: Browser) -> None:
    service = service_here()
    service.key, service.has_tray = "k", False
    async with open_fake(browser, service, cards=False, expect_errors=True) as page:
        await page.get_by_role("button", name="Let me in").click()
        await expect(page.locator("#let-in-status code")).to_have_text("meshlight open")


@pytest.mark.parametrize("allowed", [True, False], ids=["file", "no"])
async def test_where_there_is_no_keyring_the_page_asks_once_and_adds_the_cloud_right_after(
    browser: Browser, *, allowed: bool
) -> None:
    service = service_here()
    service.settings.has_keyring = False
    async with open_fake(browser, service, expect_errors=True) as page:
        await page.keyboard.press("a")
        await page.get_by_label("Kind").select_option("openai")
        await page.locator("#f-api_key").fill("sk-1")
        await page.get_by_role("button", name="Connect and add").click()
        question = page.get_by_role("dialog", name="Keep keys in a file only you can read?")
        await expect(question).to_contain_text("secrets.json")
        await question.get_by_role("button", name="Keep them in a file" if allowed else "No").click()
        if allowed:
            await expect(page.locator("#dialog")).to_be_hidden()
            assert "new-1" in service.views
        else:
            await expect(page.locator("#form-problem")).to_contain_text("no keyring")
            await page.get_by_role("button", name="Connect and add").click()
            await expect(page.locator("#form-problem")).to_contain_text("no keyring")
            await expect(question).to_be_hidden()
        assert changes(service) == [{"key_storage": "file" if allowed else "keyring"}]
