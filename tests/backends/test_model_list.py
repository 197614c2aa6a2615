import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.backends.model_list import MODELS_MAX, Listing, read_models, read_tags
from meshlight.domain.backend import MODEL_ID_MAX


def openai(*ids: object) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": i, "object": "model"} for i in ids]}).encode()


def test_the_ids_come_in_the_servers_order_and_each_once() -> None:
    listing = read_models(openai("b", "a", "b", "org/model:7b@q4%"))
    assert listing == Listing(("b", "a", "org/model:7b@q4%"), frozenset(), is_openai=True)


def test_a_bare_array_and_a_null_are_lists_too() -> None:
    assert read_models(b'[{"id": "a"}]') == Listing(("a",))
    assert read_models(b'{"object": "list", "data": null}') == Listing(())
    assert read_tags(b'{"models": null}') == Listing(())


def test_a_small_list_is_decoded_once() -> None:
    body = b'{"object":"list","data":[{"id":"once","object":"model"}]}'
    assert read_models(body) is read_models(bytes(bytearray(body)))


def test_an_empty_list_is_a_list_but_proves_no_api() -> None:
    listing = read_models(openai())
    assert listing is not None
    assert listing.models == ()
    assert not listing.is_openai


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"7",
        b"<html>",
        b'{"data": 7}',
        b'{"data": {"id": "a"}}',
        b'{"error": "no"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_list_is_not_taken_for_one(body: bytes) -> None:
    assert read_models(body) is None
    assert read_tags(body) is None


def test_one_bad_item_does_not_spoil_the_others() -> None:
    body = b'{"data": [{"id": "a"}, 7, null, [], {"id": 5}, {"name": "x"}, {"id": "b"}]}'
    listing = read_models(body)
    assert listing is not None
    assert listing.models == ("a", "b")


def test_ids_that_cannot_be_shown_or_sent_are_dropped() -> None:
    listing = read_models(
        openai("ok", "", "  ", "a\nb", "a\x1b[31m", "a\u202eb", "x" * (MODEL_ID_MAX + 1), "한국어")
    )
    assert listing is not None
    assert listing.models == ("ok", "한국어")


def test_no_more_than_ten_thousand_models_are_kept() -> None:
    listing = read_models(openai(*(f"m{i}" for i in range(MODELS_MAX + 5))))
    assert listing is not None
    assert len(listing.models) == MODELS_MAX


def test_a_bomb_of_empty_items_is_not_unfolded() -> None:
    assert read_models(b'{"data":[' + b"{}," * 2_000_000 + b"{}]}") is None
    assert read_models(b"[" * 1_000_000) is None
    assert read_models(b'{"data":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}") is None


def test_paths_and_arguments_of_a_router_are_not_passed_on() -> None:
    body = b'{"object": "list", "data": [{"id": "a", "object": "model", "owned_by": "llamacpp", "status":'
    body += b' {"value": "unloaded", "args": ["/home/me/llama-server", "--api-key", "sk-1"]}}]}'
    listing = read_models(body)
    assert listing == Listing(("a",), frozenset({"llamacpp"}), is_openai=True)


def test_ollamas_tags_are_read_by_either_of_their_two_names() -> None:
    body = (
        b'{"models": [{"name": "llama3.2:1b", "model": "llama3.2:1b"}, {"model": "qwen3:4b"}, {"name": 5}]}'
    )
    assert read_tags(body) == Listing(("llama3.2:1b", "qwen3:4b"))


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_reading_fail(body: bytes) -> None:
    read_models(body)
    read_tags(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["data", "id", "object"]), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_at_all_makes_reading_fail_or_brings_a_bad_id(value: object) -> None:
    listing = read_models(json.dumps(value).encode())
    for model in listing.models if listing else ():
        assert model.isprintable()
        assert 0 < len(model) <= MODEL_ID_MAX
