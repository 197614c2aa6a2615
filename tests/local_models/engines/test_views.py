from local_models.fake_engines import GB, Rig, a_model
from meshlight.domain.config import LocalModelSettings
from meshlight.local_models.engines.slot import Slot
from meshlight.local_models.engines.views import DiskViews, with_engine


def test_a_view_has_no_path_and_says_what_it_would_get() -> None:
    model = a_model(
        "a", 4, path="/secret/a.gguf", quantization="Q4_K_M", parameters="1.7B", purpose="embedding"
    )
    rig = Rig(model)
    rig.follow(LocalModelSettings(id="a", keep=True, hidden=True))
    policy = rig.owner._policy
    view = DiskViews(policy).view(model, 10 * GB, 10 * GB, "llama.cpp")
    assert "secret" not in repr(view)
    assert (view.keep, view.hidden, view.can_delete) == (True, True, True)
    assert (view.need_bytes, view.context, view.fits) == (4 * GB, 4_096, "now")
    assert (view.quantization, view.parameters, view.purpose) == ("Q4_K_M", "1.7B", "embedding")


async def test_a_guessed_progress_stays_below_the_end() -> None:
    model = a_model("a")
    rig = Rig(model)
    policy, slot = rig.owner._policy, Slot(model)
    policy.records.keep_load(model, 10.0)
    slot.phase, slot.began_at = "loading", rig.clock.now
    view = DiskViews(policy).view(model, 10 * GB, 10 * GB, "llama.cpp")
    assert with_engine(view, slot, policy, rig.clock).progress == 0.0
    rig.clock.pass_time(5.0)
    assert with_engine(view, slot, policy, rig.clock).progress == 0.5
    rig.clock.pass_time(500.0)
    assert with_engine(view, slot, policy, rig.clock).progress == 0.95


def test_a_view_is_made_anew_only_when_something_has_changed() -> None:
    model = a_model("a", 4)
    policy = Rig(model).owner._policy
    views = DiskViews(policy)
    first = views.view(model, 10 * GB, 10 * GB, "llama.cpp")
    assert views.view(model, 9 * GB, 10 * GB, "llama.cpp") is first
    assert views.view(model, 3 * GB, 10 * GB, "llama.cpp").fits == "after-unloading"
    assert views.view(model, 9 * GB, 10 * GB, "").runner == ""
    policy.records.keep_load(model, 2.0)
    assert views.view(model, 9 * GB, 10 * GB, "").load_s == 2.0
    views.clear()
    assert views.view(model, 10 * GB, 10 * GB, "llama.cpp") is not first
