import msgspec
import pytest

from meshlight.storage.config.parser import describe, is_secret_word, show_path


def test_a_place_is_shown_as_people_write_it() -> None:
    assert show_path(("backends", 1, "ring")) == "backends[1].ring"
    assert show_path(("routing", "aliases", "gpt 4.1")) == 'routing.aliases."gpt 4.1"'


@pytest.mark.parametrize(
    "key", ["api_key", "API-KEY", "token", "password", "x-api-key", "hf_token", "secret"]
)
def test_a_key_that_would_hold_a_secret_is_known_by_its_name(key: str) -> None:
    assert is_secret_word(key)


@pytest.mark.parametrize("key", ["name", "keyboard", "tokens", "monkey", "url"])
def test_a_key_that_only_sounds_like_one_is_not(key: str) -> None:
    assert not is_secret_word(key)


def test_a_value_that_may_be_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    data = {"backends": [{"kind": "sk-canary-0123456789-0123456789"}]}
    place, words = describe("Invalid enum value 'sk-…' - at `$.backends[0].kind`", data)
    assert place == ("backends", 0, "kind")
    assert words.startswith("must be one of llamacpp, ollama")
    assert "canary" not in words


def test_what_has_no_words_of_its_own_is_said_as_it_is() -> None:
    assert describe("Something new - at `$.port`", {"port": 1}) == (("port",), "is wrong: Something new")
    assert describe("Something new", 1) == ((), "is wrong: Something new")


def test_the_messages_of_msgspec_are_still_those_that_are_understood() -> None:
    for data, kind in (({"a": "x"}, dict[str, int]), ([1, "x"], list[int]), ("x", int)):
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(data, kind)
        assert "must be a whole number, not text" in describe(str(caught.value), data)[1]
