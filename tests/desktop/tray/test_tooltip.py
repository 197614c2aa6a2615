import pytest
from msgspec.structs import replace

from desktop.samples import backend, hostile, mesh, scenario
from meshlight.desktop.tray.state import TrayState
from meshlight.desktop.tray.tooltip import fit, light_of, short_reason, tooltip
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.snapshot import Light
from meshlight.domain.text import sanitize

RUNNING = TrayState(service="running", url="http://127.0.0.1:6374")


def paused(view: SnapshotView) -> SnapshotView:
    return replace(view, router=replace(view.router, status="paused"))


def test_one_of_four_down_is_told_with_name_and_reason() -> None:
    view = mesh(backend("a"), backend("b"), backend("c"), backend("vllm", state="unhealthy"), light="amber")
    assert tooltip(view, RUNNING) == "1 of 4 down: vllm — refused, is it running?"


def test_the_others_that_are_down_are_named_too() -> None:
    view = mesh(*(backend(name, state="unhealthy") for name in ("a", "b", "c")), backend("d"), light="amber")
    assert tooltip(view, RUNNING) == "3 of 4 down: a — refused, is it running?; also b, c"


def test_what_is_switched_off_does_not_count() -> None:
    view = mesh(backend("a"), backend("off", state="unhealthy", enabled=False))
    assert tooltip(view, RUNNING) == "a is healthy, 1 model."


def test_a_backend_that_loads_is_told() -> None:
    view = mesh(backend("a"), backend("big", state="warming"), light="amber")
    assert tooltip(view, RUNNING) == "1 of 2 warming up: big — loading a model"


def test_all_well_says_how_many_models_there_are() -> None:
    view = mesh(backend("a", models=("m", "n")), backend("b", models=("n", "o")))
    assert tooltip(view, RUNNING) == "All 2 backends are healthy, 3 models."


def test_grey_gives_the_mesh_s_own_reason() -> None:
    assert tooltip(mesh(light="grey", reason="No backend found yet."), RUNNING) == "No backend found yet."


@pytest.mark.parametrize(
    ("view", "state", "light", "message"),
    [
        (None, TrayState(), "grey", "The service is starting."),
        (scenario(), TrayState(), "grey", "The service is starting."),
        (None, RUNNING, "grey", "The service is starting."),
        (scenario(), TrayState(service="down"), "red", "The service is down and is being restarted."),
        (None, TrayState(service="stopped", message="It died."), "red", "It died."),
        (paused(scenario()), RUNNING, "grey", "Routing is paused."),
        (mesh(backend("a"), light="green"), RUNNING, "green", "a is healthy, 1 model."),
    ],
)
def test_the_icon_follows_the_service_first_and_the_mesh_after_it(
    view: SnapshotView | None, state: TrayState, light: Light, message: str
) -> None:
    assert light_of(view, state) == light
    assert tooltip(view, state) == message


def test_the_mesh_s_own_light_is_shown_as_it_is() -> None:
    lights: tuple[Light, ...] = ("green", "amber", "red", "grey")
    for light in lights:
        assert light_of(mesh(light=light), RUNNING) == light


def test_a_reason_nobody_has_short_words_for_is_told_in_its_own() -> None:
    sick = backend("a", state="unhealthy", text="The cluster's clock is 9 min off.")
    sick = replace(sick, health=replace(sick.health, reason="clock-off"))
    assert short_reason(sick) == "The cluster's clock is 9 min off"


def test_a_healthy_backend_needs_no_reason() -> None:
    assert short_reason(backend("a")) == ""


def test_a_stranger_s_name_stays_on_the_line() -> None:
    message = tooltip(hostile(), RUNNING)
    assert message == sanitize(message)
    assert len(message) < 128


def test_a_backend_without_a_name_is_still_a_backend() -> None:
    assert "(no name)" in tooltip(mesh(backend("a", name="\u200b", state="unhealthy"), light="red"), RUNNING)


def test_windows_gets_no_more_than_it_can_hold() -> None:
    long = "\U0001f980" * 40 + "x" * 100  # each of the crabs takes two units there
    cut = fit(long, 127)
    assert len(cut.encode("utf-16-le")) // 2 <= 127
    assert cut.endswith("x…")
    assert fit("short", 127) == "short"


def test_what_makes_requests_suffer_is_told_while_all_is_up() -> None:
    reason = "qwen on study answers at less than half its usual speed since 14:10."
    assert tooltip(mesh(backend("a"), light="amber", reason=reason), RUNNING) == reason
