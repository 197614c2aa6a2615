import os
import stat
from pathlib import Path

import pytest

from meshlight.domain.config import Runtime
from meshlight.storage.instance import RuntimeFile

RUNTIME = Runtime(url="http://127.0.0.1:6374", pid=42, instance="one", key_file="local.key", version="0.1.0")


def test_what_the_service_writes_is_what_others_read(tmp_path: Path) -> None:
    file = RuntimeFile(tmp_path / "state" / "runtime.json")
    file.write(RUNTIME)
    assert file.read() == RUNTIME
    assert os.name == "nt" or stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"url": 1}', b"\xff\xfe", b"{}"])
def test_a_missing_or_damaged_file_tells_of_no_service(tmp_path: Path, content: bytes | None) -> None:
    file = RuntimeFile(tmp_path / "runtime.json")
    if content is not None:
        file.path.write_bytes(content)
    assert file.read() is None
    assert file.remove("one") is False


def test_a_service_removes_its_own_file(tmp_path: Path) -> None:
    file = RuntimeFile(tmp_path / "runtime.json")
    file.write(RUNTIME)
    assert file.remove("one") is True
    assert not file.path.exists()


def test_a_service_leaves_the_file_of_its_successor(tmp_path: Path) -> None:
    file = RuntimeFile(tmp_path / "runtime.json")
    file.write(RUNTIME)
    assert file.remove("another") is False
    assert file.read() == RUNTIME
