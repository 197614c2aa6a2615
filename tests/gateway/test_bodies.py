"""A request body passes byte for byte, except for the value of `model`."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest
from meshlight.gateway.bodies import read_head, with_model

JSON = b"application/json"
FORM = b'multipart/form-data; boundary="----x"'


def form(*parts: tuple[bytes, bytes]) -> bytes:
    pieces = [
        b"------x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n"
        for head, body in parts
    ]
    return b"".join(pieces) + b"------x--\r\n"


def test_model_and_stream_are_read_and_the_rest_is_left_alone() -> None:
    head = read_head(b'{"messages": [{"model": "inner"}], "stream": true, "model": "m", "n": 1e400}', JSON)
    assert (head.model, head.stream, head.store) == ("m", True, False)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not the JSON"),
        (b"[]", "not the JSON"),
        (b'{"model": 7}', "not the JSON"),
        (b'{"model": "m"', "not the JSON"),
        (b'\xef\xbb\xbf{"model": "m"}', "not the JSON"),
        (b'["\\ud83d"]', "not the JSON"),
        (b'{"model": 7, "x": "\\ud83d"}', "not the JSON"),
        (b"\xff\xfe", "not the JSON"),
        (b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b', "model": "m"}', "nested too deeply"),
        (b"{}", "names no model"),
        (b'{"model": null}', "names no model"),
        (b'{"model": ""}', "names no model"),
    ],
)
def test_a_body_that_cannot_be_routed_is_refused_with_the_reason(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_head(body, JSON)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "x": "half an emoji \\ud83d"}',
        b'{"model": "m", "\\ud83d": 1}',
        b'{"model": "m", "temperature": NaN}',
        b'{"model": "m", "stream": "yes", "store": 1}',
        b'{"model": "m", "x": "\xff"}',
    ],
)
def test_what_is_odd_but_can_be_routed_is_the_backends_affair(body: bytes) -> None:
    head = read_head(body, JSON)
    assert (head.model, head.stream, head.store) == ("m", False, False)
    assert with_model(body, JSON, "n") == body.replace(b'"m"', b'"n"')


@pytest.mark.parametrize("filler", [b"x" * 3_000_000, b'\\n\\"[' * 600_000])
def test_a_long_text_costs_no_more_memory_than_it_has(filler: bytes) -> None:
    body = b'{"messages": ["' + filler + b'"], "model": "m"}'
    tracemalloc.start()
    try:
        assert with_model(body, JSON, "n") == body[:-4] + b'"n"}'
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        '{"model": "OLD"}',
        '{ "model"\n:\t"OLD" , "x":1}',
        '{"a":{"model":"OLD"},"b":["model","OLD"],"model":"OLD","z":"\\"model\\":\\"OLD\\""}',
        '{"seed": 12345678901234567890123, "t": 0.10, "model": "OLD", "u": "\\u00e9\\ud83d\\ude00"}',
        '{"model": "OLD", "messages": [{"content": "{\\"model\\": \\"OLD\\"}"}], "e": []}',
    ],
)
def test_only_the_top_level_value_changes(text: str) -> None:
    new = with_model(text.encode(), JSON, 'org/"new":7b').decode()
    expected, actual = json.loads(text), json.loads(new)
    assert actual == expected | {"model": 'org/"new":7b'}
    at = new.index(json.dumps('org/"new":7b'))
    assert new[:at] + '"OLD"' + new[at + len(json.dumps('org/"new":7b')) :] == text


def test_a_key_written_with_escapes_and_a_repeated_key_are_found_too() -> None:
    assert json.loads(with_model(b'{"mod\\u0065l": "a"}', JSON, "b")) == {"model": "b"}
    assert with_model(b'{"model":"a","model":"c"}', JSON, "b") == b'{"model":"b","model":"b"}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=5), st.text(min_size=1), st.booleans())
def test_any_json_body_keeps_everything_else(fields: dict[str, object], model: str, ascii_only: bool) -> None:
    text = json.dumps(fields | {"model": "old"}, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "surrogatepass" if ascii_only else "replace")
    changed = with_model(body, JSON, model.encode("utf-8", "replace").decode())
    kept = json.loads(body)
    assert json.loads(changed) == kept | {"model": model.encode("utf-8", "replace").decode()}


def test_the_model_of_a_form_is_found_among_binary_parts() -> None:
    audio = b'RIFF\x00\xff\r\n\r\nname="model"\r\n'
    body = form((b'name="file"; filename="model"', audio), (b'name="model"', b"whisper"), (b'name="n"', b"1"))
    assert read_head(body, FORM).model == "whisper"
    assert with_model(body, FORM, "large") == body.replace(b"\r\n\r\nwhisper\r\n", b"\r\n\r\nlarge\r\n")


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (form((b'name="file"', b"x")), FORM, "names no model"),
        (b"------x\r\n", FORM, "names no model"),
        (form((b'name="model"', b"")), FORM, "names no model"),
        (form((b'name="model"', b"m")), b"multipart/form-data", "boundary"),
    ],
)
def test_a_form_that_cannot_be_routed_is_refused(body: bytes, content_type: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_head(body, content_type)
