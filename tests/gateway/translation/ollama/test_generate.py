"""A generate of Ollama's API is a chat of one message, or a completion where the prompt must stay as it is."""

import json
from typing import Any

import pytest

from gateway.translation.anthropic.requests import JSON, Json, chunk, completion, output_of, stream
from gateway.translation.ollama.requests import (
    MADE_AT,
    PNG,
    STILL,
    answered,
    generate_back,
    generate_body,
    lines,
    sent,
)
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.ollama.generate import translate_generate

TAIL = {"stream": True, "stream_options": {"include_usage": True}}


def asked(*, extensions: bool = True, **fields: Any) -> tuple[str, Json]:
    made = sent(translate_generate(generate_body(**fields), "tiny", extensions=extensions, clock=STILL))
    return made.operation, json.loads(made.body)


def test_a_prompt_with_its_system_becomes_a_chat() -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
    wanted = {"model": "tiny", "messages": messages, "temperature": 0}
    assert asked(system="Be short.", options={"temperature": 0}, context=[], template="") == (
        "chat/completions",
        wanted | TAIL,
    )


def test_pictures_go_with_the_prompt() -> None:
    _, found = asked(images=[PNG])
    assert [part["type"] for part in found["messages"][0]["content"]] == ["text", "image_url"]


def test_a_raw_prompt_becomes_a_completion() -> None:
    wanted = {"model": "tiny", "prompt": "Hi", "max_tokens": 5} | TAIL
    assert asked(raw=True, options={"num_predict": 5}) == ("completions", wanted)


def test_a_suffix_becomes_a_completion_with_a_suffix() -> None:
    operation, found = asked(
        suffix="}", prompt="", stream=False, extensions=False, options={"num_predict": 5}
    )
    assert operation == "completions"
    assert found == {"model": "tiny", "prompt": "", "suffix": "}", "max_tokens": 5}


@pytest.mark.parametrize(
    "fields",
    [
        {"context": [1, 2]},
        {"template": "{{ .Prompt }}"},
        {"width": 64},
        {"_debug_render_only": True},
        {"raw": True, "images": [PNG]},
        {"raw": True, "think": True},
        {"raw": True, "logprobs": True},
        {"suffix": "}", "system": "Be short."},
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(Untranslatable) as caught:
        asked(**fields)
    assert caught.value.param == list(fields)[-1]


def test_a_system_message_has_no_place_in_a_raw_prompt() -> None:
    with pytest.raises(BadRequest, match="raw prompt"):
        asked(raw=True, system="Be short.")


def test_a_format_of_a_raw_prompt_is_an_extension() -> None:
    assert asked(raw=True, format="json")[1]["response_format"] == {"type": "json_object"}
    with pytest.raises(Untranslatable, match="format"):
        asked(raw=True, format="json", extensions=False)


def test_an_empty_prompt_means_load() -> None:
    found = answered(translate_generate(generate_body(prompt=""), "tiny", clock=STILL))
    assert found == {
        "model": "llama3",
        "created_at": MADE_AT,
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    with pytest.raises(Untranslatable, match="unload"):
        translate_generate(generate_body(prompt="", keep_alive=0), "tiny")


def test_a_chat_is_told_as_a_generate() -> None:
    data = stream(
        chunk({"reasoning": "Hm."}), chunk({"content": "A"}), chunk({"content": "B"}), chunk({}, "stop")
    )
    found = lines(output_of(generate_back(), data))
    assert [line["response"] for line in found] == ["", "A", "B", ""]
    assert found[0]["thinking"] == "Hm."
    assert found[-1]["done_reason"] == "stop"


def test_a_completion_is_told_as_a_generate() -> None:
    pieces = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in "AB"]
    end = {
        "choices": [{"index": 0, "text": "", "finish_reason": "length"}],
        "usage": {"completion_tokens": 2},
    }
    found = lines(output_of(generate_back(raw=True), stream(*pieces, end)))
    assert [line["response"] for line in found] == ["A", "B", ""]
    assert (found[-1]["done_reason"], found[-1]["eval_count"]) == ("length", 2)


def test_without_a_stream_it_is_one_object() -> None:
    found = json.loads(
        output_of(generate_back(stream=False), completion({"content": "AB"}), content_type=JSON)
    )
    assert found == {
        "model": "llama3",
        "created_at": MADE_AT,
        "response": "AB",
        "done": True,
        "done_reason": "stop",
    }
