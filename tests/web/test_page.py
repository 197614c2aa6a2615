"""What a person notices on the mesh page, in Debian's Chromium under the real policy."""

import asyncio
import gzip
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, Page, async_playwright, expect

from meshlight.domain.events import RouteTraffic
from web.stand import Stand, mesh

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ROOT = Path(__file__).parents[2]
AXE = ROOT / "packaging/node_modules/axe-core/axe.min.js"
COUNT_FRAMES = """
window.frames_asked = 0;
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => { window.frames_asked += 1; return ask(run); };
"""
PAINTED = """() => { const c = document.getElementById("particles");
  return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }"""
# Resolves once no animation frame was asked for during a whole second; asks for none itself.
STILL = """() => new Promise((done) => { let n = -1; const look = setInterval(() => {
  if (n === frames_asked) { clearInterval(look); done(); } n = frames_asked; }, 1000); })"""
SIZE = "document.querySelectorAll('*').length"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        await chromium.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    stand: Stand,
    *,
    size: tuple[int, int] = (1280, 800),
    at: str = "",
    cards: bool = True,
    clock: bool = False,
    complaints: bool = False,
    **looks: Any,
) -> AsyncIterator[Page]:
    """Open the page; any error it logs fails the test, unless `complaints` are expected."""
    await stand.start()
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **({"color_scheme": "dark"} | looks))
    page = await context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    await page.add_init_script(COUNT_FRAMES)
    if clock:
        await page.clock.install()
    await page.goto(stand.url + at)
    if cards:
        await expect(page.locator('[data-key="r"]')).to_be_visible()
    try:
        yield page
        assert complaints or not said
    finally:
        await context.close()
        await stand.stop()


def card(page: Page, ident: str) -> Any:
    return page.locator(f'[data-key="b:{ident}"]')


async def test_every_backend_and_model_is_there_at_once_and_nothing_is_cut_in_a_small_window(browser: Browser) -> None:
    for size in ((1280, 800), (900, 600)):
        async with opened(browser, Stand(mesh(10, 60)), size=size) as page:
            await expect(page.locator(".backend")).to_have_count(10)
            await expect(page.locator(".chip")).to_have_count(60)
            fonts = await page.evaluate(
                """() => { const k = Number(document.getElementById("world").style.transform.match(/scale\\((.*)\\)/)[1]);
                return [...document.querySelectorAll(".chip, .backend b")].map((e) => parseFloat(getComputedStyle(e).fontSize) * k); }"""
            )
            assert min(fonts) >= 10
            sides = await page.evaluate(
                """() => [...document.querySelectorAll(".card")].map((e) => e.getBoundingClientRect())
                .every((r) => r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)"""
            )
            assert sides


async def test_a_backend_that_goes_down_is_shown_with_reason_and_fix_and_told_politely(browser: Browser) -> None:
    stand = Stand(mesh(10, 60))
    async with opened(browser, stand) as page:
        stand.become("ollama-1", "unhealthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "unhealthy")
        await expect(page.locator("#unhealthy")).to_contain_text("2 unhealthy")
        await expect(page.locator("#live")).to_contain_text("Ollama is unhealthy. Connection refused at 127.0.0.1:8081.")
        await card(page, "ollama-1").click()
        await expect(page.locator("#panel .why")).to_contain_text("Connection refused at 127.0.0.1:8081.")
        await expect(page.locator("#panel .fix").first).to_contain_text("Is the server running?")
        await expect(page.locator("#panel .changes")).to_contain_text("unhealthy")


async def test_a_request_flies_as_a_particle_and_an_idle_page_draws_no_frame(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=60)
    async with opened(browser, stand) as page:
        model = stand.views["ollama-1"].models[0]
        stand.flow(RouteTraffic(backend="ollama-1", model=model, started=1, in_flight=1))
        await page.wait_for_function(PAINTED)
        stand.flow(RouteTraffic(backend="ollama-1", model=model, failed=1))
        await page.evaluate(STILL)
        assert not await page.evaluate(PAINTED)
        await page.evaluate(STILL)


async def test_a_choice_lights_its_way_and_the_panel_leaves_it_free(browser: Browser) -> None:
    for size in ((1280, 800), (900, 600)):
        async with opened(browser, Stand(mesh(10, 60)), size=size) as page:
            await card(page, "cluster-7").click()
            await expect(page.locator("#panel h2")).to_have_text("h100-cluster")
            await expect(page.locator("#panel h2")).to_be_focused()
            await expect(page.locator("#panel .paths")).to_contain_text("6 connected paths")
            await expect(card(page, "ollama-1")).to_have_class(re.compile(r"\bdim\b"))
            await page.wait_for_function(
                """() => [...document.querySelectorAll(".card")].filter((e) => e.dataset.key.includes("cluster-7")).every((e) =>
                e.getBoundingClientRect().right <= document.getElementById("panel").getBoundingClientRect().left)"""
            )
            await page.keyboard.press("Escape")
            await expect(page.locator("#panel")).to_be_hidden()
            await expect(card(page, "cluster-7")).to_be_focused()


async def test_the_keyboard_alone_walks_opens_and_closes(browser: Browser) -> None:
    stand = Stand(mesh(10, 60))
    async with opened(browser, stand) as page:
        await page.locator('[data-key="r"]').focus()
        for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"):
            await page.keyboard.press(key)
            await page.wait_for_function("document.activeElement.dataset.key")
        await expect(page.locator(".chip:focus")).to_have_count(1)
        await page.keyboard.press("Enter")
        await expect(page.locator("#panel .eyebrow")).to_have_text("Model")
        await page.keyboard.press("Escape")
        await expect(page.locator(".chip:focus")).to_have_count(1)
        for key, shows in (("?", "#dialog h2"), ("t", "#table table"), ("/", "#find:focus")):
            await page.keyboard.press(key)
            await expect(page.locator(shows)).to_be_visible()
            await page.keyboard.press("Escape")
        await page.keyboard.press("r")
        await expect(page.locator("#refresh")).to_contain_text("Checking")
        await expect(page.locator("#refresh")).to_contain_text("Refresh")


async def test_search_counts_and_enter_goes_there(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(10, 60))) as page:
        await page.keyboard.press("/")
        await page.keyboard.type("continuum")
        await expect(page.locator("#hits")).to_have_text("2 backends, 0 models")
        await page.keyboard.press("Enter")
        await expect(page.locator("#panel h2")).to_have_text("continuum-berlin")
        assert "q=continuum" in page.url


