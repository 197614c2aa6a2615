"""The panels show what engines tell of themselves and their models."""

import re

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, expect

from meshlight.domain.backend import ModelDetail
from web.fake_service import FakeService
from web.page_driver import card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WARNING = "big-cloud runs in Ollama's cloud: what is sent to such a model leaves that machine."


async def test_version_warnings_and_details_of_models_are_in_the_panels(browser: Browser) -> None:
    views = mesh(10, 60)
    place = next(i for i, v in enumerate(views) if v.id == "ollama-1")
    first = views[place].models[0]
    detail = ModelDetail(context=8192, quantization="Q4_K_M", loaded=True, capabilities=("chat", "vision"))
    views[place] = replace(
        views[place],
        details={first: detail},
        about={"Version": "0.12.6", "<b>Odd</b>": "<img src=x>"},
        warnings=(WARNING,),
    )
    service = FakeService(views)
    async with open_fake(browser, service) as page:
        await card(page, "ollama-1").click()
        facts = page.locator("#panel .facts")
        await expect(facts).to_contain_text("Version0.12.6")
        await expect(facts).to_contain_text("<b>Odd</b><img src=x>")
        await expect(facts).to_contain_text(WARNING)
        line = page.locator("#panel .models small")
        await expect(line).to_have_text("8k context · Q4_K_M · in memory · vision")

        service.views["ollama-1"] = replace(
            service.views["ollama-1"], about={"Version": "0.13.0"}, warnings=(), details={}
        )
        service.tell(service.views["ollama-1"])
        await expect(facts).to_contain_text("Version0.13.0")
        await expect(facts.get_by_text("<img src=x>")).to_be_hidden()
        await expect(facts.get_by_text(WARNING)).to_be_hidden()

        await page.locator("#panel .models button").first.click()
        await expect(page.locator("#panel .facts")).to_contain_text(
            "Details8k context · Q4_K_M · in memory · vision"
        )


async def test_a_backend_that_can_serve_nothing_is_not_shown_as_healthy(browser: Browser) -> None:
    views = mesh(10, 60)
    reason = "None of its 2 services has an active route."
    service = FakeService(views)
    async with open_fake(browser, service) as page:
        healthy = next(v for v in views if v.id == "ollama-1")
        service.views["ollama-1"] = replace(healthy, degraded=reason)
        service.tell(service.views["ollama-1"])
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "degraded")
        await expect(card(page, "ollama-1")).to_have_attribute("aria-label", re.compile(re.escape(reason)))
        await card(page, "ollama-1").click()
        await expect(page.locator("#panel .state")).to_contain_text("degraded")
        await expect(page.locator("#panel .reason")).to_have_text(reason)

        service.views["ollama-1"] = healthy
        service.tell(healthy)
        await expect(card(page, "ollama-1")).to_have_attribute("data-status", "healthy")
        await expect(page.locator("#panel .reason")).to_be_hidden()
