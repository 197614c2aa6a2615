"""A version with a known fault is told, and only that; the table stays short, and each line has its source."""

import pytest

from meshlight.domain.backend import Kind
from meshlight.domain.engine_faults import FAULTS, fault_of


@pytest.mark.parametrize(
    ("kind", "version", "fixed_in"),
    [
        ("ollama", "0.6.2", "0.6.6"),
        ("ollama", "0.6.6", "0.17.1"),
        ("ollama", "0.17.0-rc1", "0.17.1"),
        ("ollama", "0.17.1", None),
        ("ollama", "1.0", None),
        ("vllm", "0.8.2", None),
        ("vllm", "0.8.3", "0.14.1"),
        ("vllm", "v0.14.0", "0.14.1"),
        ("vllm", "0.14.1", None),
        ("llamacpp", "b6500-1a2b3c4", "b8146"),
        ("llamacpp", "b8146-1a2b3c4", None),
        # Neither another engine, nor what is no version, nor one that somebody built.
        ("lmstudio", "0.6.2", None),
        ("ollama", "", None),
        ("ollama", "rubbish", None),
        ("ollama", "0.0.0", None),
        ("ollama", "9" * 5_000, None),
    ],
)
def test_a_version_has_the_fault_that_the_table_says(kind: Kind, version: str, fixed_in: str | None) -> None:
    fault = fault_of(kind, version)
    assert (fault and fault.fixed_in) == fixed_in


def test_the_table_is_short_and_every_line_has_its_source() -> None:
    assert len(FAULTS) <= 10
    assert all(fault.source.startswith("https://") and fault.since < fault.fixed for fault in FAULTS)
