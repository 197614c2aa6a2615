from pathlib import Path

import pytest

from local_models.engines_here import model_at
from meshlight.local_models.runners.llama_cpp import api_name, devices_in, slots_in

LISTING = """\
ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24217 MiB, 23901 MiB free)
  Vulkan1: AMD Radeon (TM) RX (8 GB) (8176 MiB, 100 MiB free)
"""


def test_the_devices_of_a_listing() -> None:
    first, second = devices_in(LISTING)
    assert (first.name, first.total_bytes, first.free_bytes) == (
        "CUDA0: NVIDIA GeForce RTX 4090",
        24217 << 20,
        23901 << 20,
    )
    assert second.name == "Vulkan1: AMD Radeon (TM) RX (8 GB)"
    assert devices_in("Available devices:\n  (none)\n") == ()


def test_a_comma_does_not_split_a_name() -> None:
    assert api_name(model_at(Path("x.gguf"), id="a,b")) == "a_b"


@pytest.mark.parametrize(
    ("args", "slots"),
    [
        ((), 4),
        (("--temp", "0.6"), 4),
        (("-np", "2"), 2),
        (("--parallel=8", "-t", "4"), 8),
        (("-np", "2", "--parallel", "1"), 1),
        (("-np", "-1"), 4),
    ],
)
def test_the_slots_are_four_unless_the_arguments_say_otherwise(args: tuple[str, ...], slots: int) -> None:
    assert slots_in(args) == slots
