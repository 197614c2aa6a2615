from pathlib import Path

import psutil
import pytest

from local_models.fake_engines import GB, a_model
from meshlight.local_models.engines.memory import SystemMemory, held_bytes


def test_the_machine_tells_its_memory() -> None:
    now = SystemMemory().read()
    assert 0 < now.available_bytes <= now.total_bytes


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 3 kB\n", "\xff"])
def test_where_linux_tells_nothing_readable_the_library_does(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text, "latin-1")
    assert SystemMemory(meminfo=tmp_path / "meminfo").read().total_bytes == psutil.virtual_memory().total
    assert SystemMemory(meminfo=tmp_path / "gone").read().total_bytes == psutil.virtual_memory().total


def test_what_linux_tells_is_in_kilobytes(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:  60 kB\n")
    now = SystemMemory(meminfo=tmp_path / "meminfo").read()
    assert (now.total_bytes, now.available_bytes) == (102_400, 61_440)


def test_only_apple_silicon_shares_its_memory_and_only_linux_counts_mapped_files_as_available() -> None:
    of = [
        SystemMemory(*machine) for machine in (("darwin", "arm64"), ("darwin", "x86_64"), ("linux", "arm64"))
    ]
    assert [memory.is_apple for memory in of] == [True, False, False]
    assert [memory.maps_stay_available for memory in of] == [False, False, True]


def test_mapped_weights_are_not_counted_twice() -> None:
    model = a_model("a", 2)
    assert held_bytes(model, 5 * GB, maps_stay_available=True) == 5 * GB - model.size_bytes
    assert held_bytes(model, GB, maps_stay_available=True) == 0
    assert held_bytes(model, 5 * GB, maps_stay_available=False) == 5 * GB
    assert held_bytes(a_model("m", 2, format="mlx"), 5 * GB, maps_stay_available=True) == 5 * GB
