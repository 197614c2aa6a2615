from local_models.fake_engines import GB
from meshlight.domain.backend import Reason
from meshlight.local_models.engines import reasons
from meshlight.local_models.engines.eviction import Held, Offer, Room

OFFER = Offer(context=4_096, need_bytes=6 * GB)
ROOM = Room(budget_bytes=10 * GB, max_loaded=3)


def test_kept_models_are_named_cleanly() -> None:
    held = [Held(model=f"\x1b[31m{name}\n", need_bytes=3 * GB, idle_s=1.0, is_kept=True) for name in "ab"]
    why = reasons.no_memory(OFFER, held, ROOM, is_guest=False, is_limited=False, failure=None)
    assert why.text == "Needs 6.0 GB, 4.0 GB can be had: models may take 10.0 GB in all, and a, b are kept."
    assert why.fix == "Unload a, b, use a smaller quantisation or context or close other programs."


def test_a_failed_model_is_told_how_it_can_be_tried() -> None:
    why = reasons.no_memory(
        OFFER, [], ROOM, is_guest=False, is_limited=False, failure=Reason("x", "It broke.")
    )
    assert why.text.endswith("because its last load failed. It broke.")
    assert why.fix == "Load it by hand to try it all the same."


def test_each_format_has_a_runner_to_get() -> None:
    assert "llama.cpp" in reasons.no_runner("gguf").fix
    assert "mlx-lm" in reasons.no_runner("mlx").fix
    assert "vllm" in reasons.no_runner("safetensors").fix


def test_waiting_says_for_whom_and_for_how_long() -> None:
    assert (
        reasons.waiting_for_busy(OFFER, ["a", "b"]).text
        == "Needs 6.0 GB, and waits until a or b has answered."
    )
    assert reasons.making_room([]).text == "Waits until another model has left the memory."
    assert reasons.queue_full(100, 0.2).fix == "Ask again in 1 s."
    paused = reasons.paused(Reason("x", "It broke.", "Mend it."), 61.0)
    assert paused.fix == "Mend it. It is tried again by a request in 1 min, or at once by Load."


def test_the_systems_own_words_are_clean() -> None:
    assert reasons.not_started(OSError(2, "No such\x1b[2J file")).text.endswith("started: No such file.")
    assert reasons.not_started(PermissionError()).text.endswith("PermissionError.")
    assert "30 min" in reasons.too_slow(1_800.0).text
