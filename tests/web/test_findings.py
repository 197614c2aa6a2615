"""The router's panel lists what hurts, each with one thing to do, and nothing from outside is more than text."""

import pytest
from playwright.async_api import Browser, Page, expect

from meshlight.domain.findings import Finding
from web.fake_service import FakeService
from web.page_driver import open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SLOW = Finding(
    kind="slow",
    severity="suffer",
    evidence="<img src=x> on study answers at less than half its usual speed since 14:10.",
    why="It is hot.",
    fix="Look what else runs there.",
    button="check",
    backend="ollama-1",
)
DEMAND = Finding(
    kind="demand",
    severity="suffer",
    evidence="4 wait.",
    why="Few slots.",
    fix="Add.",
    command="meshlight route q",
)


async def open_router(page: Page) -> None:
    await page.locator('[data-key="r"]').first.click()
    await expect(page.locator("#panel-title")).to_have_text("Router")


async def test_findings_are_listed_with_a_button_or_a_command(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    service.findings = [SLOW, DEMAND]
    async with open_fake(browser, service) as page:
        await open_router(page)
        lines = page.locator("#panel .findings li")
        await expect(lines).to_have_count(2)
        await expect(lines.first).to_contain_text(SLOW.evidence)
        await expect(lines.first).to_contain_text("It is hot.")
        assert await page.locator("#panel img").count() == 0
        await lines.first.get_by_role("button", name="Check now").click()
        await expect(lines.first.get_by_role("status")).not_to_be_empty()
        assert ("POST", "/mesh/backends/ollama-1/check", None) in service.asked
        await expect(lines.nth(1).locator("code")).to_have_text("meshlight route q")
        await lines.nth(1).get_by_role("button", name="Copy command").click()
        await expect(lines.nth(1).get_by_role("button")).to_have_text("Copied")


async def test_without_findings_there_is_no_list(browser: Browser) -> None:
    service = FakeService(mesh(10, 60))
    async with open_fake(browser, service) as page, page.expect_response("**/mesh/findings"):
        await open_router(page)
        await expect(page.locator("#panel .findings")).to_be_hidden()
