"""Other Meshlights on the page: who is seen and paired, what each may use, and comparing six digits."""

import re

import pytest
from msgspec.structs import asdict
from playwright.async_api import Browser, Locator, Page, expect

from meshlight.domain.peers import PeerView
from web.fake_peers import BO, CLEO, ME, NASTY, pairing, peer, sighting, simulated
from web.fake_service import FakeService
from web.page_driver import AXE, FRAMES_AT_REST, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def service() -> FakeService:
    """Return a fake service with a peer, and two machines that were found."""
    made = FakeService(mesh(10, 60))
    made.peers = simulated()
    return made


def sent(service: FakeService, method: str = "PATCH") -> list[tuple[str, object]]:
    """What was sent to `/mesh/peers`, with where below it."""
    return [(path[11:], body) for how, path, body in service.asked if how == method and "/mesh/peers" in path]


async def the_dialog(page: Page) -> None:
    await page.get_by_role("button", name="Peers", exact=True).click()
    await expect(page.get_by_role("switch", name="Visible to others")).to_be_focused()


async def terms_of_bo(page: Page) -> Locator:
    await the_dialog(page)
    await page.locator("#p-paired summary").click()
    return page.locator("#p-paired li")


async def test_the_button_shows_this_machine_and_its_switches(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await the_dialog(page)
        await expect(page.locator(".this-machine")).to_have_text("desk ab12 cd34")
        await page.get_by_role("switch", name="Visible to others").uncheck()
        await expect(page.locator("#p-link")).to_be_hidden()
        await page.get_by_role("switch", name="Find other machines").uncheck()
        await expect(page.get_by_role("switch", name="Find other machines")).not_to_be_checked()
        await scenario.until_asked(
            lambda: sent(scenario), [("", {"visible": False}), ("", {"browse": False})]
        )


async def test_while_visible_a_link_with_the_key_of_this_machine_is_shown_as_a_picture(
    browser: Browser,
) -> None:
    async with open_fake(browser, service()) as page:
        await the_dialog(page)
        await page.get_by_text("Link and QR code").click()
        await expect(page.locator("#p-link .link-text")).to_have_text(
            f"meshlight://pair?host=192.168.1.10&port=6376&id={ME}"
        )
        await page.wait_for_function("() => document.querySelector('#p-link .qr')?.naturalWidth > 0")


async def test_who_comes_and_goes_is_seen_at_once_and_names_are_only_text(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await the_dialog(page)
        rows = page.locator("#p-discovered li")
        await expect(rows).to_have_count(3)
        await expect(rows.nth(0)).to_contain_text("cleo-laptop 77e0 b1d2cleo.local · 2 backends · 5 models")
        await expect(rows.nth(1).get_by_text("paired", exact=True)).to_be_visible()
        await expect(rows.nth(1).get_by_role("button")).to_have_count(0)
        await rows.nth(0).get_by_role("button").focus()
        duplicate = "Another machine announces the same id."
        scenario.meet(seen=(sighting(name=NASTY, conflict=duplicate),))
        await expect(rows).to_have_count(1)
        await expect(rows.locator("b")).to_have_text("You <b>are</b>")
        await expect(rows).to_contain_text(duplicate)
        await expect(rows.get_by_role("button", name="Pair … You <b>are</b>")).to_be_focused()
        scenario.meet(seen=(), problem="Nobody can be seen: there is no network. Join one.")
        await expect(page.locator("#dialog")).to_contain_text("A machine appears here while it is visible")
        await expect(page.locator("#p-problem")).to_contain_text("Join one.")


async def test_a_node_of_another_program_is_added_by_hand_with_its_address(browser: Browser) -> None:
    async with open_fake(browser, service()) as page:
        await the_dialog(page)
        await page.get_by_role("button", name="Add by hand … gpu-box").click()
        await expect(page.locator("#f-url")).to_have_value("http://192.168.1.40:8090")
        await expect(page.locator("#f-name")).to_have_value("gpu-box")
        await expect(page.locator("#dialog")).to_contain_text("Announced on this network: check the address")


async def test_asking_shows_the_digits_and_ends_with_a_peer_whose_terms_are_a_press_away(
    browser: Browser,
) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await the_dialog(page)
        await page.get_by_role("button", name="Pair … cleo-laptop").click()
        view = page.get_by_role("dialog", name="Pair with bo-desk")
        await expect(view.locator(".digits b")).to_have_text(["204", "917"])
        await expect(view).to_contain_text(re.compile(r"4\d s left"))
        await page.get_by_role("button", name="Yes, the same").click()
        await expect(view.get_by_text("Confirmed here.")).to_be_visible()
        await expect(page.get_by_role("button", name="Yes, the same")).to_have_count(0)
        scenario.meet(pairing=pairing("paired", role="asking"))
        await expect(page.get_by_role("dialog", name="Paired with bo-desk")).to_be_visible()
        await page.get_by_role("button", name="What it may use").click()
        await expect(page.get_by_role("checkbox", name="clouds")).to_be_visible()
        assert sent(scenario, "POST") == [("/pairing", {"id": CLEO}), ("/pairing/confirm", None)]


async def test_an_address_that_nobody_answers_at_is_told_with_the_fix(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, expect_errors=True) as page:
        await the_dialog(page)
        await page.locator("#p-address").fill("nobody")
        await page.keyboard.press("Enter")
        view = page.get_by_role("dialog", name="Not paired with nobody")
        await expect(view.get_by_text("Let that machine be seen.")).to_be_visible()
        await page.get_by_role("button", name="Close").last.click()
        await page.locator("#p-address").fill("[fd00::7]:7000")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Pair with")).to_be_visible()
        assert sent(scenario, "POST")[-1] == ("/pairing", {"host": "fd00::7", "port": 7000})


async def test_a_request_opens_by_itself_counts_down_and_no_ends_it(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, clock=True) as page:
        await card(page, "peer-3").click()
        scenario.meet(pairing=pairing())
        view = page.get_by_role("dialog", name="Pair with bo-desk")
        await expect(view.get_by_text("42 s left")).to_be_visible()
        await expect(view.get_by_role("heading")).to_be_focused()
        await page.clock.fast_forward(1_000)
        await expect(view.get_by_text("41 s left")).to_be_visible()
        await page.get_by_role("button", name="No", exact=True).click()
        await expect(view).to_have_count(0)
        await expect(page.locator("#pairing-notice")).to_be_hidden()
        await scenario.until_asked(lambda: sent(scenario, "POST"), [("/pairing/refuse", None)])


async def test_a_request_waits_in_a_bar_while_a_form_is_filled_in(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await page.keyboard.press("a")
        await page.locator("#f-name").fill("half typ")
        scenario.meet(pairing=pairing(name=NASTY))
        bar = page.get_by_role("alert").filter(has_text="asks to be paired")
        await expect(bar).to_contain_text("You <b>are</b> asks to be paired")
        await page.keyboard.type("ed")
        await bar.get_by_role("button", name="Show").click()
        await expect(page.get_by_role("dialog", name="Pair with You <b>are</b>")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#f-name")).to_have_value("half typed")
        await expect(bar).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#dialog")).to_be_hidden()
        await expect(bar).to_be_visible()
        await page.keyboard.press("a")
        await page.locator("#dialog #pairing-notice").wait_for()
        await page.keyboard.press("Escape")
        await expect(page.locator("#dialog")).to_be_hidden()
        await page.keyboard.press("p")
        await expect(page.locator("#dialog").get_by_role("button", name="Show")).to_be_visible()
        scenario.meet(pairing=pairing("over", why="Too late."))
        await expect(bar).to_have_count(0)


async def test_once_the_form_is_shut_a_request_that_was_not_shown_opens(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await page.keyboard.press("a")
        await expect(page.locator("#f-url")).to_be_focused()
        scenario.meet(pairing=pairing())
        await expect(page.locator("#pairing-notice")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Pair with bo-desk")).to_be_visible()


async def test_a_request_that_came_before_the_page_is_shown_when_it_opens(browser: Browser) -> None:
    scenario = service()
    scenario.meet(pairing=pairing())
    async with open_fake(browser, scenario) as page:
        await expect(page.get_by_role("dialog", name="Pair with bo-desk")).to_be_visible()


async def test_what_a_peer_may_use_is_changed_with_a_press_and_clouds_come_with_a_warning(
    browser: Browser,
) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        bo = await terms_of_bo(page)
        await expect(bo).to_contain_text("studio-mac 3fa9 41c0✓healthy")
        await expect(bo).to_contain_text("It sees 2 models: llama-3.2-3b, qwen3-32b.")
        await expect(bo).to_contain_text("with your keys and at your cost")
        for name in ("servers on this network", "company routers and clusters", "clouds"):
            await expect(bo.get_by_role("checkbox", name=name)).not_to_be_checked()
        await bo.get_by_role("checkbox", name="clouds").check()
        await bo.get_by_role("combobox", name="Models", exact=True).select_option("chosen")
        await expect(bo.get_by_role("checkbox", name="qwen3-32b", exact=True)).to_be_checked()
        await bo.get_by_role("checkbox", name="qwen3-32b", exact=True).uncheck()
        await bo.get_by_label("Requests at once").fill("2")
        await bo.get_by_role("switch", name="Pause").check()
        await expect(bo.get_by_role("switch", name="Pause")).to_be_checked()
        await scenario.until_asked(
            lambda: sent(scenario),
            [
                (f"/{BO}", {"share_rings": ["machine", "cloud"]}),
                (f"/{BO}", {"share_models": ["llama-3.2-3b", "qwen3-32b"]}),
                (f"/{BO}", {"share_models": ["llama-3.2-3b"]}),
                (f"/{BO}", {"max_in_flight": 2}),
                (f"/{BO}", {"paused": True}),
            ],
        )
        scenario.become("peer-3", "unhealthy")
        await expect(bo.locator(".badge")).to_have_text("✕unhealthy")
        await expect(bo).to_contain_text("Is the server running?")


class Managing(PeerView, frozen=True, kw_only=True):
    """A peer with the switch for loading and unloading."""

    may_manage: bool = False


async def test_a_peer_may_load_and_unload_only_once_that_is_switched_on(browser: Browser) -> None:
    scenario = service()
    scenario.peers = simulated(peers=(Managing(**asdict(peer())),))
    async with open_fake(browser, scenario) as page:
        bo = await terms_of_bo(page)
        manages = bo.get_by_role("switch", name="May load and unload shared models")
        await expect(manages).not_to_be_checked()
        await expect(bo).to_contain_text("none while somebody else uses it")
        await manages.check()
        await expect(manages).to_be_checked()
        await scenario.until_asked(lambda: sent(scenario), [(f"/{BO}", {"may_manage": True})])


async def test_unpairing_is_asked_twice(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        bo = await terms_of_bo(page)
        await bo.get_by_role("button", name="Unpair …").click()
        await expect(bo.get_by_role("button", name="Keep")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(bo.get_by_role("button", name="Unpair …")).to_be_focused()
        assert sent(scenario, "DELETE") == []
        await page.keyboard.press("Enter")
        await bo.get_by_role("button", name="Unpair", exact=True).click()
        await expect(page.get_by_text("No paired machines yet.")).to_be_visible()
        assert sent(scenario, "DELETE") == [(f"/{BO}", None)]


async def test_the_panel_of_a_peer_tells_its_node_and_leads_to_its_terms(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await card(page, "peer-3").click()
        await expect(page.locator("#panel .facts")).to_contain_text("Node3fa9 41c0")
        await page.get_by_role("button", name="Sharing …").click()
        await expect(page.get_by_role("switch", name="Pause")).to_be_visible()
        await page.get_by_role("button", name="Details").click()
        await expect(page.locator("#dialog")).to_be_hidden()
        await card(page, "ollama-1").click()
        await expect(page.get_by_role("button", name="Edit …")).to_be_visible()
        await expect(page.get_by_role("button", name="Sharing …")).to_have_count(0)


async def test_a_link_fills_in_the_address_pairs_nothing_by_itself_and_brings_its_key(
    browser: Browser,
) -> None:
    scenario = service()
    async with open_fake(browser, scenario, at=f"#pair?host=192.168.1.20&port=7000&id={BO}") as page:
        await expect(page.locator("#p-address")).to_have_value("192.168.1.20:7000")
        await expect(page.locator("#p-address")).to_be_focused()
        await expect(page.get_by_text("From a link: pair only if you know whose it is.")).to_be_visible()
        assert "pair?" not in page.url
        assert sent(scenario, "POST") == []
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Pair with")).to_be_visible()
        whom = {"host": "192.168.1.20", "port": 7000, "id": BO}
        assert sent(scenario, "POST") == [("/pairing", whom)]


async def test_a_link_leads_to_digits_that_are_compared_on_both_sides(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, at=f"#pair?host=192.168.1.20&port=7000&id={BO}") as page:
        await page.keyboard.press("Enter")
        view = page.get_by_role("dialog", name="Pair with bo-desk")
        await expect(view.locator(".digits b")).to_have_text(["204", "917"])
        await expect(view.get_by_text("The same digits on both screens?")).to_be_visible()
        await page.get_by_role("button", name="Yes, the same").click()
        await expect(view.get_by_text("Confirmed here.")).to_be_visible()
        assert sent(scenario, "POST")[-1] == ("/pairing/confirm", None)


async def test_the_second_half_of_a_double_click_confirms_nothing(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, clock=True) as page:
        await card(page, "peer-3").click()
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
        scenario.meet(pairing=pairing())
        yes = page.get_by_role("button", name="Yes, the same")
        await expect(yes).to_be_disabled()
        at = await yes.bounding_box()
        assert at is not None
        await page.mouse.click(at["x"] + 9, at["y"] + 9)
        assert sent(scenario, "POST") == []
        await page.clock.run_for(1_000)
        await expect(yes).to_be_enabled()
        await yes.dispatch_event("click", {"detail": 2})
        await page.keyboard.press("Escape")
        await expect(yes).to_have_count(0)
        await page.get_by_role("button", name="Show", exact=True).click()
        await expect(yes).to_be_disabled()
        assert sent(scenario, "POST") == []
        await page.clock.run_for(1_000)
        await yes.click()
        await expect(page.get_by_text("Confirmed here.")).to_be_visible()
        assert sent(scenario, "POST") == [("/pairing/confirm", None)]


async def test_the_tray_opens_the_peers_by_the_address_alone(browser: Browser) -> None:
    async with open_fake(browser, service(), at="#peers") as page:
        await expect(page.get_by_role("dialog", name="Peers")).to_be_visible()
        assert "#" not in page.url


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: packaging/dev.py test installs it")
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_dialog_and_digits_are_for_everybody(browser: Browser, theme: str) -> None:
    scenario = service()
    scenario.meet(peers=(peer(share_models=("llama-3.2-3b",)),))
    async with open_fake(
        browser,
        scenario,
        media={"color_scheme": theme, "reduced_motion": "reduce"},
        size=(420, 800),
        cards=False,
    ) as page:
        await page.evaluate(AXE.read_text())
        await page.keyboard.press("p")
        await page.locator("#p-paired summary").click()
        for _ in ("dialog", "digits"):
            await page.evaluate(FRAMES_AT_REST)
            found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [f for f in found["violations"] if f["impact"] in {"serious", "critical"}]
            assert [(f["id"], [n["html"] for n in f["nodes"]]) for f in serious] == []
            scenario.meet(pairing=pairing())
            await expect(page.get_by_role("dialog", name="Pair with")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
