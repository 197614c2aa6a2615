"""What found engines and peers offer and is not used: seen on the map, explained, and used with one press."""

from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace
from playwright.async_api import Browser, Locator, Page, expect

from meshlight.domain.api_types import HealthView
from meshlight.domain.rules import Rule
from web.fake_peers import BO, peer, simulated
from web.fake_service import FakeService
from web.page_driver import card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WHY = "A peer offers this model too, and it is not used: Ollama, which you have added, has it."
HOW = 'To use both: `also = ["peer-3"]` in a rule for this model, or the model in the peer\'s `use`.'


def as_sent(rule: Rule) -> Any:
    """Return a rule as a browser sends one that it was told."""
    return json.decode(json.encode(rule))


def service(**of_the_peer: Any) -> FakeService:
    """Return a mesh whose `peer-3` has one model more, which Ollama has too; that of the peer is not used."""
    views = {view.id: view for view in mesh(10, 60)}
    views["peer-3"] = replace(views["peer-3"], models=("own-1b", *views["peer-3"].models))
    views["ollama-1"] = replace(views["ollama-1"], models=("own-1b", *views["ollama-1"].models))
    made = FakeService(list(views.values()))
    made.offered = {"own-1b": ("peer-3",)}
    made.routes = [{"backend": "peer-3", "name": "studio-mac", "tier": "excluded", "why": f"{WHY} {HOW}"}]
    made.peers = simulated(peers=(peer(**of_the_peer),))
    return made


def chip(page: Page, ident: str) -> Locator:
    """Return the card of the model on a backend."""
    return page.locator(f'[data-key="m:{ident}\\a own-1b"]')


def patches(service: FakeService) -> list[tuple[str, object]]:
    """What was changed: path and body."""
    return [(path, body) for method, path, body in service.asked if method == "PATCH"]


async def test_an_offer_is_muted_on_the_map_named_in_legend_panel_and_table(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario) as page:
        await expect(chip(page, "peer-3")).to_have_class("card chip offered")
        await expect(chip(page, "peer-3")).to_have_accessible_name(
            "Model own-1b on studio-mac, offered, not used"
        )
        await expect(chip(page, "ollama-1")).to_have_class("card chip")
        await expect(page.locator("#legend .offered")).to_be_visible()
        await chip(page, "peer-3").hover()
        await expect(page.locator("#tooltip")).to_contain_text("offered here, not used")
        await card(page, "peer-3").click()
        await expect(page.locator("#panel .models button").first).to_have_text("own-1boffered, not used")
        await page.keyboard.press("Escape")
        await page.keyboard.press("t")
        await page.locator("#table .tabs").get_by_role("button", name="Models").click()
        row = page.locator("tr", has_text="own-1b")
        await expect(row).to_contain_text("Ollama · offered, not used: studio-mac")
        await expect(row).to_contain_text("1 of 1")
        scenario.offer({})
        await expect(row).to_contain_text("Ollama, studio-mac")
        await page.keyboard.press("t")
        await expect(chip(page, "peer-3")).to_have_class("card chip")
        await expect(page.locator("#legend .offered")).to_be_hidden()


async def test_the_panel_says_why_and_uses_the_offer_by_a_rule_of_its_own(browser: Browser) -> None:
    scenario = service()
    other = Rule(model="other", pin=("ollama-1",))
    scenario.settings.set_rules(other)
    async with open_fake(browser, scenario) as page:
        await chip(page, "ollama-1").click()
        offers = page.locator("#panel .offers li")
        await expect(offers).to_contain_text("studio-mac")
        await expect(offers).to_contain_text(WHY)
        await expect(offers).not_to_contain_text("To use both")
        await expect(page.locator("#panel .others")).to_contain_text("No other backend")
        await expect(page.locator("#panel .route")).not_to_contain_text(WHY)
        await offers.get_by_role("button", name="Use it", exact=True).focus()
        await page.keyboard.press("Enter")
        await expect(offers).to_have_count(0)
        await expect(page.get_by_text("studio-mac is used for it, too.")).to_be_visible()
        await expect(page.locator("#panel .others")).to_contain_text("studio-mac")
        await expect(page.locator("#panel-title")).to_be_focused()
        assert patches(scenario) == [
            (
                "/mesh/settings",
                {"routing": {"rules": [as_sent(other), {"model": "own-1b", "also": ["peer-3"]}]}},
            )
        ]


