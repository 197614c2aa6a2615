import re
import stat
from pathlib import Path
from shutil import copy

import pytest

from meshlight.storage.node_id import read_node_id


def test_the_id_is_the_same_at_every_start_and_kept_for_this_user(tmp_path: Path) -> None:
    first = read_node_id(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert read_node_id(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "node.id").stat().st_mode) == 0o600


def test_two_nodes_with_the_same_key_have_two_ids(tmp_path: Path) -> None:
    assert read_node_id(tmp_path / "a") != read_node_id(tmp_path / "b")


def test_a_home_that_is_copied_to_another_machine_is_another_node(tmp_path: Path) -> None:
    first = read_node_id(tmp_path / "a", "study")
    (tmp_path / "b").mkdir()
    copy(tmp_path / "a" / "node.id", tmp_path / "b")
    assert read_node_id(tmp_path / "b", "study") == first
    assert read_node_id(tmp_path / "b", "kitchen") != first


@pytest.mark.parametrize("broken", [b"", b"x", b"\xff" * 32, b"0" * 5000])
def test_a_broken_file_is_made_anew(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "node.id").write_bytes(broken)
    assert read_node_id(tmp_path) == read_node_id(tmp_path)
