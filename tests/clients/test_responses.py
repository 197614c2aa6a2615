"""OpenAI's own client with the Responses API, at engines with chat completions only and at one with both."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from clients.rig import added, openai_at
from clients.scripted import CHAT, chats
from clients.subjects import Way, llama_behind
from faults.raw import RawBackend, chunked, complete
from meshlight.gateway.translation.carried_schema import MessageExtras
from meshlight.gateway.translation.carried_state import call_id
from meshlight.simulator.engine import SimulatedEngine as DemoEngine
from meshlight.simulator.protocols.text import StepGate
from node import IN_ORDER, Node
from real.engines import Engine
from real.tiny_gguf import answer_of

MODEL = "llama-3.2-3b"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
RED = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8Dwn4EIAAAvAAH/"
    "e+1MzgAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def client(node: Node) -> AsyncIterator[AsyncOpenAI]:
    async with openai_at(node) as client:
        yield client


def sent(engine: DemoEngine) -> Any:
    """Return the body of the last request that an engine received."""
    return json.loads([seen for seen in engine.request_log.entries if seen.path == CHAT][-1].body)


async def ask(client: AsyncOpenAI, *, streamed: bool, **fields: Any) -> Any:
    """Request a response; of a stream, return the response in its last event."""
    if not streamed:
        return await client.responses.create(**fields)
    events = [event async for event in await client.responses.create(stream=True, **fields)]
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    return events[-1].response


@pytest.mark.real
@pytest.mark.parametrize("way", ["native", "translated"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_loop_of_tools_at_a_real_llama_server(
    node: Node, client: AsyncOpenAI, llama: Engine, way: Way, streamed: bool
) -> None:
    async with llama_behind(node, llama, way) as plain:
        items: list[Any] = [{"role": "user", "content": "What is the weather in Seoul?"}]
        asked = {"model": "tiny-a", "tools": [WEATHER], "store": False}
        for degrees in (21, 22):
            response = await ask(client, streamed=streamed, input=items, **asked)
            call = next(item for item in response.output if item.type == "function_call")
            assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Seoul"})
            items += [item.model_dump(exclude_none=True) for item in response.output]
            items += [
                {"type": "function_call_output", "call_id": call.call_id, "output": f"{degrees} degrees"}
            ]
            response = await ask(client, streamed=streamed, input=items, **asked)
            assert response.output_text == answer_of("tiny-a")
            assert response.usage.output_tokens > 0
            items += [item.model_dump(exclude_none=True) for item in response.output]
            items += [{"role": "user", "content": "And tomorrow?"}]
        if plain is not None:
            assert {line for line in plain.lines if line.startswith("POST")} == {f"POST {CHAT} HTTP/1.1"}


@pytest.mark.real
async def test_a_real_mlx_server_answers_and_is_cut_where_it_was_asked(
    node: Node, client: AsyncOpenAI, mlx: Engine
) -> None:
    await added(node, "mlx", mlx.url)
    stream = await client.responses.create(
        model=mlx.model, input="the quick", max_output_tokens=16, stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert len([event for event in events if event.type == "response.output_text.delta"]) > 5
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 16


@pytest.mark.real
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_keeps_to_a_schema(
    node: Node, client: AsyncOpenAI, llama: Engine, streamed: bool
) -> None:
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
    async with llama_behind(node, llama, "translated"):
        response = await ask(
            client, streamed=streamed, model="tiny-a", input="Yes?", text=form, max_output_tokens=200
        )
    if response.status == "completed":  # the tiny model's blanks are legal and may go on to the limit
        assert set(json.loads(response.output_text)) == {"yes"}
    else:
        assert response.output_text.lstrip().startswith("{") or not response.output_text.strip()


@pytest.mark.parametrize("dialect", ["mlx", "openai"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_goes_on_by_the_id_of_the_response_before(
    node: Node, client: AsyncOpenAI, dialect: Any, streamed: bool
) -> None:
    async with DemoEngine(dialect) as engine:
        await added(node, engine.kind, engine.url)
        await engine.fault("status", status=404, paths=("/v1/responses",))
        first = await ask(client, streamed=streamed, model=MODEL, input="my tool, please", tools=[WEATHER])
        call = first.output[0]
        second = await ask(
            client,
            streamed=streamed,
            model=MODEL,
            tools=[WEATHER],
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "3"}],
        )
        third = await ask(
            client, streamed=streamed, model=MODEL, input="thanks", previous_response_id=second.id
        )
        turns = sent(engine)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "assistant", "user"]
    assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"] == call.call_id
    assert turns[3]["content"] == second.output_text
    assert third.previous_response_id == second.id
    assert (await client.responses.retrieve(second.id)).output_text == second.output_text
    await client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        await client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError, match="not found") as gone:
        await client.responses.create(model=MODEL, input="?", previous_response_id=third.id)
    assert (gone.value.code, gone.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_a_picture_and_its_question_reach_the_engine(node: Node, client: AsyncOpenAI) -> None:
    async with DemoEngine("mlx") as engine:
        await added(node, "mlx", engine.url)
        parts: Any = [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": RED, "detail": "auto"},
        ]
        await client.responses.create(model=MODEL, input=[{"role": "user", "content": parts}])
        shown = sent(engine)["messages"][0]["content"]
    assert shown[1] == {"type": "image_url", "image_url": {"url": RED}}


async def test_what_was_left_out_is_named_in_a_header(node: Node, client: AsyncOpenAI) -> None:
    async with DemoEngine("mlx") as engine:
        await added(node, "mlx", engine.url)
        raw = await client.responses.with_raw_response.create(
            model=MODEL, input="hi", tools=[{"type": "web_search"}], extra_body={"brand\r\nnew": 1}
        )
        assert raw.headers["x-meshlight-dropped"] == "brand??new, tools[0] (web_search)"
        plain = await client.responses.with_raw_response.create(model=MODEL, input="hi")
        assert "x-meshlight-dropped" not in plain.headers
        with pytest.raises(openai.BadRequestError, match=r"'file_search'.*runs at OpenAI") as refused:
            await client.responses.create(
                model=MODEL, input="hi", tools=[{"type": "file_search", "vector_store_ids": ["v"]}]
            )
    assert refused.value.code == "untranslatable"


async def test_an_engine_without_the_path_is_asked_for_it_once(node: Node, client: AsyncOpenAI) -> None:
    async with DemoEngine("vllm") as engine:
        await engine.fault("status", status=404, paths=("/v1/responses",))
        await added(node, "vllm", engine.url)
        for _ in range(2):
            assert (await client.responses.create(model=MODEL, input="hi")).output_text
        posts = [seen.path for seen in engine.request_log.entries if seen.method == "POST"]
    assert posts == ["/v1/responses", CHAT, CHAT]


async def test_an_engine_with_the_path_gets_the_request_as_it_is_and_what_began_elsewhere_whole(
    node: Node, client: AsyncOpenAI
) -> None:
    async with DemoEngine("mlx", models=["small"]) as mlx, DemoEngine("vllm") as vllm:
        await added(node, "mlx", mlx.url)
        await added(node, "vllm", vllm.url)
        first = await client.responses.create(model="small", input="one")
        await client.responses.create(model=MODEL, input="two", previous_response_id=first.id)
        body = json.loads([seen for seen in vllm.request_log.entries if seen.method == "POST"][-1].body)
        assert "previous_response_id" not in body
        assert [item["role"] for item in body["input"]] == ["user", "assistant", "user"]
        await client.responses.create(model=MODEL, input="two", extra_body={"top_k": 1})
        body = json.loads([seen for seen in vllm.request_log.entries if seen.method == "POST"][-1].body)
    assert body == {"model": MODEL, "input": "two", "top_k": 1}


async def test_a_client_that_leaves_lets_go_of_the_backend_and_nothing_is_kept(
    node: Node, client: AsyncOpenAI
) -> None:
    async with DemoEngine("mlx", speed=1, pace=StepGate()) as engine:
        await added(node, "mlx", engine.url)
        stream = await client.responses.create(model=MODEL, input="COUNT", stream=True)
        response_id = ""
        async for event in stream:
            if event.type == "response.created":
                response_id = event.response.id
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await engine.abandoned(1, CHAT)
        shown = await node.backend("mlx")
    assert (shown["requests"]["cancelled"], shown["health"]["state"]) == (1, "healthy")
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response_id)


async def test_an_error_before_the_first_event_is_one_of_openai_s_classes(
    node: Node, client: AsyncOpenAI
) -> None:
    async with DemoEngine("mlx") as engine:
        await added(node, "mlx", engine.url)
        await engine.fault("status", status=400, paths=(CHAT,))
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model=MODEL, input="hi", stream=True)


PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
FAULT = b'data: {"error":{"message":"slot lost"}}\n\n'


async def test_an_error_in_place_of_the_first_event_lets_another_backend_answer(tmp_path: Path) -> None:
    say = chats(*chunked(FAULT))
    async with (
        RawBackend("a", respond=say) as raw,
        DemoEngine("mlx", "b", models=["m"]) as engine,
        Node(tmp_path, [raw, engine], IN_ORDER) as node,
        openai_at(node) as client,
    ):
        async with client.responses.stream(model="m", input="hi") as stream:
            said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            assert (await stream.get_final_response()).output_text == "".join(said) != ""
        assert [asked.target for asked in raw.posts] == ["/v1/responses", CHAT]


async def test_an_error_after_the_first_event_fails_the_response(tmp_path: Path) -> None:
    say = chats(*chunked(PIECE, FAULT))
    async with (
        RawBackend("a", respond=say) as raw,
        Node(tmp_path, [raw]) as node,
        openai_at(node) as client,
    ):
        events = [event async for event in await client.responses.create(model="m", input="hi", stream=True)]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "slot lost" in last.response.error.message


async def test_thoughts_of_a_model_are_read_and_come_back_to_it(tmp_path: Path) -> None:
    message = b'{"role":"assistant","content":"yes","reasoning":"Hm."}'
    body = b'{"choices":[{"message":%s,"finish_reason":"stop"}]}' % message
    say = chats(complete(body, b"content-type: application/json"))
    async with (
        RawBackend("a", respond=say) as raw,
        Node(tmp_path, [raw]) as node,
        openai_at(node) as client,
    ):
        first = await client.responses.create(
            model="m", input="hi", include=["reasoning.encrypted_content"], store=False
        )
        items: list[Any] = [item.model_dump(exclude_none=True) for item in first.output]
        assert [item["type"] for item in items] == ["reasoning", "message"]
        asked: list[Any] = [{"role": "user", "content": "hi"}, *items, {"role": "user", "content": "so?"}]
        await client.responses.create(model="m", input=asked, store=False)
        turns = json.loads(raw.posts[-1].body)["messages"]
    assert turns[1] == {"role": "assistant", "content": "yes", "reasoning_content": "Hm."}


@pytest.mark.parametrize("status", [400, 422])
async def test_what_an_engine_s_own_responses_do_not_read_is_translated_each_time(
    node: Node, client: AsyncOpenAI, status: int
) -> None:
    async with DemoEngine("vllm") as engine:
        await added(node, "vllm", engine.url)
        await engine.fault("status", status=status, paths=("/v1/responses",), count=2)
        for _ in range(3):
            assert (await client.responses.create(model=MODEL, input="hi", store=True)).output_text
        posts = [seen.path for seen in engine.request_log.entries if seen.method == "POST"]
        shown = await node.backend("vllm")
    assert posts == ["/v1/responses", CHAT, "/v1/responses", CHAT, "/v1/responses"]
    assert shown["health"]["state"] == "healthy"


async def test_what_neither_of_its_protocols_takes_is_refused_in_the_engine_s_words(
    node: Node, client: AsyncOpenAI
) -> None:
    async with DemoEngine("vllm") as engine:
        await added(node, "vllm", engine.url)
        await engine.fault("status", status=400, paths=("/v1/responses", CHAT))
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model=MODEL, input="hi")
        shown = await node.backend("vllm")
    assert refused.value.response.headers["x-meshlight-backend"] == "vllm"
    assert shown["health"]["state"] == "healthy"


@pytest.mark.real
@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "of-another"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x"},
    ],
)
async def test_a_real_llama_server_answers_what_codex_has_in_its_history(
    node: Node, client: AsyncOpenAI, llama: Engine, item: Any
) -> None:
    async with llama_behind(node, llama, "native"):
        said: Any = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ok"}],
        }
        turns: list[Any] = [
            {"role": "user", "content": "hi"},
            item,
            said,
            {"role": "user", "content": "and?"},
        ]
        response = await ask(client, streamed=True, model="tiny-a", input=turns, store=False)
    assert response.output_text == answer_of("tiny-a")


@pytest.mark.real
@pytest.mark.parametrize("way", ["native", "translated"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_real_llama_server_goes_on_by_the_id_of_the_response_before(
    node: Node, client: AsyncOpenAI, llama: Engine, way: Way, streamed: bool
) -> None:
    async with llama_behind(node, llama, way):
        first = await ask(client, streamed=streamed, model="tiny-a", input="weather?", tools=[WEATHER])
        call = next(item for item in first.output if item.type == "function_call")
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
        second = await ask(
            client, streamed=streamed, model="tiny-a", input=[result], previous_response_id=first.id
        )
        assert second.output_text == answer_of("tiny-a")
        third = await ask(
            client, streamed=streamed, model="tiny-a", input="thanks", previous_response_id=second.id
        )
        assert third.output_text == answer_of("tiny-a")
        assert third.usage.input_tokens > second.usage.input_tokens
        assert (await client.responses.retrieve(second.id)).output_text == second.output_text


async def test_a_conversation_moves_on_to_another_engine(node: Node, client: AsyncOpenAI) -> None:
    async with DemoEngine("vllm", models=["large"]) as vllm, DemoEngine("mlx", models=["small"]) as mlx:
        await added(node, "vllm", vllm.url)
        await added(node, "mlx", mlx.url)
        first = await ask(client, streamed=True, model="large", input="one")
        await client.responses.create(model="small", input="two", previous_response_id=first.id)
        turns = sent(mlx)["messages"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "one"),
        ("assistant", first.output_text),
        ("user", "two"),
    ]


async def test_what_is_not_to_be_stored_is_kept_nowhere(node: Node, client: AsyncOpenAI) -> None:
    async with DemoEngine("vllm") as engine:
        await added(node, "vllm", engine.url)
        response = await client.responses.create(model=MODEL, input="hi", store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)


async def test_an_engine_with_the_path_knows_calls_by_the_ids_that_were_given(
    node: Node, client: AsyncOpenAI
) -> None:
    told = call_id("call_1", {"google": {"thought_signature": "x"}}, MessageExtras())
    turns: list[Any] = [
        {"type": "function_call", "call_id": told, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": told, "output": "3"},
    ]
    async with DemoEngine("vllm") as engine:
        await added(node, "vllm", engine.url)
        await client.responses.create(model=MODEL, input=turns)
        body = json.loads([seen for seen in engine.request_log.entries if seen.method == "POST"][-1].body)
    assert [item["call_id"] for item in body["input"]] == ["call_1", "call_1"]
