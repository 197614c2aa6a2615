"""The picture: everything is in it, named and in its place, at every size."""

import re

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, expect

from meshlight.domain.events import RouteTraffic
from web.fake_service import FakeService
from web.page_driver import FRAMES_AT_REST, HAS_PARTICLES, SIZE, card, open_fake
from web.sample_mesh import mesh

FONTS = """() => {
  const k = Number(document.getElementById("world").style.transform.match(/scale\\((.*)\\)/)[1]);
  const names = [...document.querySelectorAll(".chip, .backend b")];
  return names.map((e) => parseFloat(getComputedStyle(e).fontSize) * k);
}"""
"""The sizes on screen in which names are set, in pixels."""
FREE = """(part) => {
  const edge = document.getElementById("panel").getBoundingClientRect().left;
  const cards = [...document.querySelectorAll(".card")].filter((e) => e.dataset.key.includes(part));
  return cards.every((e) => e.getBoundingClientRect().right <= edge);
}"""
"""Whether the panel covers none of the cards whose keys hold `part`."""
RED = """([x, y]) => {
  const pen = document.getElementById("edges").getContext("2d");
  const p = pen.getImageData(x - 8, y - 8, 17, 17).data;
  for (let i = 0; i < p.length; i += 4) {
    if (p[i] > 150 && p[i + 1] < 110 && p[i + 2] < 110 && p[i + 3] > 120) return true;
  }
  return false;
}"""
"""Whether something red is painted near a point."""

CLIPPED = """() => [...document.querySelectorAll(".hub, .backend:not(.bare), .chip, .top > *")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
  .map((e) => e.textContent)"""
"""The words of cards and header that do not fit where they stand."""
COVERED = """(part) => {
  const tip = document.getElementById("tooltip").getBoundingClientRect();
  const cards = [...document.querySelectorAll(".card")].filter((e) => e.dataset.key.includes(part));
  return cards.filter((e) => {
    const r = e.getBoundingClientRect();
    return r.left < tip.right && tip.left < r.right && r.top < tip.bottom && tip.top < r.bottom;
  }).length;
}"""
"""How many cards whose keys hold `part` lie under the tooltip."""

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_every_backend_and_model_is_there_at_once_and_nothing_is_cut_in_a_small_window(
    browser: Browser,
) -> None:
    for size in ((1280, 800), (900, 600)):
        async with open_fake(browser, FakeService(mesh(10, 60)), size=size) as page:
            await expect(page.locator(".backend")).to_have_count(10)
            await expect(page.locator(".chip")).to_have_count(60)
            assert min(await page.evaluate(FONTS)) >= 10
            sides = await page.evaluate(
                """() => [...document.querySelectorAll(".card")].map((e) => e.getBoundingClientRect())
                .every((r) => r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)"""
            )
            assert sides
            assert await page.evaluate(CLIPPED) == []


async def test_a_request_flies_as_a_particle_and_an_idle_page_draws_no_frame(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=60)
    async with open_fake(browser, service) as page:
        model = service.views["ollama-1"].models[0]
        service.flow(RouteTraffic(backend="ollama-1", model=model, started=1, in_flight=1))
        await page.wait_for_function(HAS_PARTICLES)
        service.flow(RouteTraffic(backend="ollama-1", model=model, failed=1))
        await page.evaluate(FRAMES_AT_REST)
        assert not await page.evaluate(HAS_PARTICLES)
        await page.evaluate(FRAMES_AT_REST)


async def test_a_choice_lights_its_way_and_the_panel_leaves_it_free(browser: Browser) -> None:
    for size in ((1280, 800), (900, 600)):
        async with open_fake(browser, FakeService(mesh(10, 60)), size=size) as page:
            await card(page, "cluster-7").click()
            await expect(page.locator("#panel h2")).to_have_text("h100-cluster")
            await expect(page.locator("#panel h2")).to_be_focused()
            await expect(page.locator("#panel .paths")).to_contain_text("6 connected paths")
            await expect(card(page, "ollama-1")).to_have_class(re.compile(r"\bdim\b"))
            await page.wait_for_function(FREE, arg="cluster-7")
            await page.keyboard.press("Escape")
            await expect(page.locator("#panel")).to_be_hidden()
            await expect(card(page, "cluster-7")).to_be_focused()


