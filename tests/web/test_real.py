"""The page with the real service behind it, and demo engines behind that."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from web.page_driver import HAS_PARTICLES, card, open_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SOON = 10_000
"""Milliseconds within which the page must show what happened in the mesh."""


@asynccontextmanager
async def scenario(home: Path) -> AsyncIterator[tuple[Node, SimulatedEngine, SimulatedEngine]]:
    """Run a service with two engines that share a model; requests try them in order."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            SimulatedEngine("llamacpp", "desk", ["llama-3.2-3b", "qwen3-8b"])
        )
        second = await stack.enter_async_context(SimulatedEngine("ollama", "kitchen", ["llama-3.2-3b"]))
        yield await stack.enter_async_context(Node(home, [first, second], IN_ORDER)), first, second


def mode_of(file: Path) -> int | None:
    """Return who may do what with a file; None when it is gone."""
    return stat.S_IMODE(file.stat().st_mode) if file.exists() else None


async def checked(node: Node, state: str) -> None:
    """Have everything checked until the kitchen is in this state, instead of waiting for the next probe."""
    async with asyncio.timeout(30):
        while (await node.backend("kitchen"))["health"]["state"] != state:
            await node.refresh()


async def past_of(node: Node, name: str) -> list[str | None]:
    """Return the states of the last hour, oldest first."""
    told: list[str | None] = (await node.http.get("/mesh/history")).json()["backends"][name]["states"]
    return told


@asynccontextmanager
async def inside(browser: Browser, node: Node, **how: Any) -> AsyncIterator[Page]:
    """Open the page by a one-time link."""
    async with open_page(browser, node.service.link(), **how) as page:
        yield page


async def test_a_one_time_link_opens_the_page_signed_in_and_leaves_no_code_in_the_address(
    browser: Browser, tmp_path: Path
) -> None:
    async with scenario(tmp_path) as (node, _, _), inside(browser, node) as page:
        await expect(page.locator(".backend")).to_have_count(2)
        await expect(page.locator("#light-label")).to_have_text("healthy")
        assert "code" not in page.url
        await page.reload()
        await expect(card(page, "kitchen")).to_contain_text("healthy · 1 model")


async def test_a_file_opens_the_page_signed_in_with_what_it_is_to_show_and_is_gone_then(
    browser: Browser, tmp_path: Path
) -> None:
    async with scenario(tmp_path) as (node, _, _):
        made = await node.http.post("/mesh/session/file", json={"fragment": "sel=b%3Akitchen"})
        file = Path(made.json()["path"])
        assert mode_of(file) == 0o600
        async with open_page(browser, file.as_uri()) as page:
            await expect(page.locator(".backend")).to_have_count(2)
            await expect(page.locator("#panel")).to_contain_text("kitchen")
            assert page.url == f"{node.url}/#sel=b%3Akitchen"
            await page.reload()
            await expect(card(page, "kitchen")).to_contain_text("healthy · 1 model")
        assert mode_of(file) is None


async def test_the_page_asked_for_at_localhost_is_that_of_the_address_its_session_belongs_to(
    browser: Browser, tmp_path: Path
) -> None:
    async with scenario(tmp_path) as (node, _, _):
        link = node.service.link().replace("127.0.0.1", "localhost")
        async with open_page(browser, link) as page:
            await expect(page.locator(".backend")).to_have_count(2)
            assert page.url.startswith(f"{node.url}/")


async def test_a_used_link_is_told_and_the_key_opens_the_page_instead(
    browser: Browser, tmp_path: Path
) -> None:
    async with scenario(tmp_path) as (node, _, _):
        link = node.service.link()
        async with open_page(browser, link):
            pass
        async with open_page(browser, link, cards=False, expect_errors=True) as page:
            await expect(page.locator("#key-error")).to_contain_text("used already")
            await expect(page.locator("#session")).to_contain_text("meshlight open")
            await page.locator("#key").fill("not-it")
            await page.keyboard.press("Enter")
            await expect(page.locator("#key-error")).to_contain_text("not the key of this service")
            await page.locator("#key").fill(node.key)
            await page.keyboard.press("Enter")
            await expect(page.locator(".backend")).to_have_count(2)
            await expect(page.locator("#session")).to_be_hidden()


