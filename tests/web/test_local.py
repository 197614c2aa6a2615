"""This machine's own models: on the map, in the panel, on their way here, and offered to those who have none."""

import json
import re

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, Locator, Page, expect

from meshlight.domain.api_types import BackendView
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.local_models import LOCAL_ID, RejectedFile
from meshlight.domain.local_views import LocalView
from web.fake_local import HOUSE, change, change_download, download, house, model, this_machine
from web.fake_service import FakeService
from web.page_driver import AXE, FRAMES_AT_REST, card, caught_up, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QWEN, SMOL, GEMMA, LLAMA = (m.id for m in HOUSE[:4])
RESTING = "Phi-4-mini:Q4_K_M"
NASTY = "<img src=x onerror=alert(1)>:Q4"
CUT = """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility())
  .filter((e) => { const r = e.getBoundingClientRect(); return r.left < -0.5 || r.right > innerWidth + 0.5; })
  .map((e) => e.className || e.textContent)"""

IN_ONE_LINE = """() => { const [you, router] = ["u", "r"].map((key) =>
  document.querySelector(`[data-key="${key}"]`).getBoundingClientRect());
  const middle = (r) => (r.top + r.bottom) / 2;
  return you.right < router.left && Math.abs(middle(you) - middle(router)) < 5 && middle(you) > 250; }"""
"""Whether you stand beside the router, and both in the middle of the map."""
TAKEN = """(seq) => new Promise((done) => { const timer = setInterval(() => {
  if (document.body.dataset.seq >= seq) { clearInterval(timer); done(); } }, 20); })"""
"""Resolves once the page has taken this event; asks for no frame, unlike the waiting of Playwright."""


def service(local: LocalView | None = None, others: int = 4) -> FakeService:
    """Return a mesh with this machine's own models."""
    own = local or house()
    made = FakeService([this_machine(own), *(mesh(others, 12) if others else [])], tick_s=600)
    made.local = own
    return made


def chip(page: Page, ident: str) -> Locator:
    """Return the entry of one of this machine's models on the map."""
    return page.locator(f'[data-key="m:{LOCAL_ID}\\a {ident}"]')


def asked(scenario: FakeService) -> list[tuple[str, str, object]]:
    """What was asked for below `/mesh/models`, reading all of it aside."""
    start = "/mesh/models"
    return [
        (how, path[len(start) :], body)
        for how, path, body in scenario.asked
        if path.startswith(start) and (how, path) != ("GET", start)
    ]


def row(page: Page, ident: str) -> Locator:
    """Return a model's row in the panel."""
    return page.locator("#panel .local-model", has=page.get_by_text(ident, exact=True))


async def serious(page: Page) -> str:
    """Return what axe finds that matters."""
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
    return json.dumps(
        [
            (f["id"], [n["target"] for n in f["nodes"]][:4])
            for f in found
            if f["impact"] in {"serious", "critical"}
        ]
    )


async def test_loaded_loading_and_failed_models_are_told_apart_and_those_on_disk_are_one_entry(
    browser: Browser,
) -> None:
    scenario = service()
    async with open_fake(browser, scenario, size=(1600, 900)) as page:
        for ident, state, word in (
            (QWEN, "ready", "loaded"),
            (GEMMA, "loading", "loading 42 %"),
            (LLAMA, "failed", "failed"),
        ):
            await expect(chip(page, ident)).to_have_attribute("data-engine", state)
            await expect(chip(page, ident)).to_have_attribute("aria-label", re.compile(word))
        await expect(chip(page, LLAMA)).to_have_attribute("aria-label", re.compile("The file is incomplete"))
        await expect(card(page, LOCAL_ID)).to_have_attribute(
            "aria-label", re.compile("2 of 16 loaded · 8.9 GB of 18 GB")
        )
        await expect(card(page, LOCAL_ID).locator(".memory")).to_be_visible()
        await card(page, LOCAL_ID).hover()
        await expect(
            page.locator("#tooltip").get_by_text(re.compile("^16 models · 0 in flight"))
        ).to_be_visible()
        await page.mouse.move(5, 400)

        fold = page.locator(".fold")
        await expect(fold).to_have_text("12 on disk")
        await expect(chip(page, RESTING)).to_have_count(0)
        await fold.focus()
        await page.keyboard.press("Enter")
        await expect(chip(page, RESTING)).to_have_attribute("data-engine", "on-disk")
        await expect(fold).to_be_focused()
        await expect(fold).to_have_attribute("aria-expanded", "true")
        await page.keyboard.press("Enter")
        await expect(chip(page, RESTING)).to_have_count(0)
        await page.locator("#find").fill("phi-4-mini:q4")
        await expect(chip(page, RESTING)).to_be_visible()
        await expect(fold).to_have_text("11 on disk")


