from msgspec.structs import replace

from local_models.fake_engines import GB, FakeEngine, Rig, a_model
from meshlight.domain.config import LocalModelSettings, LocalSettings
from meshlight.domain.local_views import DeviceView
from meshlight.local_models.downloads.starters import TINY
from meshlight.local_models.engines.policy import is_other_file
from meshlight.local_models.engines.slot import Slot
from meshlight.local_models.runners.xllamacpp import parameters


def test_settings_are_matched_by_any_name_of_a_model() -> None:
    rig = Rig(a_model("owner/a:Q4", names=("a",)))
    policy = rig.owner._policy
    policy.follow(
        LocalSettings(models=(LocalModelSettings(id="a", keep=True), LocalModelSettings(id="gone")))
    )
    assert policy.own("owner/a:Q4").keep
    assert [model.id for model in policy.kept()] == ["owner/a:Q4"]
    assert policy.own("other") == LocalModelSettings(id="")
    policy.follow(LocalSettings(enabled=False, models=(LocalModelSettings(id="a", keep=True),)))
    assert policy.kept() == []


def test_a_starter_has_arguments_of_its_own_until_the_user_sets_others() -> None:
    name = TINY.model
    policy = Rig(a_model(name)).owner._policy
    assert policy.own(name).args == TINY.args
    assert parameters(TINY.args)["n_predict"] == 512, "an end, for those who ask for none"
    kept = LocalModelSettings(id=name, keep=True)
    policy.follow(LocalSettings(models=(kept,)))
    assert policy.own(name) == replace(kept, args=TINY.args)
    policy.follow(LocalSettings(models=(replace(kept, args=("--temp", "1")),)))
    assert policy.own(name).args == ("--temp", "1")


def test_how_long_a_model_stays() -> None:
    policy = Rig(a_model("a")).owner._policy
    slot = Slot(a_model("a"))
    assert policy.stays_s(slot) == 900.0
    policy.follow(LocalSettings(idle_s=0.0, models=(LocalModelSettings(id="a", idle_s=5.0),)))
    assert policy.stays_s(slot) == 5.0
    slot.keep_alive_s = 7.0
    assert policy.stays_s(slot) == 7.0
    slot.keep_alive_s = -1.0
    assert policy.stays_s(slot) is None
    policy.follow(LocalSettings(idle_s=0.0))
    slot.keep_alive_s = None
    assert policy.stays_s(slot) is None


async def test_a_need_is_measured_at_the_load_and_only_grows() -> None:
    model = a_model("a", 2, vocabulary=100_000)
    rig = Rig(model)
    policy, slot = rig.owner._policy, Slot(model)
    slot.engine = engine = FakeEngine(model, 4_096, (), rig.starter)
    slot.offer = policy.offers(model)[0]
    policy.measure(slot, has_worked=False)
    assert slot.need_bytes == 0  # not known
    engine.resident = model.size_bytes + 1
    policy.measure(slot, has_worked=False)
    assert slot.need_bytes == engine.resident + 4 * 512 * 100_000  # the scores are still to come
    engine.resident = 3 * GB
    policy.measure(slot, has_worked=True)
    assert slot.need_bytes == policy.need_bytes(model, slot.offer.context) == 3 * GB
    engine.resident = 2 * GB
    policy.measure(slot, has_worked=True)
    assert slot.need_bytes == 3 * GB
    policy.follow_devices([DeviceView(name="gpu", total_bytes=9 * GB, free_bytes=9 * GB)], [slot])
    engine.resident = 9 * GB
    policy.measure(slot, has_worked=True)
    assert slot.need_bytes == 3 * GB


def test_another_file() -> None:
    model = a_model("a")
    assert not is_other_file(model, model)
    assert not is_other_file(a_model("a"), model)
    assert is_other_file(a_model("a", 2), model)
    assert is_other_file(a_model("a", path="elsewhere"), model)
    assert is_other_file(a_model("a", changed_ns=1), model), "one of the same size was put in its place"