async def test_only_the_unhealthy_are_left_by_one_press(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(10, 60))) as page:
        await page.locator("#unhealthy").click()
        await expect(page.locator(".backend")).to_have_count(1)
        await page.locator("#unhealthy").click()
        await expect(page.locator(".backend")).to_have_count(10)


async def test_the_table_sorts_and_holds_ten_thousand_models_in_few_elements(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(500, 10_000)), at="#view=table", cards=False) as page:
        rows = page.locator("#table tbody tr:not(.spacer)")
        await expect(rows.first).to_contain_text("unhealthy")
        await page.locator("th button", has_text="Latency").click()
        await expect(page.locator("th[aria-sort=ascending]")).to_have_text("Latency")
        await expect(page.locator("#table table")).to_have_attribute("aria-rowcount", "501")
        assert await page.evaluate(SIZE) <= 800
        await page.locator(".tabs button", has_text="Models").click()
        await expect(page.locator("th").first).to_have_text("Model")


async def test_a_backend_is_added_only_after_it_answered(browser: Browser) -> None:
    stand = Stand(mesh(10, 60))
    async with opened(browser, stand, complaints=True) as page:
        await page.locator("#add").click()
        await page.locator("#f-url").fill("http://refuse:1")
        await page.keyboard.press("Enter")
        await expect(page.locator(".trouble b")).to_have_text("Connection refused at refuse:1.")
        await expect(page.locator(".trouble p")).to_have_text("Is Ollama running?")
        await page.locator("#f-url").fill("http://127.0.0.1:11434")
        await page.locator("#f-name").fill("kitchen")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden()
        await expect(card(page, "new-1")).to_contain_text("kitchen")
        await card(page, "new-1").click()
        await page.locator("#panel button", has_text="Disable").click()
        await expect(card(page, "new-1")).to_have_attribute("data-look", "disabled")
        await page.locator("#panel button", has_text="Remove").click()
        await page.locator("#dialog button.danger").click()
        await expect(card(page, "new-1")).to_have_class(re.compile(r"\bgone\b"))


async def test_silence_is_said_and_news_takes_it_back(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand, clock=True) as page:
        await page.clock.run_for(13_000)
        await expect(page.locator("#line")).to_contain_text("No news for 12 s")
        stand.tell(*stand.views.values())
        await expect(page.locator("#line")).to_be_hidden()


async def test_it_comes_back_by_itself_when_the_service_was_gone(browser: Browser) -> None:
    stand = Stand(mesh(10, 60))
    async with opened(browser, stand, complaints=True) as page:
        await stand.stop()
        stand.become("ollama-1", "unhealthy")
        await stand.start()
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "unhealthy", timeout=15_000)