async def test_a_rule_of_this_model_gets_the_backend_and_keeps_the_rest(browser: Browser) -> None:
    scenario = service()
    before = Rule(model="own-1b", also=("mlx-9",), bound="lan")
    scenario.settings.set_rules(before)
    async with open_fake(browser, scenario) as page:
        await chip(page, "ollama-1").click()
        await page.get_by_role("button", name="Use it", exact=True).click()
        await expect(chip(page, "peer-3")).to_have_class("card chip")
        rule = as_sent(replace(before, also=("mlx-9", "peer-3")))
        assert patches(scenario) == [("/mesh/settings", {"routing": {"rules": [rule]}})]


async def test_an_offer_of_a_peer_with_a_list_is_put_on_that_list(browser: Browser) -> None:
    scenario = service(use=("qwen*",))
    scenario.routes[0]["why"] = "It is not among the models that are used from studio-mac."
    async with open_fake(browser, scenario) as page:
        await chip(page, "peer-3").click()
        await expect(page.locator("#panel .state")).to_contain_text("offered here, not used")
        await expect(page.locator("#panel .offers")).to_contain_text("It is not among the models")
        await page.get_by_role("button", name="Choose its models …").click()
        await expect(page.get_by_role("combobox", name="Models used from it")).to_have_value("chosen")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Use it", exact=True).click()
        await expect(chip(page, "peer-3")).to_have_class("card chip selected")
        assert patches(scenario) == [(f"/mesh/peers/{BO}", {"use": ["qwen*", "own-1b"]})]


async def test_an_offer_that_cannot_be_used_says_why_and_stays(browser: Browser) -> None:
    scenario = service()
    async with open_fake(browser, scenario, expect_errors=True) as page:
        await page.route(
            "**/mesh/settings",
            lambda route: route.fulfill(status=409, json={"error": {"message": "The file is read-only."}}),
        )
        await chip(page, "ollama-1").click()
        await page.get_by_role("button", name="Use it", exact=True).click()
        await expect(page.get_by_text("The file is read-only.")).to_be_visible()
        await expect(page.get_by_role("button", name="Use it", exact=True)).to_be_enabled()


async def test_which_models_are_used_from_a_peer_is_chosen_in_its_terms(browser: Browser) -> None:
    scenario = service()
    models = scenario.views["peer-3"].models[1:]
    async with open_fake(browser, scenario) as page:
        await page.get_by_role("button", name="Peers", exact=True).click()
        await page.locator("#p-paired summary").click()
        box = page.locator("#p-paired").get_by_role("combobox", name="Models used from it")
        await expect(box).to_have_value("")
        await box.select_option("chosen")
        chosen = page.get_by_role("group", name="Models used from it")
        await expect(chosen.get_by_role("checkbox", name=models[0], exact=True)).to_be_checked()
        await expect(chosen.get_by_role("checkbox", name="own-1b", exact=True)).not_to_be_checked()
        await chosen.get_by_role("checkbox", name="own-1b", exact=True).check()
        await expect(chosen.get_by_role("checkbox", name="own-1b", exact=True)).to_be_checked()
        await box.select_option("")
        await expect(chosen.get_by_role("checkbox")).to_have_count(0)
        await scenario.until_asked(
            lambda: patches(scenario),
            [
                (f"/mesh/peers/{BO}", {"use": list(models)}),
                (f"/mesh/peers/{BO}", {"use": ["own-1b", *models]}),
                (f"/mesh/peers/{BO}", {"use": None}),
            ],
        )