async def test_an_engine_that_stops_turns_red_within_ten_seconds_with_reason_and_fix(
    browser: Browser, tmp_path: Path
) -> None:
    async with scenario(tmp_path) as (node, _, second), inside(browser, node) as page:
        await second.fault("refuse")
        await expect(card(page, "kitchen")).to_have_attribute("data-status", "unhealthy", timeout=SOON)
        await expect(page.locator("#unhealthy")).to_contain_text("1 unhealthy")
        await card(page, "kitchen").click()
        await expect(page.locator("#panel .reason p").first).to_contain_text(
            "Connection refused at 127.0.0.1"
        )
        await expect(page.locator("#panel .fix")).to_contain_text("Ollama")
        await expect(page.locator("#panel .changes")).to_contain_text("unhealthy")
        await second.clear()
        await page.get_by_role("button", name="Check now").click()
        await expect(card(page, "kitchen")).to_have_attribute("data-status", "healthy", timeout=SOON)
        await expect(page.locator("#panel .reason")).to_be_hidden()


async def test_a_request_flies_across_and_is_counted(browser: Browser, tmp_path: Path) -> None:
    async with scenario(tmp_path) as (node, first, _), inside(browser, node) as page:
        flown = asyncio.create_task(page.wait_for_function(HAS_PARTICLES))
        assert (await node.chat()).is_success
        await flown
        await expect(page.locator('[data-key="r"]')).to_contain_text("1 ok")
        await first.fault("status", status=500, scope="inference")
        assert (await node.chat()).is_success, "the second engine answers for the first"
        await page.locator('[data-key="r"]').click()
        await expect(page.locator("#panel .facts")).to_contain_text("2 · 100.0 %")
        await card(page, "desk").click()
        await expect(page.locator("#panel .facts")).to_contain_text("2 · 1 ok · 1 failed")


async def test_a_link_passes_the_sign_in_to_the_dialog_and_is_shared_as_a_picture(
    browser: Browser, tmp_path: Path
) -> None:
    link = "#add?kind=ollama&url=http%3A%2F%2Fgpu.lan%3A11434&name=Big%20box"
    async with scenario(tmp_path) as (node, _, _), open_page(browser, node.service.link() + link) as page:
        await expect(page.locator("#f-url")).to_have_value("http://gpu.lan:11434")
        await expect(page.locator("#f-name")).to_have_value("Big box")
        await page.get_by_role("button", name="Share").click()
        await page.wait_for_function("() => document.querySelector('.qr')?.naturalWidth > 0")
        assert "code" not in page.url
        assert len((await node.http.get("/mesh/backends")).json()["backends"]) == 2, "nothing was added"


async def test_refresh_shows_its_progress(browser: Browser, tmp_path: Path) -> None:
    async with scenario(tmp_path) as (node, _, second), inside(browser, node) as page:
        await second.fault("hang-headers", scope="probe")
        await page.locator("#refresh").click()
        await expect(page.locator("#refresh")).to_contain_text("Checking 1/2")
        await expect(page.locator("#refresh")).to_contain_text("Refresh", timeout=SOON)


async def test_a_backend_is_added_after_it_answered_then_renamed_switched_off_and_removed(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        SimulatedEngine("vllm", models=["mistral-small-24b"]) as third,
        scenario(tmp_path) as (node, _, _),
    ):
        await third.fault("refuse")
        async with inside(browser, node, expect_errors=True) as page:
            await page.keyboard.press("a")
            await page.locator("#f-kind").select_option("vllm")
            await page.locator("#f-url").fill(third.url)
            await page.locator("#f-name").fill("attic")
            await page.keyboard.press("Enter")
            await expect(page.locator(".problem b")).to_contain_text("Connection refused at 127.0.0.1")
            await expect(page.locator(".problem p")).to_contain_text("Start it")
            await third.clear()
            await page.keyboard.press("Enter")
            await expect(page.locator("#dialog")).to_be_hidden(timeout=SOON)
            attic = page.locator(".backend", has_text="attic")
            await expect(attic).to_have_attribute("data-status", "healthy", timeout=SOON)
            await attic.click()
            await page.get_by_role("button", name="Edit").click()
            await page.locator("#f-name").fill("cellar")
            await page.keyboard.press("Enter")
            cellar = page.locator(".backend", has_text="cellar")
            await expect(page.locator("#panel h2")).to_have_text("cellar", timeout=SOON)
            await page.get_by_role("button", name="Disable").click()
            await expect(cellar).to_have_attribute("data-status", "disabled")
            assert (await node.chat("mistral-small-24b")).status_code in {404, 503}
            await page.get_by_role("button", name="Enable").click()
            await expect(cellar).to_have_attribute("data-status", "healthy", timeout=SOON)
            await page.get_by_role("button", name="Remove").click()
            await page.locator("#dialog button.danger").click()
            await expect(cellar).to_contain_text("removed")
            assert len((await node.http.get("/mesh/backends")).json()["backends"]) == 2


async def test_a_model_tells_its_route(browser: Browser, tmp_path: Path) -> None:
    async with scenario(tmp_path) as (node, _, _), inside(browser, node) as page:
        await page.locator(".chip", has_text="llama-3.2-3b").first.click()
        await expect(page.locator("#panel .route li").first).to_contain_text("desk")
        await expect(page.locator("#panel .paths")).to_have_text("2 connected paths")