async def test_without_a_session_it_asks_for_the_key_and_names_the_easy_way(browser: Browser) -> None:
    stand = Stand(mesh(10, 60))
    stand.key = "right"
    async with opened(browser, stand, cards=False, complaints=True) as page:
        await expect(page.locator("#session pre")).to_have_text("meshlight open")
        await page.locator("#key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#key-error")).to_contain_text("not the key")
        await page.locator("#key").fill("right")
        await page.keyboard.press("Enter")
        await expect(page.locator(".backend")).to_have_count(10)


async def test_an_empty_mesh_says_what_was_looked_for_and_what_helps(browser: Browser) -> None:
    async with opened(browser, Stand([])) as page:
        await expect(page.locator("#empty")).to_contain_text("11434")
        await expect(page.locator("#empty")).to_contain_text("meshlight demo")
        await page.locator("#empty .primary").click()
        await expect(page.locator("#dialog h2")).to_have_text("Add a backend")


async def test_hostile_names_are_text_and_break_nothing(browser: Browser) -> None:
    views = mesh(10, 60)
    evil = "<img src=x onerror=alert(1)>"
    views[0] = replace(views[0], name=evil, models=(evil, "a\u202etxt.exe\u2066", "x" * 300, "👩‍👩‍👧‍👦🦙" * 20, "</button><script>", "שלום-7b"))
    views[1] = replace(views[1], name="\u200f" * 5)
    async with opened(browser, Stand(views)) as page:
        assert await page.locator("#app img, #app script").count() == 0
        await card(page, views[0].id).click()
        await expect(page.locator("#panel h2")).to_have_text(evil)
        for name in await page.locator(".chip").all_inner_texts():
            assert "\u202e" not in name
        assert await page.evaluate("[...document.querySelectorAll('.card')].every((e) => e.getBoundingClientRect().right <= document.getElementById('panel').getBoundingClientRect().left)")


@pytest.mark.parametrize(("backends", "models"), [(100, 2_000), (500, 10_000)])
async def test_large_meshes_stay_small_as_elements_and_show_every_sick_backend(browser: Browser, backends: int, models: int) -> None:
    stand = Stand(mesh(backends, models))
    sick = [v.id for v in stand.views.values() if v.health.state == "unhealthy" and v.enabled]
    async with opened(browser, stand) as page:
        await expect(page.locator(".backend")).to_have_count(backends)
        assert await page.evaluate(SIZE) <= 800
        for ident in sick:
            box = await card(page, ident).bounding_box()
            assert box
            assert 0 <= box["x"] <= 1280
            assert 0 <= box["y"] <= 800
        red = """(at) => { const c = document.getElementById("edges"); const p = c.getContext("2d").getImageData(at[0] - 8, at[1] - 8, 17, 17).data;
          for (let i = 0; i < p.length; i += 4) if (p[i] > 150 && p[i + 1] < 110 && p[i + 2] < 110 && p[i + 3] > 120) return true; return false; }"""
        box = await card(page, sick[0]).bounding_box()
        assert box
        assert await page.evaluate(red, [box["x"] + box["width"] / 2, box["y"] - 52 + box["height"] + 6]) or await page.evaluate(
            red, [box["x"] + box["width"] / 2, box["y"] - 52]
        )
        await page.mouse.move(800, 400)
        for _ in range(12):
            await page.mouse.wheel(0, -200)
        await expect(page.locator(".chip").first).to_be_visible()
        assert await page.evaluate(SIZE) <= 800
        await expect(page.locator("#minimap")).to_be_visible()
        await page.keyboard.press("f")
        await expect(page.locator("#minimap")).to_be_hidden()


async def test_two_thousand_updates_leave_page_and_heap_as_they_were(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand) as page:
        session = await page.context.new_cdp_session(page)

        async def heap() -> float:
            await session.send("HeapProfiler.collectGarbage")
            return float(await page.evaluate("performance.memory.usedJSHeapSize"))

        async def tick(n: int) -> None:
            for i in range(n):
                stand.tell(*stand.views.values())
                if i % 50 == 0:
                    await asyncio.sleep(0)
            await page.wait_for_function("(seq) => document.body.dataset.seq >= seq", arg=stand.seq)

        await tick(300)
        before, elements = await heap(), await page.evaluate(SIZE)
        await tick(2_000)
        assert await heap() - before < 2_000_000
        assert await page.evaluate(SIZE) == elements


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm install in packaging/")
@pytest.mark.parametrize("looks", [
    {"color_scheme": "dark"}, {"color_scheme": "light"}, {"contrast": "more"}, {"forced_colors": "active"},
], ids=["dark", "light", "contrast", "forced"])  # fmt: skip
async def test_axe_finds_nothing_serious_and_the_tree_holds_every_backend(browser: Browser, looks: dict[str, str]) -> None:
    stand = Stand(mesh(10, 60))
    async with opened(browser, stand, **looks) as page:
        await page.evaluate(AXE.read_text())
        for act in ("", "click", "t", "a"):
            if act == "click":
                await card(page, "peer-4").click()
                await expect(page.locator("#panel .why")).to_be_visible()
            elif act:
                await page.keyboard.press("Escape")
                await page.keyboard.press(act)
            found = await page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
            serious = [(f["id"], [n["target"] + [n["any"][0]["message"] if n["any"] else ""] for n in f["nodes"]][:4]) for f in found if f["impact"] in {"serious", "critical"}]
            assert not serious, (act, json.dumps(serious, indent=1))
        await page.keyboard.press("Escape")
        await page.keyboard.press("t")
        tree = await page.locator("#world").aria_snapshot()
        for view in stand.views.values():
            assert f"Backend {view.name} " in tree
            assert f" · {len(view.models)} models" in tree


