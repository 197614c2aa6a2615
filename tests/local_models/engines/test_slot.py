from local_models.fake_engines import a_model
from meshlight.domain.backend import Reason
from meshlight.local_models.engines.slot import Slot

WHY = Reason("crashed", "It crashed.")


def test_crashes_become_a_failure_when_they_are_frequent() -> None:
    slot = Slot(a_model("a"))
    slot.note_crash(WHY, 0.0)
    assert (slot.is_failed, slot.retry_at) == (False, 5.0)
    slot.note_crash(WHY, 500.0)
    assert (slot.is_failed, slot.retry_at) == (False, 510.0)
    slot.note_crash(WHY, 650.0)
    assert (slot.is_failed, slot.retry_at) == (False, 660.0)
    slot.note_crash(WHY, 660.0)
    assert (slot.is_failed, slot.retry_at, slot.failures) == (True, 690.0, 1)


def test_a_load_forgets_failures_unless_it_has_crashed_lately() -> None:
    slot = Slot(a_model("a"))
    slot.note_failure(WHY, 0.0)
    slot.note_load(10.0)
    assert (slot.failures, slot.failure) == (0, None)
    for at in (20.0, 30.0, 40.0):
        slot.note_crash(WHY, at)
    slot.note_load(80.0)
    assert (slot.is_failed, slot.failures) == (False, 1)
    slot.note_load(700.0)
    assert slot.failures == 0


def test_the_state_that_people_see() -> None:
    slot = Slot(a_model("a"))
    assert [slot.state(is_missing=missing) for missing in (False, True)] == ["on-disk", "missing"]
    slot.note_failure(WHY, 0.0)
    assert slot.state(is_missing=False) == "failed"
    assert slot.reason == WHY
    slot.phase = "stopping"
    assert slot.state(is_missing=True) == "draining"
    assert slot.reason is None


def test_another_file_begins_anew() -> None:
    slot = Slot(a_model("a"))
    slot.note_failure(WHY, 0.0)
    slot.forget_failures()
    assert slot.state(is_missing=False) == "on-disk"
    assert slot.retry_at == 0.0
