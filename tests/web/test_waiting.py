"""Warm and cold models, slots, who waits and where requests went: on the map, in the tooltip and in the panels."""

import re

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, Locator, Page, expect

from meshlight.domain.api_types import DecisionView, QueueView, WaitingCaller
from meshlight.domain.backend import ModelDetail
from meshlight.domain.events import RouteTraffic
from web.fake_service import FakeService
from web.page_driver import FRAMES_AT_REST, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ID = "ollama-1"
BUSY = RouteTraffic(backend=ID, model="", started=3, in_flight=3)
QUEUE = QueueView(
    waiting=3,
    longest_s=12.0,
    expected_s=20.0,
    callers=(WaitingCaller("aider", 2), WaitingCaller("<img src=x>", 1)),
)
IS_BLUE_BEFORE = """(el) => {
  const c = document.getElementById("edges"), to = el.getBoundingClientRect(), at = c.getBoundingClientRect();
  const k = c.width / at.width, x = (to.left - at.left - 40) * k, y = (to.top - at.top - 30) * k;
  const { data } = c.getContext("2d").getImageData(x, y, 40 * k, 90 * k);
  for (let i = 0; i < data.length; i += 4)
    if (data[i] === 122 && data[i + 1] === 162 && data[i + 2] === 255) return true;
  return false;
}"""
"""Whether a point in the colour of those who wait (the accent of the dark theme) is drawn at a card's left."""


def service() -> tuple[FakeService, list[str]]:
    """Return a service with a backend of four slots that tells of its models, and the models."""
    views = mesh(10, 60)
    place = next(i for i, v in enumerate(views) if v.id == ID)
    models = list(views[place].models)
    details = {models[0]: ModelDetail(loaded=True), models[1]: ModelDetail(loaded=False)}
    views[place] = replace(views[place], details=details, slots=4)
    return FakeService(views), models


def chip(page: Page, model: str) -> Locator:
    return page.locator(f'[data-key="m:{ID}\\a {model}"]')


async def test_warm_models_are_filled_and_cold_ones_hollow_and_words_say_so(browser: Browser) -> None:
    fake, (warm, cold, unknown, *_) = service()
    async with open_fake(browser, fake) as page:
        for model, engine, words in (
            (warm, "ready", "in memory"),
            (cold, "on-disk", "loads on the first request"),
        ):
            found = chip(page, model)
            await expect(found).to_have_attribute("data-engine", engine)
            await expect(found).to_have_attribute("aria-label", re.compile(words))
            await found.hover()
            await expect(page.locator("#tooltip")).to_contain_text(words)
            await found.click()
            await expect(page.locator("#panel .facts")).to_contain_text(words)
            await page.keyboard.press("Escape")
        await expect(chip(page, unknown)).not_to_have_attribute("data-engine", re.compile("."))
        await expect(page.locator("#legend")).to_contain_text("in memory")

        # What is learned later changes the card, although nothing else of the backend has.
        details = {cold: ModelDetail(loaded=True)}
        fake.put(replace(fake.views[ID], details=details))
        await expect(chip(page, cold)).to_have_attribute("data-engine", "ready")
        # A backend that is down is told by its state alone.
        fake.become(ID, "unhealthy")
        await expect(chip(page, cold)).not_to_have_attribute("data-engine", re.compile("."))


async def test_slots_are_pips_and_requests_that_wait_stand_at_one_door(browser: Browser) -> None:
    fake, (model, *_) = service()
    media = {"reduced_motion": "reduce"}
    async with open_fake(browser, fake, media=media) as page:
        await expect(card(page, ID)).to_have_attribute("data-pips", "○○○○")
        fake.flow(replace(BUSY, model=model), waiting={model: 3}, queues={model: QUEUE})
        await expect(card(page, ID)).to_have_attribute("data-pips", "●●●○")
        await expect(card(page, ID)).to_have_attribute("aria-label", re.compile("3 of 4 slots busy"))
        door = chip(page, model)
        await expect(door.locator("small")).to_contain_text("3 waiting")
        assert await page.locator(".chip small", has_text="waiting").count() == 1, "one queue, one door"
        await page.evaluate(FRAMES_AT_REST)
        assert await door.evaluate(IS_BLUE_BEFORE)
        await door.hover()
        await expect(page.locator("#tooltip")).to_contain_text("3 waiting, ~20 s")
        await door.click()
        facts = page.locator("#panel .facts")
        await expect(facts).to_contain_text(
            re.compile(r"3 waiting, ~20 s · longest 1\d s · aider 2, <img src=x> 1")
        )
        await page.keyboard.press("Escape")
        await card(page, ID).click()
        await expect(facts).to_contain_text("Slots3 of 4 slots busy")
        await page.keyboard.press("Escape")

        # Events that come close together count all: the page is brought up to date after the second one.
        fake.flow(replace(BUSY, model=model, started=0, ok=3, in_flight=0), waiting={model: 0})
        fake.flow()
        await expect(card(page, ID)).to_have_attribute("data-pips", "○○○○")
        await expect(door.locator("small")).to_have_count(0)
        await page.evaluate(FRAMES_AT_REST)
        assert not await door.evaluate(IS_BLUE_BEFORE)


async def test_the_routers_panel_tells_why_the_last_requests_went_where_they_went(browser: Browser) -> None:
    fake, (model, *_) = service()
    async with open_fake(browser, fake, at="#sel=r") as page:
        await expect(page.locator("#panel").get_by_text("Last requests")).to_be_hidden()
        first = DecisionView(
            model="<b>m</b>", backend="gone", why="the only choice", age_s=0.0, count=7, waited_s=3.2
        )
        second = DecisionView(model=model, backend=ID, why="warm here", age_s=2.0, loaded=True, kept=False)
        fake.flow(replace(BUSY, model=model), decisions=(first, second))
        lines = page.locator("#panel section:has(> h3:text-is('Last requests')) li")
        await expect(lines).to_have_count(2)
        await expect(lines.first).to_contain_text(f"{model} → {fake.views[ID].name}")
        await expect(lines.first).to_contain_text(
            re.compile(r"\d+:\d\d.* · warm here · conversation moved · in memory")
        )
        await expect(lines.last).to_contain_text(
            re.compile(r"<b>m</b> → gone . 7.* · the only choice · waited 3 s")
        )
