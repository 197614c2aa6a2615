"""What is wrong with the settings of this machine's models, as the end of a sentence."""

import pytest

from meshlight.domain.local_settings import args_fault, memory_fault


@pytest.mark.parametrize("text", ["auto", "12 GB", "11.5GiB", "900 MB"])
def test_an_amount_of_memory_is_auto_or_a_size(text: str) -> None:
    assert memory_fault(text) is None


@pytest.mark.parametrize("text", ["", "much", "12", "-1 GB", "0 GB", "12 GB or so"])
def test_all_else_is_none(text: str) -> None:
    assert memory_fault(text) == 'must be "auto" or a size such as "12 GB"'


def test_arguments_that_no_engine_may_get_are_named_with_the_reason() -> None:
    assert args_fault(("--temp", "0.6")) is None
    fault = args_fault(("--host", "0.0.0.0"))
    assert fault is not None
    assert fault.startswith("can't be used: --host can't be set")