async def test_a_ring_turns_while_nothing_is_known_of_a_load_and_nothing_is_drawn_at_rest(
    browser: Browser,
) -> None:
    turning = "(e) => getComputedStyle(e, '::before').animationName"
    scenario = service()
    async with open_fake(browser, scenario) as page:
        change(scenario, GEMMA, progress=None)
        await expect(chip(page, GEMMA)).to_have_class(re.compile("blind"))
        assert await chip(page, GEMMA).evaluate(turning) == "turn"
        change(scenario, GEMMA, progress=0.8)
        await expect(chip(page, GEMMA)).to_contain_text("80 %")
        assert await chip(page, GEMMA).evaluate(turning) == "none"
        change(scenario, GEMMA, state="ready", progress=None)
        await expect(chip(page, GEMMA)).to_have_attribute("data-engine", "ready")
        assert await chip(page, GEMMA).evaluate(turning) == "none"
        await page.evaluate(FRAMES_AT_REST)
        before = await page.evaluate("frames_asked")
        change(scenario, QWEN, idle_s=400.0)
        await page.evaluate(TAKEN, scenario.seq)
        assert await page.evaluate("frames_asked") == before
    still = service()
    async with open_fake(browser, still, media={"reduced_motion": "reduce"}) as page:
        change(still, GEMMA, progress=None)
        await expect(chip(page, GEMMA)).to_have_class(re.compile("blind"))
        assert await chip(page, GEMMA).evaluate(turning) == "none"


