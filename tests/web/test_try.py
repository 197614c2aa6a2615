"""Try: a model asked from the page, and what comes of it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, FilePayload, Locator, Page, expect

from meshlight.domain.backend import ModelDetail
from web.fake_chat import FakeAnswer
from web.fake_service import FakeService
from web.page_driver import AXE, FRAMES_AT_REST, card, open_fake
from web.sample_mesh import mesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SEES, BLIND = "llama-3.3-70b", "qwen3-32b"
HOSTILE = """<img src=x onerror="window.owned = 1"><script>window.owned = 1</script>
[press me](javascript:window.owned=1) [data](data:text/html,x) [bank](https://bank.example@evil.example/)
**bold** and `code` and [good](https://example.org/a?b=1) https://example.com/end.

# Heading

- one
- two

```html
<script>window.owned = 1</script>
```
"""
PASTE = """([base64]) => { const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  data.items.add(new File([bytes], "shot.png", {type: "image/png"}));
  document.getElementById("try-question").dispatchEvent(
    new ClipboardEvent("paste", {clipboardData: data, bubbles: true})); }"""
CUT_OFF = """() => [...document.querySelectorAll("#try-drawer *")].filter((e) => e.checkVisibility())
  .filter((e) => { const r = e.getBoundingClientRect(); return r.width && r.right > innerWidth + 0.5; })
  .map((e) => e.className || e.tagName)"""

VIOLATIONS = "axe.run(document).then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))"


@asynccontextmanager
async def asking(
    browser: Browser, *answers: FakeAnswer, **how: Any
) -> AsyncIterator[tuple[Page, FakeService]]:
    """Open the page and the drawer on it; models give these answers, one after the other."""
    service = FakeService(mesh(10, 60), tick_s=600)
    first = service.views["llamacpp-0"]
    details = {model: ModelDetail(capabilities=("chat",)) for model in first.models}
    details[SEES] = ModelDetail(loaded=True, capabilities=("chat", "vision"))
    service.views[first.id] = replace(first, details=details)
    service.answers = list(answers)
    async with open_fake(browser, service, **how) as page:
        await page.keyboard.press("c")
        await expect(page.locator("#try-question")).to_be_focused()
        yield page, service


async def ask(page: Page, text: str) -> Locator:
    """Type a question and send it; return the turn of its answer."""
    before = await page.locator(".turn:has(.answer)").count()
    await page.locator("#try-question").fill(text)
    await page.keyboard.press("Enter")
    turn = page.locator(".turn:has(.answer)").nth(before)
    await expect(turn).to_be_visible()
    return turn


def sent(service: FakeService) -> list[dict[str, Any]]:
    """Return the bodies of all that models were asked."""
    return [body for _, path, body in service.asked if path == "/mesh/chat/completions"]


async def test_a_model_is_asked_with_the_keyboard_alone_and_the_path_of_its_answer_is_lit(
    browser: Browser,
) -> None:
    gate = asyncio.Event()
    told = {"x-meshlight-attempts": "2", "x-meshlight-why": "the first choice failed"}
    answers = (
        FakeAnswer(("Hello ", "there."), ("First ", "a thought."), "continuum-5", told, gate=gate),
        FakeAnswer(("Again.",), usage=False),
    )
    async with asking(browser, *answers) as (page, service):
        await page.keyboard.press("Shift+Tab")  # back over the conversation to the field of models
        await page.keyboard.press("Shift+Tab")
        await expect(page.locator("#try-model")).to_be_focused()
        await page.keyboard.type("qwen3-32b")
        await page.keyboard.press("Enter")
        await expect(page.locator("#try-model")).to_have_value(BLIND)
        await page.locator("#try-question").focus()
        await page.keyboard.type("One")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("two")
        await page.keyboard.press("Enter")
        turn = page.locator(".turn:has(.answer)")
        await expect(turn).to_contain_text("Thinking …")
        place = page.locator(f'[data-key="m:continuum-5\\a {BLIND}"]')
        await expect(place).to_have_attribute("aria-current", "true")
        gate.set()
        await expect(turn.locator(".answer")).to_have_text("Hello there.")
        await expect(turn.locator(".thoughts p")).to_be_hidden()
        await turn.locator("summary").press("Enter")
        await expect(turn.locator(".thoughts p")).to_have_text("First a thought.")
        for words in (
            "continuum-berlin answered",
            "after 2 attempts",
            "the first choice failed",
            "42 tokens",
        ):
            await expect(turn.locator(".meta")).to_contain_text(words)
        second = await ask(page, "And now?")
        await expect(second.locator(".answer")).to_have_text("Again.")
        assert [body["model"] for body in sent(service)] == [BLIND, BLIND]
        assert [m["content"] for m in sent(service)[1]["messages"]] == [
            "One\ntwo",
            "Hello there.",
            "And now?",
        ]
        assert await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
        await page.evaluate(FRAMES_AT_REST)
        await page.keyboard.press("Escape")
        await expect(page.locator("#try-drawer")).to_be_hidden()
        await expect(page.locator("#panel")).to_be_hidden()
        await expect(page.locator("#try")).to_be_focused()


async def test_what_a_hostile_model_says_stays_text_and_a_huge_answer_does_not_freeze_the_page(
    browser: Browser,
) -> None:
    huge = "".join(f"`a{n}` **b** " for n in range(160_000))
    async with asking(browser, FakeAnswer((HOSTILE,)), FakeAnswer((huge[:50], huge[50:]))) as (page, _):
        turn = await ask(page, "Attack")
        answer = turn.locator(".answer")
        await expect(turn.locator(".meta")).to_contain_text("answered")
        assert await answer.locator("img, script, iframe").count() == 0
        links = await answer.locator("a").evaluate_all("all => all.map((a) => [a.href, a.rel, a.target])")
        safe = ["noopener noreferrer nofollow", "_blank"]
        assert links == [["https://example.org/a?b=1", *safe], ["https://example.com/end", *safe]]
        await expect(answer).to_contain_text("[press me](javascript:window.owned=1)")
        await expect(answer).to_contain_text("good (example.org)")
        await expect(answer.locator("pre")).to_have_text("<script>window.owned = 1</script>")
        await expect(answer.locator("li")).to_have_text(["one", "two"])
        await expect(answer.locator("h3")).to_have_text("Heading")
        assert await page.evaluate("window.owned") is None

        turn = await ask(page, "A lot")
        await expect(turn.locator(".answer")).to_contain_text("kB more")
        await expect(turn.locator(".meta")).to_contain_text("answered")
        assert len(huge) > 2_000_000
        assert await turn.locator("*").count() < 12_000
        await page.locator("#try-question").fill("still here")
        await expect(page.locator("#try-question")).to_have_value("still here")


async def test_stop_ends_the_request_and_new_forgets_what_was_said(browser: Browser) -> None:
    left = asyncio.Event()
    held = FakeAnswer(("Once upon", " a time"), gate=asyncio.Event(), left=left)
    late = FakeAnswer(("Too", " late"), gate=asyncio.Event(), left=asyncio.Event())
    async with asking(browser, held, late) as (page, service):
        turn = await ask(page, "Tell me a tale")
        await expect(turn.locator(".answer")).to_have_text("Once upon")
        await page.get_by_role("button", name="Stop").click()
        await asyncio.wait_for(left.wait(), 10)
        await expect(turn).to_contain_text("Stopped.")
        await ask(page, "Go on")
        assert [m["role"] for m in sent(service)[1]["messages"]] == ["user", "assistant", "user"]
        await page.get_by_role("button", name="New", exact=True).click()
        await expect(page.locator(".turn")).to_have_count(0)
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        turn = await ask(page, "Hello")
        await expect(turn.locator(".answer")).to_have_text("Hello there.")
        assert [m["content"] for m in sent(service)[2]["messages"]] == ["Hello"]


async def test_errors_come_in_the_words_of_the_service_and_the_question_is_not_lost(browser: Browser) -> None:
    hint = "Start it, then `meshlight refresh`."
    body = {"error": {"message": f"Every route is down. {hint}", "hint": hint, "code": "every_route_down"}}
    answers = (
        FakeAnswer(status=503, body=json.dumps(body).encode()),
        FakeAnswer(("Half",), error={"message": "Ollama broke off."}),
        FakeAnswer(("Half",), ends=False),
        FakeAnswer(body=b'{"choices":[{"message":{"content":"All at once."},"finish_reason":"stop"}]}'),
    )
    async with asking(browser, *answers, expect_errors=True) as (page, _):
        turn = await ask(page, "Are you there?")
        await expect(turn.locator(".problem")).to_have_text(
            "Every route is down. Start it, then meshlight refresh."
        )
        await expect(page.locator("#try-question")).to_have_value("Are you there?")
        turn = await ask(page, "And now?")
        await expect(turn.locator(".problem")).to_have_text("Ollama broke off.")
        await expect(turn.locator(".answer")).to_have_text("Half")
        turn = await ask(page, "And now?")
        await expect(turn.locator(".problem")).to_have_text("The answer broke off before its end.")
        turn = await ask(page, "And now?")
        await expect(turn.locator(".answer")).to_have_text("All at once.")


async def test_images_go_with_a_question_where_the_model_reads_them_and_a_request_is_copied_whole(
    browser: Browser,
) -> None:
    async with asking(browser) as (page, service):
        await page.evaluate(PASTE, [base64.b64encode(PIXEL).decode()])
        await expect(page.locator(".images img")).to_have_count(1)
        await page.locator("#try-drawer .file").set_input_files(
            FilePayload(name="a.png", mimeType="image/png", buffer=PIXEL)
        )
        await expect(page.locator(".images img")).to_have_count(2)
        await page.get_by_role("button", name="Remove image 2").click()
        await page.locator("#try-drawer form summary").click()
        await page.get_by_label("System prompt", exact=True).fill("Be it's brief")
        await page.get_by_label("Temperature").fill("0.5")
        await page.get_by_label("Max tokens").fill("64")
        await ask(page, "What is this?")
        body = sent(service)[0]
        assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 64, True)
        assert body["messages"][0] == {"role": "system", "content": "Be it's brief"}
        kinds = [part["type"] for part in body["messages"][1]["content"]]
        assert kinds == ["text", "image_url"]

        copied: dict[str, str] = {}
        for name in ("curl", "Python", "JavaScript"):
            await page.evaluate("document.execCommand = () => (window.copied = document.activeElement.value)")
            await page.locator(".copies").get_by_role("button", name=name).click()
            copied[name] = await page.evaluate("window.copied")
        assert f"curl -N {service.url}v1/chat/completions" in copied["curl"]
        quoted = copied["curl"].split("-d '", 1)[1].rstrip().removesuffix("'").replace("'\\''", "'")
        assert json.loads(quoted) == body
        compile(copied["Python"], "copied", "exec")
        assert "stream=True," in copied["Python"]
        assert f'baseURL: "{service.url}v1"' in copied["JavaScript"]

        await page.locator("#try-model").click()
        await page.locator("#try-model").fill(BLIND)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Add image").click()
        await expect(page.locator("#try-drawer .message")).to_contain_text(
            "does not say that it reads images"
        )


async def test_it_opens_from_a_model_takes_models_of_the_map_and_gives_way_to_other_details(
    browser: Browser,
) -> None:
    async with asking(browser) as (page, service):
        await page.keyboard.press("Escape")
        await page.locator(f'[data-key="m:llamacpp-0\\a {SEES}"]').click()
        await page.locator("#panel").get_by_role("button", name="Try it").click()
        await expect(page.locator("#try-model")).to_have_value(f"{SEES} on llama.cpp")
        await expect(page.locator("#try-state")).to_have_text("loaded")
        await expect(page.locator("#panel")).to_be_hidden()
        await page.locator(f'[data-key="m:llamacpp-0\\a {BLIND}"]').click()
        await expect(page.locator("#try-model")).to_have_value(f"{BLIND} on llama.cpp")
        await ask(page, "Hello")
        await page.locator("#try-model").click()
        await page.keyboard.type("fast")
        await expect(page.locator("#try-models")).to_contain_text("No model is called that.")
        await page.keyboard.press("Enter")
        await expect(page.locator("#try-state")).to_have_text("not listed")
        await page.evaluate("import('/app/chrome/open.js').then((t) => t.openTry(undefined, 'Now an alias'))")
        await expect(page.locator(".answer")).to_have_count(2)
        assert [body["model"] for body in sent(service)] == [f"llamacpp-0/{BLIND}", "fast"]
        await card(page, "ollama-1").click()
        await expect(page.locator("#try-drawer")).to_be_hidden()
        await expect(page.locator("#panel")).to_contain_text("Ollama")


async def test_nothing_is_cut_off_or_out_of_reach_at_three_sizes(browser: Browser) -> None:
    down = FakeAnswer(status=503, body=b'{"error":{"message":"Down."}}')
    async with asking(browser, FakeAnswer((HOSTILE,), ("Hm.",)), down, expect_errors=True) as (page, _):
        await ask(page, "A question that is long enough to need a second line in the drawer, or even three")
        turn = await ask(page, "Another")
        await expect(turn.locator(".problem")).to_have_text("Down.")
        await page.evaluate(AXE.read_text(encoding="utf-8"))
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            await page.emulate_media(color_scheme=scheme)
            for width, height in ((1440, 900), (900, 600), (420, 800)):
                await page.set_viewport_size({"width": width, "height": height})
                assert await page.evaluate(CUT_OFF) == []
                await page.locator("#try-model").click()
                assert await page.evaluate(CUT_OFF) == []
                if width != 1440:
                    assert await page.evaluate(VIOLATIONS) == []
                await page.keyboard.press("Escape")
