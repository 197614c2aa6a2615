"""Embeddings are asked for and given in Ollama's two ways."""

import base64
import json
import struct
from typing import Any

import pytest

from gateway.translation.anthropic.requests import JSON, Json, output_of
from gateway.translation.ollama.requests import STILL, answered, sent, ticking
from meshlight.domain.errors import BadRequest, TranslationFailed
from meshlight.gateway.translation import chat as answer_events
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.gateway.translation.ollama.embed import translate_embed, translate_embeddings


def body(**fields: object) -> bytes:
    return json.dumps({"model": "nomic"} | fields).encode()


def embed_back(text: object) -> ResponseTranslator:
    return sent(translate_embed(body(input=text), "tiny", clock=ticking())).back


def vectors(*found: tuple[int, object]) -> bytes:
    listed = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in found]
    return json.dumps({"data": listed, "usage": {"prompt_tokens": 7, "total_tokens": 7}}).encode()


def test_texts_are_asked_about_as_they_are() -> None:
    wishes = {"truncate": True, "keep_alive": "5m", "options": {"num_ctx": 512}}
    made = sent(translate_embed(body(input=["a", "b"], dimensions=64, **wishes), "tiny", clock=STILL))
    assert made.operation == "embeddings"
    wanted: Json = {"model": "tiny", "input": ["a", "b"], "encoding_format": "float"}
    assert json.loads(made.body) == wanted | {"dimensions": 64}
    made = sent(translate_embeddings(body(prompt="a"), "tiny", clock=STILL))
    assert json.loads(made.body) == wanted | {"input": "a"}


def test_embeddings_come_in_the_order_of_their_texts() -> None:
    found = json.loads(
        output_of(embed_back(["a", "b"]), vectors((1, [3, 4.5]), (0, [1, 2])), content_type=JSON)
    )
    assert found == {
        "model": "nomic",
        "embeddings": [[1, 2], [3, 4.5]],
        "total_duration": 1_000_000_000,
        "prompt_eval_count": 7,
    }


def test_base64_is_read_too() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    assert json.loads(output_of(embed_back("a"), vectors((0, packed))))["embeddings"] == [[0.5, -2]]


def test_the_older_way_gives_one() -> None:
    way = sent(translate_embeddings(body(prompt="a"), "tiny", clock=STILL)).back
    assert json.loads(output_of(way, vectors((0, [0.5, 1])))) == {"embedding": [0.5, 1]}


def test_no_text_is_answered_at_once() -> None:
    nothing: tuple[object, ...] = ([], "", None)
    for text in nothing:
        assert answered(translate_embed(body(input=text), "tiny")) == {"model": "nomic", "embeddings": []}
    assert answered(translate_embeddings(body(prompt=""), "tiny")) == {"embedding": []}


@pytest.mark.parametrize(
    "data",
    [
        vectors(),
        vectors((0, "?")),
        vectors((0, "AAA=")),
        vectors((0, ["x"])),
        b"",
        b"<html>",
        b'{"error":"no"}',
    ],
)
def test_what_is_no_embedding_is_a_fault(data: bytes) -> None:
    way = embed_back("a")
    way.begin(JSON)
    way.feed(data)
    with pytest.raises(TranslationFailed):
        way.end()
    assert way.broken("It went away.") is None
    assert json.loads(way.error(400, b'{"detail":"too long"}')) == {"error": "too long"}


def test_there_is_a_limit_to_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_events, "ANSWER_MAX", 10)
    with pytest.raises(TranslationFailed, match="more than"):
        embed_back("a").feed(b" " * 11)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(BadRequest, match="input"):
        translate_embed(body(input=3), "tiny")


@pytest.mark.parametrize(
    "fields", [{"encoding_format": "base64"}, {"user": "me"}, {"options": {"wings": 2, "keep_alive": 0}}]
)
def test_what_ollama_does_not_know_either_is_not_heard(fields: dict[str, Any]) -> None:
    plain = sent(translate_embed(body(input="a"), "tiny"))
    assert sent(translate_embed(body(input="a", **fields), "tiny")).body == plain.body
    assert sent(translate_embeddings(body(prompt="a", **fields), "tiny")).body == plain.body