async def test_a_pattern_that_somebody_wrote_stays_and_what_it_means_is_not_listed_twice(
    browser: Browser,
) -> None:
    scenario = service(use=("own-*", "gone-7b"))
    async with open_fake(browser, scenario) as page:
        await page.get_by_role("button", name="Peers", exact=True).click()
        await page.locator("#p-paired summary").click()
        chosen = page.get_by_role("group", name="Models used from it")
        await expect(chosen.get_by_role("checkbox", name="own-1b", exact=True)).to_be_disabled()
        await expect(chosen.get_by_role("checkbox", name="own-1b", exact=True)).to_be_checked()
        await chosen.get_by_role("checkbox", name="gone-7b", exact=True).uncheck()
        await chosen.get_by_role("checkbox", name="gone-7b", exact=True).check()
        await scenario.until_asked(
            lambda: patches(scenario),
            [
                (f"/mesh/peers/{BO}", {"use": ["own-*"]}),
                (f"/mesh/peers/{BO}", {"use": ["own-*", "gone-7b"]}),
            ],
        )


async def test_an_engine_of_another_user_says_so_and_is_used_anyway_with_one_press(browser: Browser) -> None:
    text = "It runs as another user of this machine (uid 1001), so no prompt is sent to it."
    fix = "If you trust that user, switch it on: `meshlight backends enable ollama-1`."
    scenario = service()
    scenario.views["ollama-1"] = replace(
        scenario.views["ollama-1"],
        enabled=False,
        source="found",
        health=HealthView(state="unknown", reason="other-user", text=text, fix=fix, since_s=1.0),
    )
    async with open_fake(browser, scenario) as page:
        await card(page, "ollama-1").hover()
        await expect(page.locator("#tooltip")).to_contain_text(text)
        await card(page, "ollama-1").click()
        reason = page.locator("#panel .reason")
        await expect(reason).to_contain_text(text)
        await expect(reason.locator(".fix")).to_have_text(fix.replace("`", ""))
        await expect(reason).not_to_contain_text("Switched off")
        await page.get_by_role("button", name="Use it anyway").click()
        await expect(page.get_by_role("button", name="Disable", exact=True)).to_be_visible()
        posted = [path for method, path, _ in scenario.asked if method == "POST"]
        assert posted == ["/mesh/backends/ollama-1/enable"]


async def test_a_backend_that_was_switched_off_by_hand_says_just_that(browser: Browser) -> None:
    scenario = service()
    scenario.views["ollama-1"] = replace(scenario.views["ollama-1"], enabled=False)
    async with open_fake(browser, scenario) as page:
        await card(page, "ollama-1").click()
        await expect(page.locator("#panel .reason")).to_have_text("Switched off: no request goes there.")
        await expect(page.get_by_role("button", name="Enable", exact=True)).to_be_visible()


async def test_a_service_in_trouble_is_named_in_its_models_and_its_clusters_panel(browser: Browser) -> None:
    scenario = service()
    model = scenario.views["cluster-7"].models[0]
    for place, tier, why in (
        ("first", "last-resort", "first: Too many requests failed."),
        ("second", "ready", "Healthy."),
    ):
        scenario.routes.append(
            {"backend": "cluster-7", "name": f"campus/{place}", "place": place, "tier": tier, "why": why}
        )
    async with open_fake(browser, scenario) as page:
        await card(page, "cluster-7").click()
        services = page.locator("#panel .services li")
        await expect(services).to_have_text(["campus/firstfirst: Too many requests failed."])
        await page.locator("#panel .models button", has_text=model).first.click()
        first = page.locator("#panel .route li", has_text="campus/first")
        await expect(first).to_contain_text("last resort")
        await expect(first).to_contain_text("Too many requests failed.")
        await expect(page.locator("#panel .route li", has_text="campus/second")).not_to_contain_text("resort")


async def test_a_notice_is_in_the_header_and_in_the_routers_panel_and_changes_there(browser: Browser) -> None:
    text = "Another program has [::1]:6374: apps that ask `localhost` may reach that one."
    scenario = service()
    scenario.notices = (text,)
    async with open_fake(browser, scenario) as page:
        await expect(page.locator("#notices")).to_have_text("1 notice")
        await page.locator("#notices").click()
        await expect(page.locator("#panel .notices li")).to_have_text([text.replace("`", "")])
        scenario.notices = ("Another one.",)
        scenario.seq += 1
        scenario.send(scenario.snapshot())
        await expect(page.locator("#panel .notices li")).to_have_text(["Another one."])
