"""For everybody: no serious finding of axe in any theme, every backend in the tree, stillness where it is wished."""

import json

import pytest
from playwright.async_api import Browser, expect

from meshlight.domain.events import RouteTraffic
from web.fake_service import FakeService
from web.page_driver import AXE, FRAMES_AT_REST, HAS_PARTICLES, card, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize("media", [
    {"color_scheme": "dark"}, {"color_scheme": "light"}, {"contrast": "more"}, {"forced_colors": "active"},
], ids=["dark", "light", "contrast", "forced"])  # fmt: skip
async def test_axe_finds_nothing_serious_and_the_tree_holds_every_backend(
    browser: Browser, media: dict[str, str]
) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service, media=media) as page:
        await page.evaluate(AXE.read_text())
        for act in ("", "click", "t", "a"):
            if act == "click":
                await card(page, "peer-4").click()
                await expect(page.locator("#panel .reason")).to_be_visible()
            elif act:
                await page.keyboard.press("Escape")
                await page.keyboard.press(act)
            found = await page.evaluate(
                "axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)"
            )
            serious = [
                (
                    f["id"],
                    [n["target"] + [n["any"][0]["message"] if n["any"] else ""] for n in f["nodes"]][:4],
                )
                for f in found
                if f["impact"] in {"serious", "critical"}
            ]
            assert not serious, (act, json.dumps(serious, indent=1))
        await page.keyboard.press("Escape")
        await expect(page.locator("#dialog")).to_be_hidden()
        await page.get_by_role("button", name="Table view (t)").click()
        await expect(card(page, "peer-4")).to_be_visible()
        tree = await page.locator("#world").aria_snapshot()
        for view in service.views.values():
            assert view.name in tree
            assert f" · {len(view.models)} models" in tree


async def test_with_reduced_motion_two_pictures_are_the_same_bytes(browser: Browser) -> None:
    service = FakeService(mesh(10, 60), tick_s=600)
    async with open_fake(browser, service, media={"reduced_motion": "reduce"}) as page:
        model = service.views["ollama-1"].models[0]
        service.flow(RouteTraffic(backend="ollama-1", model=model, started=1, in_flight=1))
        await caught_up(page, service)
        await page.evaluate(FRAMES_AT_REST)
        assert await page.screenshot() == await page.screenshot()
        assert not await page.evaluate(f"({HAS_PARTICLES})()")
