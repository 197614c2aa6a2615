from pathlib import Path

import pytest

from meshlight.domain.config import DEFAULT_PORT
from meshlight.storage.config.port import written_port


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("port = 6400", 6400),
        ("\ufeffport = 6400\r\n[lan]\r\nport = 1\r\n", 6400),
        ("port = 6400\nnonsense = 1", 6400),
        ("", DEFAULT_PORT),
        ("[lan]\nport = 1", DEFAULT_PORT),
        ("port = true", None),
        ("port = 0", None),
        ("port = 65536", None),
        ("port = '6400'", None),
        ("port = ", None),
        ("port = 6400\nx = " + "[" * 5000, None),
    ],
)
def test_the_port_is_read_without_the_rest(tmp_path: Path, text: str, port: int | None) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8", newline="")
    assert written_port(file) == port


def test_no_file_means_the_usual_port(tmp_path: Path) -> None:
    assert written_port(tmp_path / "config.toml") == DEFAULT_PORT


def test_what_cannot_be_read_names_no_port(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"# \xff")
    assert written_port(tmp_path / "config.toml") is None
    assert written_port(tmp_path) is None
