"""Two real services on one machine, paired by two people who look at their pages."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from meshlight.simulator.engine import SimulatedEngine
from node import Node
from web.page_driver import card, open_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SOON = 15_000
"""Milliseconds within which a page must show what happened on the other side."""


def lan() -> tuple[str, int]:
    """Return the configuration of a node that can be seen, and where its pairing door is."""
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("", 0))).getsockname()[1] for _ in range(2)]
    return f"[lan]\nvisible = true\nbrowse = false\nport = {free[0]}\ndoor = {free[1]}\n", free[1]


async def test_two_people_compare_digits_and_each_sees_the_others_models_until_one_unpairs(
    browser: Browser, tmp_path: Path
) -> None:
    (extra_a, _), (extra_b, door_b) = lan(), lan()
    names = ('name = "anna"\n', 'name = "bo"\n')
    async with (
        SimulatedEngine("llamacpp", "desk", ["llama-3.2-3b"]) as desk,
        SimulatedEngine("ollama", "kitchen", ["qwen3-8b"]) as kitchen,
        Node(tmp_path / "a", [desk], names[0] + extra_a) as a,
        Node(tmp_path / "b", [kitchen], names[1] + extra_b) as b,
        open_page(browser, a.service.link()) as anna,
        open_page(browser, b.service.link()) as bo,
    ):
        await anna.get_by_role("button", name="Peers", exact=True).click()
        await anna.locator("#p-address").fill(f"127.0.0.1:{door_b}")
        await anna.keyboard.press("Enter")
        asking = anna.get_by_role("dialog", name="Pair with bo")
        asked = bo.get_by_role("dialog", name="Pair with anna")
        await expect(asking).to_be_visible(timeout=SOON)
        await expect(asked).to_be_visible(timeout=SOON)
        digits = await asking.locator(".digits b").all_text_contents()
        assert len("".join(digits)) == 6
        await expect(asked.locator(".digits b")).to_have_text(digits)
        await anna.get_by_role("button", name="Yes, the same").click()
        await expect(asking.get_by_text("Confirmed here.")).to_be_visible(timeout=SOON)
        await bo.get_by_role("button", name="Yes, the same").click()
        for page, other in ((anna, "bo"), (bo, "anna")):
            await expect(page.get_by_role("dialog", name=f"Paired with {other}")).to_be_visible(timeout=SOON)

        await anna.get_by_role("button", name="Done").click()
        await anna.locator("#dialog .end button").click()
        backend = (await a.http.get("/mesh/peers")).json()["peers"][0]["backend"]
        await expect(card(anna, backend)).to_contain_text("healthy · 1 model", timeout=SOON)
        assert (await a.chat("qwen3-8b")).is_success

        await bo.get_by_role("button", name="What it may use").click()
        await expect(bo.get_by_text("It sees 1 model: qwen3-8b.")).to_be_visible(timeout=SOON)
        await bo.get_by_role("checkbox", name="this machine").uncheck()
        await expect(bo.get_by_text("It sees 0 models.")).to_be_visible(timeout=SOON)
        await expect(card(anna, backend)).to_contain_text("0 models", timeout=SOON)

        await bo.get_by_role("button", name="Unpair …").click()
        await bo.get_by_role("button", name="Unpair", exact=True).click()
        await expect(bo.get_by_text("No paired machines yet.")).to_be_visible(timeout=SOON)
        await expect(card(anna, backend)).to_have_class("card backend removed", timeout=SOON)


async def test_what_a_peer_has_too_is_offered_and_used_after_one_press_and_listed_after_another(
    browser: Browser, tmp_path: Path
) -> None:
    (extra_a, _), (extra_b, door_b) = lan(), lan()
    async with (
        SimulatedEngine("llamacpp", "desk", ["llama-3.2-3b"]) as desk,
        SimulatedEngine("ollama", "kitchen", ["llama-3.2-3b", "qwen3-8b"]) as kitchen,
        Node(tmp_path / "a", [desk], 'name = "anna"\n' + extra_a) as a,
        Node(tmp_path / "b", [kitchen], 'name = "bo"\n' + extra_b) as b,
        open_page(browser, a.service.link()) as anna,
        open_page(browser, b.service.link()) as bo,
    ):
        await anna.get_by_role("button", name="Peers", exact=True).click()
        await anna.locator("#p-address").fill(f"127.0.0.1:{door_b}")
        await anna.keyboard.press("Enter")
        for page in (anna, bo):
            await page.get_by_role("button", name="Yes, the same").click(timeout=SOON)
        await anna.get_by_role("button", name="Done").click(timeout=SOON)
        await anna.locator("#dialog .end button").click()
        peer = (await a.http.get("/mesh/peers")).json()["peers"][0]
        # What is nearer goes on to a peer when it is down; what is as far away keeps the model.
        assert (await a.http.patch("/mesh/backends/desk", json={"ring": "lan"})).is_success
        offer = anna.locator(f'[data-key="m:{peer["backend"]}\\a llama-3.2-3b"]')
        await expect(offer).to_have_class("card chip offered", timeout=SOON)
        await offer.click()
        await expect(anna.locator("#panel .offers")).to_contain_text("which you have added, has it")
        await anna.get_by_role("button", name="Use it", exact=True).click()
        await expect(offer).to_have_class("card chip selected", timeout=SOON)
        [rule] = (await a.http.get("/mesh/settings")).json()["routing"]["rules"]
        assert (rule["model"], rule["also"]) == ("llama-3.2-3b", [peer["backend"]])

        await anna.keyboard.press("Escape")
        await anna.get_by_role("button", name="Peers", exact=True).click()
        await anna.locator("#p-paired summary").click()
        await anna.get_by_role("combobox", name="Models used from it").select_option("chosen")
        chosen = anna.get_by_role("group", name="Models used from it").get_by_role("checkbox")
        await expect(chosen).to_have_count(2, timeout=SOON)
        async with anna.expect_response(lambda response: response.request.method == "PATCH"):
            await chosen.nth(1).uncheck()
        await expect(chosen.nth(1)).not_to_be_checked()
        [after] = (await a.http.get("/mesh/peers")).json()["peers"]
        assert after["use"] == ["llama-3.2-3b"]
        await anna.locator("#dialog .end button").click()
        other = anna.locator(f'[data-key="m:{peer["backend"]}\\a qwen3-8b"]')
        await expect(other).to_have_class("card chip offered", timeout=SOON)
        await other.click()
        await expect(anna.locator("#panel .offers")).to_contain_text("not among the models", timeout=SOON)
        await anna.get_by_role("button", name="Use it", exact=True).click()
        await expect(other).to_have_class("card chip selected", timeout=SOON)
