"""The page says what is so: rates, code in texts, other versions of the service, frames."""

import asyncio

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, expect

from meshlight.domain.api_types import Requests
from meshlight.domain.events import RouteTraffic
from web.fake_service import FakeService
from web.page_driver import FRAMES_AT_REST, card, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_success_rate_counts_only_requests_that_ended(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    service.requests = Requests(total=56, successful=52, failed=0, in_flight=4)
    async with open_fake(browser, service) as page:
        await page.locator('[data-key="r"]').click()
        facts = page.locator("#panel .facts")
        await expect(facts).to_contain_text("Successful52 · 100.0 %")
        await expect(facts).to_contain_text("Failed0 · 0.0 %")
        service.flow(RouteTraffic(backend="ollama-1", model="x", failed=4))
        await expect(facts).to_contain_text("Successful52 · 92.9 %")


async def test_you_are_not_said_to_have_as_many_connections_as_there_are_backends(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await expect(page.locator('[data-key="u"]')).to_have_text("You and your apps")
        await page.locator('[data-key="u"]').click()
        await expect(page.locator("#panel")).not_to_contain_text("onnection")


async def test_code_in_texts_is_set_as_code_and_nothing_else_is(browser: Browser) -> None:
    views = mesh(10, 60)
    health = replace(
        views[4].health,
        text="`<img src=x>` refused.",
        fix="Start it: `ollama serve`, then `meshlight check`.",
    )
    views[4] = replace(views[4], health=health, warnings=("Set `num_ctx` there.",), name="a `b` c")
    async with open_fake(browser, FakeService(views)) as page:
        await card(page, "peer-4").click()
        assert await page.locator("#panel .reason code").all_inner_texts() == [
            "<img src=x>", "ollama serve", "meshlight check"
        ]  # fmt: skip
        await expect(page.locator("#panel .fix")).to_have_text(
            "Start it: ollama serve, then meshlight check."
        )
        assert "num_ctx" in await page.locator("#panel .facts code").all_inner_texts()
        await expect(page.locator("#panel h2")).to_have_text("a `b` c")
        assert await page.locator("#panel img").count() == 0


async def test_with_reduced_motion_traffic_draws_a_frame_only_when_a_number_changes(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service, media={"reduced_motion": "reduce"}, clock=True) as page:
        route = RouteTraffic(backend="ollama-1", model=service.views["ollama-1"].models[0], in_flight=1)
        service.flow(replace(route, started=1))
        await caught_up(page, service)
        await page.clock.run_for(7_000)
        # The page's own: the driver waits by frames, too.
        await page.evaluate("""() => { window.own_frames = 0; const ask = requestAnimationFrame;
          window.requestAnimationFrame = (run) => { own_frames += 1; return ask(run); }; }""")
        for _ in range(20):
            service.flow(route)
            await caught_up(page, service)
            await page.clock.run_for(250)
        assert await page.evaluate("own_frames") == 0
        service.flow(replace(route, ok=1, in_flight=0))
        await caught_up(page, service)
        await page.clock.run_for(600)
        assert await page.evaluate("own_frames") >= 1


async def test_particles_ask_for_no_more_frames_than_they_draw(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service) as page:
        await page.evaluate(FRAMES_AT_REST)
        await page.evaluate("""() => { window.drawn = 0;
          const clear = CanvasRenderingContext2D.prototype.clearRect;
          CanvasRenderingContext2D.prototype.clearRect = function (...a) {
            if (this.canvas.id === "particles") drawn += 1;
            clear.apply(this, a);
          }; frames_asked = 0; }""")
        model = service.views["ollama-1"].models[0]
        service.flow(RouteTraffic(backend="ollama-1", model=model, started=4, in_flight=4))
        await page.evaluate(FRAMES_AT_REST)
        asked, drawn = await page.evaluate("[frames_asked, drawn]")
        assert drawn > 5
        # Two more: the map's own frame, and the last that wipes twice.
        assert asked <= drawn + 4


async def test_names_are_drawn_with_the_font_that_the_page_brings(browser: Browser) -> None:
    async with open_fake(browser, FakeService(mesh(10, 60))) as page:
        await asyncio.wait_for(page.evaluate("document.fonts.ready.then(() => null)"), 10)
        faces = await page.evaluate("[...document.fonts].map((f) => [f.family, f.status])")
        assert faces == [["Inter", "loaded"]]
        width = """(family) => {
          const pen = document.createElement('canvas').getContext('2d');
          pen.font = '600 20px ' + family;
          return pen.measureText('llama-3.3-70b ✓✕◐◆').width;
        }"""
        assert await page.evaluate(width, "Inter") != await page.evaluate(width, "monospace")
