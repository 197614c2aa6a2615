"""The first run: ways to a first backend, the bar with the next step, and the demo."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, Locator, Page, expect

from meshlight.domain.events import RouteTraffic
from web.fake_local import house
from web.fake_service import FakeService
from web.page_driver import AXE, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "sk-ant-api03-of-the-test"
CUT = """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility())
  .filter((e) => { const r = e.getBoundingClientRect(); return r.left < -0.5 || r.right > innerWidth + 0.5; })
  .map((e) => e.className || e.textContent)"""
SERIOUS = """async () => (await axe.run()).violations
  .filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => v.id + v.nodes.map((n) => n.html))"""


def fresh(backends: int = 0) -> FakeService:
    """Return a mesh whose user has done nothing yet."""
    service = FakeService(mesh(backends, 3 * backends) if backends else [], tick_s=600)
    service.local = house(models=())
    service.welcome = replace(service.welcome, is_over=False, login_asked=False)
    return service


def opened(browser: Browser, service: FakeService, **how: Any) -> AbstractAsyncContextManager[Page]:
    return open_fake(browser, service, **how)


def way(page: Page, name: str) -> Locator:
    return page.locator(".ways").get_by_role("button", name=name)


def kept(service: FakeService) -> list[object]:
    return [body for how, path, body in service.asked if (how, path) == ("PATCH", "/mesh/welcome")]


async def test_the_first_answer_takes_three_presses_and_each_step_is_kept(browser: Browser) -> None:
    service = fresh(3)
    async with opened(browser, service) as page:
        bar = page.get_by_role("region", name="Welcome")
        await expect(bar).to_contain_text("Found llama.cpp with 3 models and 2 other backends.")
        await bar.get_by_role("button", name="Try it").focus()
        await page.keyboard.press("Enter")
        await expect(bar).to_contain_text("Waiting for your first answer")
        await expect(page.get_by_label("Question")).to_be_focused()
        first = next(iter(service.views.values()))
        service.flow(RouteTraffic(backend=first.id, model=first.models[0], started=1, ok=1))
        await expect(bar).to_contain_text("It answers.")
        assert kept(service) == [{"done": "question"}]
        await bar.get_by_role("button", name="Use it in your apps").press("Enter")
        await expect(page.get_by_role("heading", name="Use it in your apps")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(bar).to_contain_text("Start Meshlight at login?")
        await bar.get_by_role("button", name="Yes").press("Enter")
        await expect(bar).to_be_hidden()
        assert kept(service) == [{"done": "question"}, {"done": "apps"}, {"done": "login"}]
        assert ("PATCH", "/mesh/settings/login", {"on": True}) in service.asked
        await page.reload()
        await expect(card(page, next(iter(service.views)))).to_be_visible()
        await expect(page.locator("#welcome-bar")).to_have_count(0)


async def test_it_goes_on_where_it_stopped_and_all_of_it_can_be_skipped(browser: Browser) -> None:
    service = fresh(3)
    service.welcome = replace(service.welcome, done=("question",), login_asked=True)
    async with opened(browser, service) as page:
        bar = page.get_by_role("region", name="Welcome")
        await expect(bar).to_contain_text("It answers. Now let your apps use it")
        await bar.get_by_role("button", name="Skip the rest of Welcome").click()
        await expect(bar).to_be_hidden()
        assert kept(service) == [{"is_over": True}]


async def test_a_key_tells_whose_it_is_and_goes_nowhere_before_the_press(browser: Browser) -> None:
    service = fresh()
    async with opened(browser, service) as page:
        await way(page, "I have a cloud key").click()
        field, whose = page.get_by_label("API key"), page.get_by_label("Provider")
        await expect(field).to_be_focused()
        for typed, provider in (
            ("sk-proj-x", "OpenAI"),
            ("sk-or-v1-x", "OpenRouter"),
            ("gsk_x", "Groq"),
            ("sk-aT3BlbkFJx", "OpenAI"),
            ("sk-0123", "Choose …"),
            (f" {KEY}", "Anthropic"),
        ):
            await field.fill(typed)
            assert await whose.evaluate("(s) => s.selectedOptions[0].textContent") == provider
        await expect(page.locator("#w-whose")).to_have_text(
            "The key is sent to api.anthropic.com, and nowhere else."
        )
        await expect(page.get_by_role("link", name="Mistral")).to_have_attribute(
            "href", "https://console.mistral.ai/api-keys"
        )
        assert not any(how == "POST" for how, _, _ in service.asked)
        await page.keyboard.press("Enter")
        await expect(page.locator("#empty")).to_be_hidden()
        assert [body for how, path, body in service.asked if path == "/mesh/backends"] == [
            {"kind": "anthropic", "url": "https://api.anthropic.com", "name": "Anthropic", "api_key": KEY}
        ]
        assert KEY not in await page.content()


async def test_the_demo_begins_with_a_click_and_ends_with_one(browser: Browser) -> None:
    async with opened(browser, fresh()) as page:
        await way(page, "Just show me").click()
        bar = page.get_by_role("region", name="Welcome")
        await expect(bar).to_contain_text("This is a demo.")
        await bar.get_by_role("button", name="End the demo").click()
        await expect(bar).to_be_hidden()
        await expect(way(page, "Just show me")).to_be_visible()


async def test_the_other_ways_lead_to_the_dialogs_that_are_there(browser: Browser) -> None:
    async with opened(browser, fresh()) as page:
        await way(page, "A server elsewhere").click()
        await expect(page.get_by_label("Kind")).to_have_value("openai-compatible")
        await page.keyboard.press("Escape")
        await way(page, "Another machine with Meshlight").click()
        await expect(page.get_by_role("heading", name="Peers")).to_be_visible()
        await page.keyboard.press("Escape")
        await way(page, "Get a starter model").click()
        await expect(
            page.get_by_role("button", name="Get a starter model (SmolLM2 135M, 98 MB)")
        ).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(way(page, "Get a starter model")).to_be_focused()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize(
    ("scheme", "size"), [("dark", (1440, 900)), ("light", (900, 600)), ("light", (420, 800))]
)
async def test_nothing_is_cut_off_and_axe_finds_nothing_serious(
    browser: Browser, scheme: str, size: tuple[int, int]
) -> None:
    async with opened(browser, fresh(), size=size, media={"color_scheme": scheme}) as page:
        await page.evaluate(AXE.read_text())
        await expect(way(page, "Just show me")).to_be_visible()
        for name in ("", "I have a cloud key", "Get a starter model"):
            if name:
                await way(page, name).click()
            assert await page.evaluate(SERIOUS) == []
            assert await page.evaluate(CUT, "#empty, #empty *") == []
            if name:
                await page.keyboard.press("Escape")
        await way(page, "Just show me").press("Enter")
        await expect(page.locator("#welcome-bar")).to_contain_text("This is a demo.")
        assert await page.evaluate(SERIOUS) == []
        assert await page.evaluate(CUT, "#welcome-bar, #welcome-bar *") == []
