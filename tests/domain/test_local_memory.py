from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest
from meshlight.domain.local_memory import (
    MemoryNow,
    budget_bytes,
    contexts_for,
    device_room,
    fit_of,
    measured_need,
    memory_limit,
    need_bytes,
    parse_size,
)
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import DeviceView

GB = 10**9


def a_model(size: int = GB, context_max: int = 131_072, kv: int = 24_576, vocabulary: int = 0) -> LocalModel:
    return LocalModel(
        id="m",
        format="gguf",
        path="m.gguf",
        files=("m.gguf",),
        size_bytes=size,
        store="own",
        context_max=context_max,
        kv_bytes_per_token=kv,
        vocabulary=vocabulary,
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12 GB", 12 * GB),
        ("12GB", 12 * GB),
        (" 11.5 gib ", int(11.5 * 2**30)),
        ("900 MB", 900 * 10**6),
        ("1 T", 10**12),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "12", "GB", "-1 GB", "1e3 GB", "12 GBs", "12 KB", "1,5 GB", "0 GB", "9000 TB", "٣ GB x"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_size(text)
    assert refused.value.param == "memory"
    assert "12 GB" in refused.value.hint


@given(st.text(max_size=60))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with suppress(BadRequest):
        assert 0 < parse_size(text) <= 10**15


def test_auto_is_no_limit() -> None:
    assert memory_limit("auto") is None
    assert memory_limit(" Auto ") is None
    assert memory_limit("8 GB") == 8 * GB


@pytest.mark.parametrize(("context", "projected_mib"), [(4_096, 1_563), (32_768, 2_263), (100_096, 3_906)])
def test_the_need_is_what_llama_cpp_projects(context: int, projected_mib: int) -> None:
    """Its own "projected to use N MiB" for a model of 1.4 GB whose cache takes 24 KiB a token."""
    model = a_model(size=(1_491 - 96) << 20)
    assert need_bytes(model, context) == pytest.approx(projected_mib << 20, rel=0.03)


def test_the_need_counts_a_score_for_each_word_of_the_vocabulary() -> None:
    assert need_bytes(a_model(vocabulary=150_000), 0) - need_bytes(a_model(), 0) == 4 * 512 * 150_000


def test_a_measured_need_is_never_less_than_the_weights() -> None:
    model = a_model(vocabulary=100_000)
    assert measured_need(model, 0, at_most=9 * GB, has_worked=True) == 0
    assert measured_need(model, 1, at_most=9 * GB, has_worked=True) == GB
    assert measured_need(model, 2 * GB, at_most=GB, has_worked=True) == 2 * GB


def test_what_an_engine_takes_later_is_added_to_what_is_measured_at_the_load() -> None:
    model = a_model(vocabulary=100_000)
    assert measured_need(model, 2 * GB, at_most=9 * GB, has_worked=False) == 2 * GB + 204_800_000
    assert measured_need(model, 2 * GB, at_most=int(2.1 * GB), has_worked=False) == int(2.1 * GB)
    assert measured_need(model, 2 * GB, at_most=GB, has_worked=False) == 2 * GB
    grows = LocalModel(id="m", format="mlx", path="m", files=("m",), size_bytes=GB, store="hub")
    assert measured_need(grows, 2 * GB, at_most=3 * GB, has_worked=True) == 3 * GB


def test_the_context_is_the_models_own_setting_then_that_of_all_then_auto() -> None:
    model = a_model(context_max=20_000)
    assert contexts_for(model, "auto") == (16_384, 8_192, 4_096)
    assert contexts_for(model, 50_000) == (20_000,)
    assert contexts_for(model, 2_048) == (2_048,)
    assert contexts_for(model, 2_048, 50_000) == (50_000,)
    assert contexts_for(a_model(context_max=512), "auto") == (512,)
    assert contexts_for(a_model(context_max=0), "auto") == (4_096,)
    assert contexts_for(a_model(context_max=0), 8_192) == (8_192,)


def test_a_device_keeps_a_margin() -> None:
    devices = [
        DeviceView(name=name, total_bytes=24 * GB, free_bytes=free)
        for name, free in (("a", 5 << 30), ("b", 9))
    ]
    assert device_room(devices) == 4 << 30


def test_auto_leaves_something_to_all_else() -> None:
    assert budget_bytes(MemoryNow(16 * GB, 10 * GB), 0, 0, None) == 8 * GB
    assert budget_bytes(MemoryNow(64 * GB, 50 * GB), 0, 0, None) == int(43.6 * GB)
    assert budget_bytes(MemoryNow(16 * GB, 10 * GB), 3 * GB, 4 * GB, None) == 15 * GB
    assert budget_bytes(MemoryNow(4 * GB, GB), 0, 0, None) == 0


def test_apples_graphics_may_use_a_share_of_the_memory() -> None:
    assert budget_bytes(MemoryNow(32 * GB, 31 * GB), 0, 0, None, is_apple=True) == int(32 * GB * 0.66)
    assert budget_bytes(MemoryNow(128 * GB, 126 * GB), 0, 0, None, is_apple=True) == 96 * GB
    assert budget_bytes(MemoryNow(32 * GB, 10 * GB), 0, 0, None, is_apple=True) == int(6.8 * GB)


def test_a_set_budget_is_taken_as_far_as_the_machine_goes() -> None:
    assert budget_bytes(MemoryNow(16 * GB, GB), 0, 0, 12 * GB) == 12 * GB
    assert budget_bytes(MemoryNow(16 * GB, GB), 0, 2 * GB, 99 * GB) == 18 * GB


def test_whether_it_fits() -> None:
    assert fit_of(3, 3, 5) == "now"
    assert fit_of(4, 3, 5) == "after-unloading"
    assert fit_of(6, 3, 5) == "never"