async def test_hostile_names_are_text_and_break_nothing(browser: Browser) -> None:
    views = mesh(10, 60)
    evil = "<img src=x onerror=alert(1)>"
    views[0] = replace(
        views[0],
        name=evil,
        models=(evil, "a\u202etxt.exe\u2066", "x" * 300, "👩‍👩‍👧‍👦🦙" * 20, "</button><script>", "שלום-7b"),
    )
    views[1] = replace(views[1], name="\u200f" * 5)
    async with open_fake(browser, FakeService(views)) as page:
        assert await page.locator("#app img, #app script").count() == 0
        await card(page, views[0].id).click()
        await expect(page.locator("#panel h2")).to_have_text(evil)
        for name in await page.locator(".chip").all_inner_texts():
            assert "\u202e" not in name
        assert await page.evaluate(FREE, "")


@pytest.mark.parametrize(("backends", "models"), [(100, 2_000), (500, 10_000)])
async def test_large_meshes_stay_small_as_elements_and_show_every_sick_backend(
    browser: Browser, backends: int, models: int
) -> None:
    service = FakeService(mesh(backends, models))
    sick = [v.id for v in service.views.values() if v.health.state == "unhealthy" and v.enabled]
    async with open_fake(browser, service) as page:
        await expect(page.locator(".backend")).to_have_count(backends)
        assert await page.evaluate(SIZE) <= 850
        for ident in sick:
            box = await card(page, ident).bounding_box()
            assert box
            assert 0 <= box["x"] <= 1280
            assert 0 <= box["y"] <= 800
        box = await card(page, sick[0]).bounding_box()
        assert box
        assert await page.evaluate(
            RED, [box["x"] + box["width"] / 2, box["y"] - 52 + box["height"] + 6]
        ) or await page.evaluate(RED, [box["x"] + box["width"] / 2, box["y"] - 52])
        await page.mouse.move(800, 400)
        for _ in range(12):
            await page.mouse.wheel(0, -200)
        await expect(page.locator(".chip").first).to_be_visible()
        assert await page.evaluate(SIZE) <= 850
        await expect(page.locator("#minimap")).to_be_visible()
        await page.keyboard.press("f")
        await expect(page.locator("#minimap")).to_be_hidden()


async def test_a_gone_backend_stays_a_minute_as_a_ghost_and_moves_nobody(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service, clock=True) as page:
        place = await card(page, "openai-8").bounding_box()
        service.remove("ollama-1")
        await expect(card(page, "ollama-1")).to_have_class(re.compile(r"\bremoved\b"))
        assert await card(page, "openai-8").bounding_box() == place
        await page.clock.run_for(61_000)
        await expect(card(page, "ollama-1")).to_have_count(0)


async def test_a_pan_and_a_wheel_zoom_move_the_picture_and_f_brings_it_back(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        before = await card(page, "peer-3").bounding_box()
        await page.mouse.move(330, 720)
        await page.mouse.down()
        await page.mouse.move(430, 650, steps=4)
        await page.mouse.up()
        moved = await card(page, "peer-3").bounding_box()
        assert before
        assert moved
        assert round(moved["x"] - before["x"]) == 100
        await page.mouse.wheel(0, -300)
        await page.wait_for_function(
            "(w) => document.querySelector('[data-key=\"b:peer-3\"]').getBoundingClientRect().width > w * 1.3",
            arg=before["width"],
        )
        await page.keyboard.press("f")
        await page.wait_for_function(
            "(x) => Math.abs(document.querySelector('[data-key=\"b:peer-3\"]').getBoundingClientRect().x - x) < 1",
            arg=before["x"],
        )


async def test_a_tooltip_tells_more_after_a_rest(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await card(page, "peer-4").hover()
        await expect(page.locator("#tooltip")).to_contain_text("Connection refused at 10.0.0.4:8080.")
        assert await page.evaluate(COVERED, "peer-4") == 0, "its own way stays in sight"
        await page.mouse.move(5, 300)
        await expect(page.locator("#tooltip")).to_be_hidden()


async def test_a_double_click_dives_into_a_lane_and_out_again_and_the_small_map_shows_where(
    browser: Browser,
) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await expect(page.locator("#minimap")).to_be_hidden()
        await page.mouse.dblclick(1270, 340)
        await expect(page.locator("#minimap")).to_be_visible()
        await page.wait_for_function(
            "() => document.querySelector('[data-key=\"b:peer-3\"]').getBoundingClientRect().width > 220"
        )
        await page.keyboard.press("0")
        await expect(page.locator("#minimap")).to_be_hidden()