async def test_the_last_hour_is_known_though_the_page_was_closed(browser: Browser, tmp_path: Path) -> None:
    async with scenario(tmp_path) as (node, _, second):
        await second.fault("refuse")
        async with asyncio.timeout(
            15
        ):  # until a whole step of 5 s ended so: a shorter trouble is no step's last state
            while "unhealthy" not in (await past_of(node, "kitchen"))[:-1]:
                await node.refresh()
        await second.clear()
        await checked(node, "healthy")
        async with inside(browser, node) as page:
            await card(page, "kitchen").click()
            await expect(page.locator("#panel .changes li")).to_have_count(3)
            await expect(page.locator("#panel .changes li").nth(1)).to_contain_text("unhealthy")
            await page.keyboard.press("Escape")
            before = page.get_by_role("button", name="One step back")
            for _ in range(8):
                await before.click()
                if await card(page, "kitchen").get_attribute("data-status") == "unhealthy":
                    break
            await expect(card(page, "kitchen")).to_have_attribute("data-status", "unhealthy")
            await expect(page.locator("#timeline .now")).to_be_visible()
            await page.keyboard.press("Escape")
            await expect(card(page, "kitchen")).to_have_attribute("data-status", "healthy")


async def test_after_a_restart_of_the_service_the_page_asks_for_the_key_and_goes_on(
    browser: Browser, tmp_path: Path
) -> None:
    async with SimulatedEngine("ollama", "kitchen") as engine:
        node = Node(tmp_path, [engine])
        await node.__aenter__()
        async with inside(browser, node, expect_errors=True, clock=True) as page:
            await expect(card(page, "kitchen")).to_be_visible()
            port = urlsplit(node.url).port or 0
            await node.__aexit__(None, None, None)
            await page.clock.run_for(30_000)
            await expect(page.locator("#connection")).to_contain_text("Connection lost")
            async with Node(tmp_path, [engine], port=port) as again:
                await page.clock.run_for(20_000)
                await expect(page.locator("#session")).to_be_visible(timeout=SOON)
                await page.locator("#key").fill(again.key)
                await page.keyboard.press("Enter")
                await expect(page.locator("#connection")).to_be_hidden(timeout=SOON)
                await engine.fault("refuse")
                await checked(again, "unhealthy")
                await expect(card(page, "kitchen")).to_have_attribute(
                    "data-status", "unhealthy", timeout=SOON
                )


async def test_all_of_it_works_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", models=["mistral-small-24b"]) as third,
        scenario(tmp_path) as (node, _, second),
        inside(browser, node, expect_errors=True) as page,
    ):
        press, write = page.keyboard.press, page.keyboard.type

        async def to(name: str) -> None:
            """Press Tab until a button of this name has the focus."""
            for _ in range(40):
                await press("Tab")
                if await page.evaluate("document.activeElement.textContent.trim()") == name:
                    return
            pytest.fail(f"Tab never came to {name}")

        await second.fault("refuse")
        await checked(node, "unhealthy")
        await expect(page.locator("#unhealthy")).to_be_visible(timeout=SOON)
        await press("/")
        await write("kitchen")
        await press("Enter")
        await expect(page.locator("#panel h2")).to_have_text("kitchen")
        await press("Escape")
        await press("Escape")
        await page.locator('[data-key="r"]').focus()
        for arrow in ("ArrowRight", "ArrowDown"):
            await press(arrow)
        await expect(card(page, "kitchen")).to_be_focused()
        await press("Enter")
        await expect(page.locator("#panel h2")).to_be_focused()
        await expect(page.locator("#panel .reason")).to_contain_text("Connection refused")
        await second.clear()
        await to("Check now")
        await press("Enter")
        await expect(card(page, "kitchen")).to_have_attribute("data-status", "healthy", timeout=SOON)
        await press("Escape")
        await expect(card(page, "kitchen")).to_be_focused()
        await press("a")
        await write(third.url)
        await press("Enter")
        await expect(page.locator(".problem")).to_be_visible(timeout=SOON)
        await press("Shift+Tab")
        await write("v")
        await press("Tab")
        await press("Enter")
        await expect(page.locator("#dialog")).to_be_hidden(timeout=SOON)
        await expect(page.locator(".chip", has_text="mistral-small-24b")).to_be_visible(timeout=SOON)
        await press("t")
        await expect(page.locator("#table")).to_be_visible()
        await press("t")
        await press("r")
        await press("?")
        await expect(page.locator("#help")).to_contain_text("Reading the mesh")
        await press("Escape")
        await expect(page.locator("#help")).to_be_hidden()
