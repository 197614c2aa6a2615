"""A request body passes byte for byte, except for the value of `model`."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest, UnsupportedMediaType
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.request import read_head, sent_type, with_model

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
    ("body", "text"),
    [
        (b"", "not the JSON"),
        (b"[]", "not the JSON"),
        (b'{"model": 7}', "not the JSON"),
        (b'{"model": "\xff"}', "not the JSON"),
        (b'{"model": "\\ud83d"}', "not the JSON"),
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
def test_a_body_that_cannot_be_routed_is_refused_with_the_reason(body: bytes, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
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


def test_a_key_written_with_escapes_is_found_too() -> None:
    assert json.loads(with_model(b'{"mod\\u0065l": "a"}', JSON, "b")) == {"model": "b"}


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
    ("body", "content_type", "text"),
    [
        (form((b'name="file"', b"x")), FORM, "names no model"),
        (b"------x\r\n", FORM, "its end is missing"),
        (form((b'name="model"', b"")), FORM, "names no model"),
        (form((b'name="model"', b"m")), b"multipart/form-data", "boundary"),
    ],
)
def test_a_form_that_cannot_be_routed_is_refused(body: bytes, content_type: bytes, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        read_head(body, content_type)


TWO_READINGS = [
    b'{"model":"small","model":"big"}',
    b'{"model":"small","model":"small"}',
    b'{"model":"small","Model":"big"}',
    b'{"MODEL":"big","model":"small"}',
    b'{"model":"small","mod\\u0065l":"big"}',
    b'{"model":"small","\\u004dodel":"big"}',
    b'{"model":"small","model\\u0000x":"big"}',
    b'{"model":"small","mo\\u200bdel":"big"}',
    b'{"model":"small","_model":"big"}',
    b'{"model":"small","mo-del":"big"}',
    b'{"model":"small"," model ":"big"}',
    '{"model":"small","\uff4dodel":"big"}'.encode(),
    b'{"Model":"big"}',
    b'{"model":"small","mod\xffel":"big"}',
    b'{"model":"small","x":NaN,"Model":"big"}',
    b'{"model":"small","x":"\\ud83d","model":"big"}',
    b'{"model":"small","x":[{"a":[1,{"b":2}]}],"Model":{"a":1}}',
    b'{"model":"small","store":true,"store":false}',
    b'{"model":"small","Store":true}',
    '{"model":"small","\u017ftream":true}'.encode(),
    '{"model":"small","\ufb05ore":true}'.encode(),
    b'{"model":"small","stream":true,"str\\u0065am":false}',
]


@pytest.mark.parametrize("body", TWO_READINGS)
@pytest.mark.parametrize("is_guest", [False, True])
def test_a_body_that_two_readers_read_differently_is_refused(body: bytes, is_guest: bool) -> None:
    with pytest.raises(BadRequest, match=r"more than once|some servers read") as caught:
        read_head(body, JSON, is_guest=is_guest)
    assert caught.value.param in {"model", "store", "stream"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"model":"a","model":"b","Model":"c"}]}',
        b'{"model":"m","tools":[{"function":{"parameters":{"properties":{"Model":{}}}}}]}',
        b'{"model":"m","metadata":{"Model":"x"},"models_dir":"/","remodel":1,"model2":1,"":0}',
        b'{"model":"m","user":"\\"Model\\": \\"x\\", \\"model\\"","x":1,"x":2}',
    ],
)
def test_what_is_no_other_model_is_nobodys_business(body: bytes) -> None:
    assert read_head(body, JSON).model == "m"
    assert with_model(body, JSON, "n") == body.replace(b'{"model":"m"', b'{"model":"n"', 1)


@pytest.mark.parametrize(
    "key", ["models", "fallbacks", "Fallback_Models", "api_base", "base-url", "draft_model"]
)
def test_a_peer_names_one_model_and_no_other_place_to_run_it(key: str) -> None:
    body = json.dumps({"model": "small", key: ["big"]}).encode()
    assert read_head(body, JSON).model == "small"
    with pytest.raises(BadRequest, match="not accepted from a peer"):
        read_head(body, JSON, is_guest=True)


@pytest.mark.parametrize("model", ["x" * 641, "/" * 100_000])
def test_a_name_that_is_no_models_is_refused_before_anybody_looks_for_it(model: str) -> None:
    with pytest.raises(BadRequest, match="characters"):
        read_head(json.dumps({"model": model}).encode(), JSON)


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"%d":0' % n for n in range(1_001)) + b',"model":"m"}',
        b"{" + b'"":0,' * 2_000_000 + b'"model":"m"}',
    ],
)
def test_a_body_of_nothing_but_keys_is_refused_and_costs_little(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match="over 1000 fields"):
            read_head(body, JSON)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_body_of_a_million_things_that_is_no_strict_json_is_not_read_by_slower_means() -> None:
    with pytest.raises(BadRequest, match="not the JSON"):
        read_head(b'{"model":"m","x":[' + b"[],{}," * 500_000 + b"NaN]}", JSON)


@pytest.mark.parametrize(
    "operation", ["chat/completions", "messages", "api/chat", "gemini/generateContent", "audio/speech"]
)
def test_a_form_is_taken_where_forms_are_sent_and_nowhere_else(operation: Operation) -> None:
    with pytest.raises(UnsupportedMediaType, match="form"):
        sent_type(FORM, operation)
    with pytest.raises(UnsupportedMediaType):
        sent_type(b"Multipart/Mixed; boundary=x", "audio/transcriptions")
    assert sent_type(FORM, "audio/transcriptions") == FORM


@pytest.mark.parametrize(
    "text",
    [
        b"",
        JSON,
        b"application/json; charset=utf-16",
        b"application/x-www-form-urlencoded",
        b"text/plain",
        b"x",
    ],
)
def test_what_was_read_as_json_is_sent_on_as_json(text: bytes) -> None:
    assert sent_type(text, "chat/completions") == JSON
    assert sent_type(text, "audio/transcriptions") == JSON


def test_json_that_is_called_a_form_is_no_form() -> None:
    with pytest.raises(BadRequest, match="does not begin with its boundary"):
        read_head(b'{"model":"m"}', FORM)
