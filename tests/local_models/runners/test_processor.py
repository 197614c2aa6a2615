from pathlib import Path

import pytest

from meshlight.local_models.runners.processor import has_avx2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu sse avx avx2 bmi\n", True),
        ("flags\t: fpu avx\n", False),
        ("", None),
        ("model: avx2\n", None),
    ],
)
def test_linux_tells_it_among_its_flags(tmp_path: Path, text: str, expected: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_avx2("linux", "x86_64", tmp_path / "cpuinfo") is expected


def test_elsewhere_nothing_is_guessed(tmp_path: Path) -> None:
    assert has_avx2("linux", "aarch64") is None
    assert has_avx2("linux", "x86_64", tmp_path / "absent") is None
    assert has_avx2("sunos", "x86_64") is None
