"""How many values a stranger's JSON has is known before anything is made of it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.backends.kinds import KINDS
from meshlight.domain.errors import TooMuch, TranslationFailed
from meshlight.domain.operations import Operation
from meshlight.gateway.translation import bounds
from meshlight.gateway.translation.bounds import check_answer, check_request, has_more_values
from meshlight.gateway.translation.table import translate

TEXTS = st.text(alphabet='a",[{\\\n', max_size=40)


@pytest.fixture(params=[1, 2, 3, 7, 1 << 18], ids=lambda size: f"windows of {size}")
def windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_WINDOW", request.param + 1)
    monkeypatch.setattr(bounds, "SMALL", 0)


@pytest.mark.usefixtures("windows")
def test_only_values_count_and_not_what_stands_in_texts() -> None:
    @given(st.lists(TEXTS, min_size=1, max_size=9))
    def check(texts: list[str]) -> None:
        data = json.dumps(texts).encode()
        assert not has_more_values(data, len(texts))
        assert has_more_values(data, len(texts) - 1)

    check()


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("data", [b'"', b'"\\', b'["a\\"', b"\\", b'{"a":"\\\\"}', b""])
def test_what_is_no_json_has_an_end_too(data: bytes) -> None:
    assert not has_more_values(data, 10)


@pytest.mark.parametrize(
    "item", [b"[]", b"{}", b"1", b'""', b'{"role":"user","content":""}', b'"a\\"b,c"'], ids=bytes.decode
)
def test_a_body_of_many_small_things_is_refused_and_names_the_way_out(item: bytes) -> None:
    body = b"[" + b",".join([item] * (bounds.VALUES_MAX + 1)) + b"]"
    with pytest.raises(TooMuch, match="more than 100000 values") as caught:
        check_request(body)
    assert caught.value.status == 413
    assert "backend that speaks this protocol" in caught.value.hint
    with pytest.raises(TranslationFailed, match="more than 200000 values"):
        check_answer(body[:-1] + b"," + body[1:])


@pytest.mark.parametrize(
    "operation", ["messages", "messages/count_tokens", "responses", "api/chat", "api/generate", "api/embed"]
)
def test_no_translation_takes_more_bytes_than_are_bearable(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BODY_MAX", 1 << 20)
    with pytest.raises(TooMuch, match="over 1 MB"):
        translate(operation, b" " * ((1 << 20) + 1), "m", KINDS["llamacpp"])
    with pytest.raises(TooMuch, match="more than 100000 values"):
        translate(operation, b'{"input":[' + b"{}," * 100_000 + b"{}]}", "m", KINDS["llamacpp"])


def test_a_long_text_and_a_large_picture_are_one_value_each() -> None:
    body = msgspec.json.encode({"text": 'A "quoted", [long] {text}.\n' * 100_000, "image": "A" * 5_000_000})
    check_request(body)