async def test_with_reduced_motion_two_pictures_are_the_same_bytes(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand, reduced_motion="reduce") as page:
        model = stand.views["ollama-1"].models[0]
        stand.flow(RouteTraffic(backend="ollama-1", model=model, started=1, in_flight=1))
        await page.wait_for_function("(seq) => document.body.dataset.seq >= seq", arg=stand.seq)
        await page.evaluate(STILL)
        assert await page.screenshot() == await page.screenshot()
        assert not await page.evaluate(f"({PAINTED})()")


async def test_a_hidden_page_runs_nothing_and_takes_up_again(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand) as page:
        await page.evaluate("window.dispatchEvent(new Event('meshlight-rest'))")
        stand.become("ollama-1", "unhealthy")
        await page.evaluate(STILL)
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "healthy")
        await page.evaluate("window.dispatchEvent(new Event('meshlight-wake'))")
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "unhealthy")


async def test_the_past_can_be_looked_at_and_left(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand, clock=True) as page:
        stand.become("ollama-1", "unhealthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "unhealthy")
        for _ in range(2):
            await page.clock.run_for(5_000)
            stand.tell(*stand.views.values())
            await page.wait_for_function("(seq) => document.body.dataset.seq >= seq", arg=stand.seq)
        stand.become("ollama-1", "healthy")
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "healthy")
        for _ in range(2):
            await page.locator("#timeline button").first.click()
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "unhealthy")
        await expect(page.locator(".when")).to_have_text("−0:10")
        await page.locator("#timeline .now").click()
        await expect(card(page, "ollama-1")).to_have_attribute("data-look", "healthy")


async def test_a_gone_backend_stays_a_minute_as_a_ghost_and_moves_nobody(browser: Browser) -> None:
    stand = Stand(mesh(10, 60), tick_s=600)
    async with opened(browser, stand, clock=True) as page:
        place = await card(page, "openai-8").bounding_box()
        stand.remove("ollama-1")
        await expect(card(page, "ollama-1")).to_have_class(re.compile(r"\bgone\b"))
        assert await card(page, "openai-8").bounding_box() == place
        await page.clock.run_for(61_000)
        await expect(card(page, "ollama-1")).to_have_count(0)


async def test_theme_and_choice_outlive_a_reload(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(10, 60))) as page:
        for _ in range(2):
            await page.locator("#theme").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "light")
        await card(page, "peer-3").click()
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("data-theme", "light")
        await expect(page.locator("#panel h2")).to_have_text("studio-mac")


async def test_a_pan_and_a_wheel_zoom_move_the_picture_and_f_brings_it_back(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(10, 60))) as page:
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
        await page.wait_for_function("(w) => document.querySelector('[data-key=\"b:peer-3\"]').getBoundingClientRect().width > w * 1.3", arg=before["width"])
        await page.keyboard.press("f")
        await page.wait_for_function("(x) => Math.abs(document.querySelector('[data-key=\"b:peer-3\"]').getBoundingClientRect().x - x) < 1", arg=before["x"])


async def test_a_tooltip_tells_more_after_a_rest(browser: Browser) -> None:
    async with opened(browser, Stand(mesh(10, 60))) as page:
        await card(page, "peer-4").hover()
        await expect(page.locator("#tooltip")).to_contain_text("Connection refused at 10.0.0.4:8080.")
        await page.mouse.move(5, 300)
        await expect(page.locator("#tooltip")).to_be_hidden()



async def test_scripts_and_styles_weigh_no_more_than_sixty_kilobytes() -> None:
    files = [*sorted((ROOT / "web/app").glob("*.js")), *sorted((ROOT / "web/styles").glob("*.css"))]
    assert len(gzip.compress(b"".join(f.read_bytes() for f in files), 9)) <= 60_000