async def test_the_panel_loads_unloads_keeps_and_deletes(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await card(page, LOCAL_ID).click()
        await expect(page.locator("#panel .numbers")).to_contain_text("8.9 GB of 18 GB for models")
        await expect(row(page, QWEN)).to_contain_text("loaded · 6.2 GB · idle 3 min · unloads in 11 min")

        load = page.get_by_role("button", name=f"Load {RESTING}")
        await load.click()
        await expect(row(page, RESTING).locator("..")).to_have_class(re.compile("using"))
        await expect(row(page, RESTING).locator(".act")).to_have_text("Stop")
        await expect(row(page, RESTING).locator(".act")).to_be_focused()
        await page.get_by_role("button", name=f"Unload {QWEN}").click()
        await expect(row(page, QWEN)).to_contain_text("on disk · 5 GB")

        await row(page, SMOL).locator(".link").click()
        await expect(row(page, SMOL).locator(".facts")).to_contain_text("Runnerllama.cpp (embedded)")
        await row(page, SMOL).get_by_role("switch").uncheck()
        await expect(row(page, SMOL)).not_to_contain_text("kept")
        await row(page, SMOL).get_by_role("button", name="Delete …").click()
        await expect(row(page, SMOL).get_by_role("button", name="Keep", exact=True)).to_be_focused()
        await row(page, SMOL).get_by_role("button", name="Delete", exact=True).click()
        await expect(row(page, SMOL)).to_have_count(0)
        assert asked(scenario) == [
            ("POST", "/load", {"model": RESTING, "force": False}),
            ("POST", "/unload", {"model": QWEN, "force": False}),
            ("PATCH", "", {"model": SMOL, "keep": False}),
            ("DELETE", "", None),
        ]


async def test_what_is_refused_is_told_in_the_row_of_the_model(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, expect_errors=True) as page:
        await card(page, LOCAL_ID).click()
        await expect(row(page, QWEN)).to_be_visible()
        await page.route(
            "**/mesh/models/unload",
            lambda route: route.fulfill(
                status=409,
                json={"error": {"message": "3 requests are answered.", "code": "busy", "hint": ""}},
            ),
        )
        await page.get_by_role("button", name=f"Unload {QWEN}").click()
        await expect(row(page, QWEN).locator(".message")).to_have_text("3 requests are answered.")
        await expect(row(page, QWEN).locator(".link")).to_have_attribute("aria-expanded", "true")


async def test_a_failed_model_tells_why_with_its_log_and_hostile_names_stay_text(browser: Browser) -> None:
    local = house(models=(*HOUSE, model(NASTY, "failed", reason=Reason(code="x", text="<b>No.</b>", fix=""))))
    scenario = service(local)
    async with open_fake(browser, scenario, size=(1280, 1000)) as page:
        await expect(chip(page, NASTY)).to_contain_text("<img")
        await card(page, LOCAL_ID).click()
        await expect(row(page, NASTY)).to_contain_text("<b>No.</b>")
        await row(page, LLAMA).locator(".link").click()
        await expect(row(page, LLAMA).locator(".reason")).to_contain_text("Download it again.")
        await expect(row(page, LLAMA).locator(".facts")).to_contain_text(
            "needs 44 GB; 9.1 GB of 18 GB free: too big by 26 GB"
        )
        await row(page, LLAMA).locator("summary").click()
        await expect(row(page, LLAMA).locator("pre")).to_contain_text("<b>CPU</b>")
        await page.get_by_text("2 files not usable").click()
        await expect(page.locator("#panel .rejected")).to_contain_text("<img src=x onerror=alert(1)>.gguf")
        await expect(page.locator("#panel .stores")).to_contain_text("Its drive is not there")
        await expect(page.locator("#panel .runners")).to_contain_text("It runs on Apple silicon alone.")
        await page.get_by_role("button", name="Copy the command for vLLM").click()
        await expect(page.locator("#panel .runners button")).to_have_text("Copied")
        assert await page.evaluate("document.querySelectorAll('img').length") == 0


async def test_a_model_of_this_machine_has_its_buttons_in_its_own_panel_too(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await chip(page, QWEN).click()
        await expect(page.locator("#panel .facts").last).to_contain_text("Memorytakes 6.2 GB")
        await page.get_by_role("button", name=f"Unload {QWEN}").click()
        await expect(page.locator("#panel .act")).to_have_text("Load")
        await expect(chip(page, QWEN)).to_be_visible()


async def test_downloads_pause_resume_and_are_cancelled_and_tell_what_went_wrong(browser: Browser) -> None:
    scenario = service(house(downloads=(download(name=f"{NASTY}/x:Q4"),)))
    async with open_fake(browser, scenario, size=(1280, 1000)) as page:
        await expect(card(page, LOCAL_ID)).to_have_attribute("aria-label", re.compile("↓ 42 %.*downloading"))
        await card(page, LOCAL_ID).click()
        line = page.locator("#panel .downloads li")
        await expect(line).to_contain_text("42 % · 1.1 GB of 2.5 GB · 31 MB/s · 47 s left")
        await line.get_by_role("button", name="Pause").click()
        await expect(line).to_contain_text("paused")
        await expect(line.get_by_role("button", name="Resume")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(line.get_by_role("button", name="Pause")).to_be_focused()
        change_download(
            scenario,
            "d1",
            state="failed",
            reason=Reason(code="full", text="The disk is full.", fix="Free 2 GB."),
        )
        await expect(line.locator(".reason")).to_have_text(re.compile(r"The disk is full\.\s*Free 2 GB\."))
        await expect(line.get_by_role("button", name="Try again")).to_be_visible()
        await line.get_by_role("button", name="Dismiss").click()
        await expect(line).to_have_count(0)
        await expect(page.locator("#panel .downloads-here")).to_be_hidden()
        paths = [(how, path) for how, path, _ in asked(scenario)]
        assert paths == [
            ("POST", "/downloads/d1/pause"),
            ("POST", "/downloads/d1/resume"),
            ("DELETE", "/downloads/d1"),
        ]


async def test_a_repository_lists_its_files_with_what_fits_and_gets_one(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, expect_errors=True) as page:
        await card(page, LOCAL_ID).click()
        field = page.get_by_label("From Hugging Face, by name")
        await field.fill("nobody/nothing")
        await page.keyboard.press("Enter")
        box = page.locator(".download-box")
        await expect(box.locator(".message")).to_have_text(
            "The hub has no nobody/nothing. Is its name right?"
        )
        await field.fill("Qwen/Qwen3-8B-GGUF")
        await page.keyboard.press("Enter")
        await expect(box.locator("li")).to_have_count(4)
        await expect(box.locator("li").nth(0)).to_contain_text("4.7 GB · ✓fits")
        await expect(box.locator("li").nth(1)).to_contain_text("is here")
        await expect(box.locator("li").nth(2)).to_contain_text("fits once others are unloaded")
        await expect(box.locator("li").nth(3)).to_contain_text("2 parts · reads images · ✕too big by 3 GB")
        await expect(box.locator(".note")).to_have_text("Its licence asks for an agreement on the hub first.")
        await field.fill("Qwen/Qwen3-8B-GGUF:q8_0")
        await page.keyboard.press("Enter")
        await expect(box.locator("li")).to_have_count(1)
        await page.get_by_role("button", name="Get Q8_0").click()
        await expect(page.locator("#panel .downloads b")).to_have_text("Qwen/Qwen3-8B-GGUF:Q8_0")
        assert asked(scenario)[-1] == ("POST", "/pull", {"name": "Qwen/Qwen3-8B-GGUF:Q8_0"})


async def test_who_has_nothing_is_offered_a_starter_first_and_sees_it_come(browser: Browser) -> None:
    scenario = service(house(models=()), others=0)
    async with open_fake(browser, scenario) as page:
        empty = page.locator("#empty")
        await page.get_by_role("button", name="Get a starter model").click()
        get = page.get_by_role("button", name="Get a starter model (SmolLM2 135M, 98 MB)")
        await expect(get).to_be_visible()
        await expect(empty).to_contain_text("Apache-2.0 · Everyday chat, summaries, tools.")
        await expect(empty).not_to_contain_text("Big 70B")
        await expect(empty.locator(".no-runner")).to_be_hidden()
        await expect(card(page, LOCAL_ID)).to_have_count(0)
        await get.click()
        await expect(empty.locator(".downloads")).to_contain_text("SmolLM2 135M")
        change_download(scenario, "d1", state="running", done_bytes=49_000_000, total_bytes=98_000_000)
        await expect(empty.locator(".downloads")).to_contain_text("50 % · 49 MB of 98 MB")
        assert asked(scenario) == [("POST", "/pull", {"name": "starter"})]
        scenario.own(house(models=(model(SMOL, "ready"),)))
        scenario.put(this_machine(scenario.local))
        await expect(empty).to_be_hidden()
        await expect(chip(page, SMOL)).to_have_attribute("data-engine", "ready")


async def test_without_a_runner_the_offer_says_what_to_install(browser: Browser) -> None:
    scenario = service(house(models=(), can_run=False, can_start=False), others=0)
    async with open_fake(browser, scenario) as page:
        await page.get_by_role("button", name="Get a starter model").click()
        await expect(page.locator("#empty .no-runner")).to_contain_text("pip install 'meshlight[local]'")
        await page.get_by_role("button", name="Other models and what this machine can run").click()
        await expect(page.locator("#panel-title")).to_have_text("This machine")


async def test_models_of_another_backend_load_and_unload_where_it_can(browser: Browser) -> None:
    class Loading(BackendView, frozen=True, kw_only=True):
        can_load: bool = True

    view = mesh(4, 12)[0]
    first = view.models[0]
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    scenario = FakeService(
        [Loading(**{**fields, "can_load": True, "details": {first: ModelDetail(loaded=False)}})], tick_s=600
    )
    async with open_fake(browser, scenario) as page:
        await page.locator(f'[data-key="m:{view.id}\\a {first}"]').click()
        await page.get_by_role("button", name="Unload").click()
        await expect(page.locator("#panel .message").first).to_have_text("Unloaded: its memory is free.")
        await page.get_by_role("button", name="Load", exact=True).click()
        await expect(page.locator("#panel .message").first).to_contain_text("It is loaded")
        sent = [(path, body) for how, path, body in scenario.asked if "/models/" in path and how == "POST"]
        assert sent == [
            (f"/mesh/backends/{view.id}/models/unload", {"model": first}),
            (f"/mesh/backends/{view.id}/models/load", {"model": first}),
        ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_axe_finds_nothing_serious_in_panel_and_offer(browser: Browser, scheme: str) -> None:
    scenario = service(house(downloads=(download(), download("failed", id="d2", reason=HOUSE[3].reason))))
    media = {"color_scheme": scheme}
    async with open_fake(browser, scenario, media=media) as page:
        await page.evaluate(AXE.read_text())
        await card(page, LOCAL_ID).click()
        await row(page, LLAMA).locator(".link").click()
        await row(page, LLAMA).locator("summary").click()
        await page.get_by_label("From Hugging Face, by name").fill("a/b")
        await page.keyboard.press("Enter")
        await expect(page.locator(".download-box li")).to_have_count(4)
        assert await serious(page) == "[]"
    async with open_fake(
        browser, service(house(models=(), can_run=False, can_start=False), others=0), media=media
    ) as page:
        await page.evaluate(AXE.read_text())
        await page.get_by_role("button", name="Get a starter model").click()
        await expect(page.locator("#empty .own-models")).to_be_visible()
        assert await serious(page) == "[]"


async def test_in_a_narrow_window_nothing_of_it_is_cut_off(browser: Browser) -> None:
    scenario = service(house(downloads=(download(),)))
    async with open_fake(browser, scenario, size=(420, 800)) as page:
        await card(page, LOCAL_ID).click()
        await row(page, QWEN).locator(".link").click()
        await expect(row(page, QWEN).locator(".facts")).to_be_visible()
        assert await page.evaluate(CUT, "#panel *") == []
    async with open_fake(browser, service(house(models=()), others=0), size=(420, 800)) as page:
        await page.get_by_role("button", name="Get a starter model").click()
        await expect(page.locator("#empty .own-models")).to_be_visible()
        assert await page.evaluate(CUT, "#empty, #empty *") == []


async def test_a_service_without_models_of_its_own_is_not_asked_for_them(browser: Browser) -> None:
    scenario = FakeService(mesh(4, 12), tick_s=600)
    async with open_fake(browser, scenario) as page:
        await caught_up(page, scenario)
        await page.evaluate(FRAMES_AT_REST)
        assert ("GET", "/mesh/models", None) not in scenario.asked


async def test_a_machine_whose_models_cannot_run_says_so(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        scenario.become(LOCAL_ID, "unhealthy")
        await card(page, LOCAL_ID).click()
        await expect(page.locator("#panel .reason").first).to_contain_text("Connection refused")
        view = scenario.views[LOCAL_ID]
        scenario.put(replace(view, models=view.models[:2]))
        await expect(card(page, LOCAL_ID)).to_have_attribute("data-status", "unhealthy")


async def test_a_file_that_can_t_be_used_appears_by_itself_though_no_model_has_changed(
    browser: Browser,
) -> None:
    scenario = service(house(rejected=()))
    async with open_fake(browser, scenario) as page:
        await card(page, LOCAL_ID).click()
        await expect(page.locator("#panel .rejected")).to_be_hidden()
        half = RejectedFile(name="half.gguf", store="hub", why="Incomplete: 1 GB of 2 GB are here.")
        scenario.own(replace(scenario.local, rejected=(half,)))
        await expect(page.get_by_text("1 file not usable")).to_be_visible()


async def test_beside_the_panel_a_window_that_grows_is_laid_out_anew_and_in_view(browser: Browser) -> None:
    scenario = service(house(models=HOUSE[:2]), others=0)
    async with open_fake(browser, scenario, size=(800, 700)) as page:
        await card(page, LOCAL_ID).click()
        change(scenario, QWEN, state="on-disk")
        await page.set_viewport_size({"width": 1600, "height": 900})
        await page.wait_for_function(IN_ONE_LINE)
