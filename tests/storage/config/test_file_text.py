import os
import stat
from pathlib import Path

import pytest

from meshlight.domain.errors import ConfigError
from meshlight.storage.config.file import NO_TEXT, read_text


@pytest.mark.parametrize(
    "data",
    [b"port = 1\n", b"\xef\xbb\xbfport = 1\n", b"port = 1\r\nname = 'a'\r\n", "# für Ä\n".encode(), b""],
)
def test_a_file_is_written_back_byte_for_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(data)
    page = read_text(path)
    assert page.data == data
    assert page.encode(page.text) == (data or b"\n")


def test_a_text_from_windows_keeps_its_line_ends_in_what_is_added(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbfport = 1\r\n")
    page = read_text(path)
    assert page.text == "port = 1\n"
    assert page.encode("port = 1\nname = 'a'") == b"\xef\xbb\xbfport = 1\r\nname = 'a'\r\n"


def test_what_is_no_utf8_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"port = 1\nname = '\xe9'\n")
    with pytest.raises(ConfigError) as caught:
        read_text(path)
    assert caught.value.title == "line 2: this is not UTF-8."
    assert caught.value.line == 2


def test_any_change_of_a_file_changes_its_signature(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"a")
    seen = {read_text(path).signature}
    path.write_bytes(b"ab")
    seen.add(read_text(path).signature)
    os.utime(path, (1, 1))
    seen.add(read_text(path).signature)
    other = tmp_path / "other"
    other.write_bytes(b"ab")
    os.utime(other, (1, 1))
    other.replace(path)
    seen.add(read_text(path).signature)
    assert len(seen) == 4
    assert None not in seen
    assert NO_TEXT.signature is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_who_may_read_it_stays_as_the_user_set_it(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"a")
    path.chmod(0o640)
    assert read_text(path).mode == stat.S_IMODE(path.stat().st_mode) == 0o640
