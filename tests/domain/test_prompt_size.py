"""How many tokens a prompt has, from its bytes."""

import base64
import json

import pytest

from meshlight.domain.prompt_size import PICTURE_TOKENS, Calibration, estimate


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


def test_a_model_that_counts_otherwise_is_learned_and_nonsense_is_not() -> None:
    calibration = Calibration()
    for _ in range(5):
        calibration.learn(1_000, 1_500)
    calibration.learn(1_000, 9)
    calibration.learn(10, 40)
    calibration.learn(1_000, 100_000)
    assert calibration.tokens(2_000) == 3_000
