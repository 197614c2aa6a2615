"""The path of a chat request, as the package's docstring lists it, is short and made of files that exist."""

import re
from pathlib import Path

import meshlight
from meshlight.gateway import inference

ROOT = Path(meshlight.__file__).parent


def test_the_listed_path_of_a_chat_request_is_there() -> None:
    listed = re.findall(r"^ *(\d+)\. `(\w+)/(\w+)`", inference.__doc__ or "", re.MULTILINE)
    assert [int(number) for number, _, _ in listed] == list(range(1, len(listed) + 1))
    assert 10 <= len(listed) <= 14
    for _, folder, name in listed:
        assert any((base / folder / f"{name}.py").is_file() for base in (ROOT, ROOT / "gateway")), name
