"""Try with the real service: the answer takes the ordinary way, and its request is one of those on the map."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from web.page_driver import HAS_PARTICLES, card, open_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MODEL = "llama-3.2-3b"


async def test_the_page_asks_by_its_session_sees_the_path_and_the_failover_and_stop_frees_the_backend(
    browser: Browser, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(SimulatedEngine("llamacpp", "desk", [MODEL]))
        second = await stack.enter_async_context(
            SimulatedEngine("ollama", "kitchen", [MODEL], speed=20.0, length=100_000)
        )
        node = await stack.enter_async_context(Node(tmp_path, [first, second], IN_ORDER))
        page = await stack.enter_async_context(open_page(browser, node.service.link()))
        await page.keyboard.press("c")
        await expect(page.locator("#try-question")).to_be_focused()
        flown = asyncio.create_task(page.wait_for_function(HAS_PARTICLES))
        await page.keyboard.type("Hello there")
        await page.keyboard.press("Enter")
        meta = page.locator(".turn .meta")
        await expect(meta.first).to_contain_text("desk answered · ")
        await expect(meta.first).to_contain_text("tokens")
        await flown
        here = page.locator(f'[data-key="m:desk\\a {MODEL}"]')
        await expect(here).to_have_attribute("aria-current", "true")

        await first.fault("status", status=503, scope="inference")
        await page.keyboard.type("And without the desk?")
        await page.keyboard.press("Enter")
        there = page.locator(f'[data-key="m:kitchen\\a {MODEL}"]')
        await expect(there).to_have_attribute("aria-current", "true")
        await expect(page.locator(".turn .answer").nth(1)).not_to_be_empty()
        assert (await node.backend("kitchen"))["in_flight"] == 1
        await page.get_by_role("button", name="Stop").click()
        await expect(meta.nth(1)).to_contain_text("after 2 attempts")
        async with asyncio.timeout(10):
            while (await node.backend("kitchen"))["in_flight"]:
                await node.refresh()
        seen = [
            one for one in (*first.request_log.entries, *second.request_log.entries) if one.method == "POST"
        ]
        assert seen
        assert not any(one.header("cookie") or one.header("origin") for one in seen)
        await expect(card(page, "kitchen")).to_be_visible()
