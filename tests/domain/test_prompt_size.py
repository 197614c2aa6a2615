"""How many tokens a prompt has, from its bytes."""

import base64
import json

import pytest

from meshlight.domain.prompt_size import PICTURE_TOKENS, Calibration, estimate, measure


def body(content: object, *, ascii_only: bool = False) -> bytes:
    request = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return json.dumps(request, ensure_ascii=ascii_only).encode()


@pytest.mark.parametrize(
    ("text", "lowest", "highest"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 100, 900, 1_300),
        ("def f(x):\n    return x + 1\n" * 100, 600, 1_400),
        ("天地玄黄宇宙洪荒" * 100, 500, 1_300),
        ("Съешь же ещё этих мягких французских булок. " * 100, 1_000, 3_000),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "plain"])
def test_scripts_are_counted_as_tokenizers_do(text: str, lowest: int, highest: int, ascii_only: bool) -> None:
    found = estimate(body(text, ascii_only=ascii_only))
    assert lowest <= found <= highest * (2 if ascii_only else 1)


def test_a_picture_counts_as_a_picture_and_not_by_its_bytes() -> None:
    picture = {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{base64.b64encode(bytes(10**6)).decode()}"},
    }
    found = estimate(body([{"type": "text", "text": "What is this?"}, picture]))
    assert PICTURE_TOKENS < found < PICTURE_TOKENS + 100


@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
def test_a_file_in_a_field_of_its_own_counts_as_a_picture_too(slash: str) -> None:
    data = base64.b64encode(bytes(range(256)) * 400).decode().replace("/", slash)
    found = measure(b'{"images":["%b"],"prompt":"What is this?"}' % data.encode())
    assert (found.pictures, found.plain < 100) == (1, True)


def test_a_long_word_is_no_file() -> None:
    assert measure(body("a" * 1_000)).pictures == 0
    assert measure(body("word " * 1_000)).pictures == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("internationalization notwithstanding, " * 100, 600),
        ("Съешь же ещё этих мягких французских булок. " * 100, 1_400),
        ("天地玄黄宇宙洪荒" * 100, 500),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "plain"])
def test_no_tokenizer_counts_less_than_the_fewest(text: str, tokens: int, ascii_only: bool) -> None:
    found = measure(body(text, ascii_only=ascii_only))
    assert found.fewest <= tokens < found.tokens * 1.1
    assert found.fewest > tokens / 4


def test_a_model_that_counts_otherwise_is_learned_and_nonsense_is_not() -> None:
    calibration = Calibration()
    for _ in range(5):
        calibration.learn(1_000, 1_500)
    calibration.learn(1_000, 9)
    calibration.learn(10, 40)
    calibration.learn(1_000, 100_000)
    assert calibration.tokens(2_000) == 3_000
