from statistics import median as reference

from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.median import median


@given(st.lists(st.integers(-1_000, 1_000).map(lambda eighths: eighths / 8), min_size=1, max_size=30))
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert median(values) == reference(values)
