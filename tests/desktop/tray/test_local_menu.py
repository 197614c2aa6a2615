from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from desktop.own_models import QWEN, SMOL, download, everything, failed, loaded, local, model
from desktop.samples import backend, mesh
from meshlight.desktop.tray.local_menu import idle_text, local_menu, next_change_s
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action, Item
from meshlight.desktop.tray.state import TrayState
from meshlight.domain.backend import Reason
from meshlight.domain.local_views import LocalView
from meshlight.domain.text import sanitize, width

NASTY = "\x1b[31mred\x1b[0m \u202egnp.exe\u2066 z\u200bw \r\nnext" + "x" * 200
MESH = mesh(backend("box"))


def lines(view: LocalView | None, later_s: float = 0.0) -> tuple[Item, ...]:
    """The lines below "This machine"; none where there is no such entry."""
    state = TrayState(service="running", local=view, local_age_s=later_s)
    return next((item.items for item in menu(MESH, state) if item.key == "local"), ())


def texts(items: tuple[Item, ...]) -> list[str]:
    return [item.text for item in items if not item.is_separator]


def walk(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from walk(item.items)


def test_the_entry_lists_what_is_loaded_what_could_be_and_downloads() -> None:
    shown = lines(everything())
    assert texts(shown) == [
        "● Qwen3-8B-GGUF:Q4_K_M, 6.2 GB, idle 3 min",
        "● tiny, 300 MB, in use",
        "◐ mistral-small, loading 40 %",
        "✖ llama-3.2-3b: The file is incomplete.",
        "Load",
        "Free memory",
        "↓ Qwen3-4B-GGUF:Q4_K_M, 48 %",
        "Open in mesh",
    ]
    [load] = [item for item in shown if item.key == "load"]
    assert [(item.text, item.action) for item in load.items] == [
        ("bge-small-en-v1.5-q8_0, 150 MB", Action("load", "bge-small-en-v1.5-q8_0")),
        (f"{SMOL}, 245 MB", Action("load", SMOL)),
    ]


def test_a_loaded_model_can_be_unloaded_and_kept() -> None:
    kept, other = lines(local(loaded(keep=True), loaded("b")))[:2]
    assert [(item.text, item.action, item.checked) for item in (*kept.items, *other.items)] == [
        ("Unload", Action("unload", QWEN), None),
        ("Keep loaded", Action("release", QWEN), True),
        ("Unload", Action("unload", "b"), None),
        ("Keep loaded", Action("keep", "b"), False),
    ]


def test_models_that_load_wait_unload_or_failed_say_so() -> None:
    shown = lines(
        local(
            model("a", state="loading"),
            model("b", state="waiting"),
            model("c", state="draining"),
            failed("d"),
            model("e", state="missing"),
        )
    )
    assert texts(shown)[:4] == [
        "◐ c, unloading",
        "◐ a, loading",
        "◐ b, waiting for memory",
        "✖ d: The file is incomplete.",
    ]
    actions = [[item.action for item in one.items] for one in shown[:4]]
    assert actions[0] == []
    assert actions[1][0] == Action("unload", "a")
    assert actions[3] == [Action("load", "d")]


def test_memory_is_freed_by_unloading_what_is_idle_and_not_kept() -> None:
    def free(view: LocalView) -> tuple[str, bool]:
        item = next(item for item in lines(view) if item.key == "free")
        return item.text, item.action == Action("free-memory")

    assert free(local(loaded("a"), loaded("b", keep=True))) == ("Free memory (6.2 GB)", True)
    assert free(local(loaded("a", in_flight=1))) == ("Free memory", False)
    assert texts(lines(local(model())))[0] == "No model is loaded"


def test_a_download_is_paused_resumed_and_cancelled() -> None:
    def shown(**changes: object) -> tuple[str, list[Action | None]]:
        item = next(i for i in lines(local(downloads=(download(**changes),))) if "download" in i.key)
        return item.text, [one.action for one in item.items]

    cancel = Action("cancel-download", "d1")
    assert shown() == ("↓ Qwen3-4B-GGUF:Q4_K_M, 48 %", [Action("pause-download", "d1"), cancel])
    assert shown(state="paused") == (
        "↓ Qwen3-4B-GGUF:Q4_K_M, paused",
        [Action("resume-download", "d1"), cancel],
    )
    assert shown(state="checking", name="starter") == ("↓ starter, checking", [cancel])
    full = Reason("disk", "The disk is full.")
    assert shown(state="failed", name="starter", reason=full)[0] == "✖ starter: The disk is full."
    broken = lines(local(downloads=(download(state="failed", reason=full),)))
    assert texts(next(i for i in broken if "download" in i.key).items) == ["Try again", "Dismiss"]
    assert lines(local(downloads=(download(state="done"),))) == ()


def test_only_those_who_have_no_model_at_all_are_offered_one() -> None:
    empty = mesh()
    [offer] = local_menu(local(), empty)
    assert (offer.text, offer.action) == ("Get a starter model (98 MB)", Action("pull", "starter"))
    assert local_menu(local(), MESH) == []
    assert local_menu(local(can_run=False, can_start=False), empty) == []
    assert local_menu(local(starters=()), empty) == []
    assert local_menu(local(enabled=False), empty) == []
    assert local_menu(None, empty) == []


def test_while_the_service_is_down_there_is_no_such_entry() -> None:
    assert "local" not in [item.key for item in menu(MESH, TrayState(service="down", local=everything()))]


def test_many_models_make_no_menu_taller_than_the_screen() -> None:
    many = local(
        *(loaded(f"a{n}") for n in range(20)),
        *(model(f"b{n}") for n in range(40)),
        model("hidden", hidden=True),
        downloads=tuple(download(id=f"d{n}") for n in range(20)),
    )
    shown = lines(many)
    assert len(shown) < 30
    [load] = [item for item in shown if item.key == "load"]
    assert len(load.items) == 16
    assert [item.text for item in walk(shown) if "more" in item.text] == ["8 more models…", "25 more models…"]
    keys = [item.key for item in shown]
    assert len(keys) == len(set(keys))


def test_names_of_strangers_keep_to_their_line_and_their_length() -> None:
    reason = Reason("x", NASTY)
    hostile = local(
        loaded(NASTY),
        model(f"b{NASTY}"),
        model(f"c{NASTY}", state="failed", reason=reason),
        downloads=(download(name=NASTY), download(id="d2", name=NASTY, state="failed", reason=reason)),
    )
    for item in walk(lines(hostile)):
        assert item.text == sanitize(item.text)
        assert width(item.text) <= 72


def test_idle_times_grow_by_ever_larger_steps_so_that_time_alone_seldom_changes_the_menu() -> None:
    told = [idle_text(s) for s in (0, 59, 60, 299, 300, 599, 890, 3_600, 7_199, 7_200, 90_000, 1e6)]
    assert told == [
        "just used", "just used", "idle 1 min", "idle 4 min", "idle 5 min", "idle 5 min", "idle 10 min", "idle 1 h",
        "idle 1 h", "idle 2 h", "idle 1 d", "idle 1 d",
    ]  # fmt: skip
    view = local(loaded("a", idle_s=190.0))
    assert (next_change_s(view, 0.0), next_change_s(view, 20.0)) == (50.0, 30.0)
    assert next_change_s(local(loaded("a", idle_s=1e6), loaded("b", in_flight=1), model()), 0.0) is None
    assert next_change_s(None, 0.0) is None


@given(st.integers(min_value=0, max_value=200_000), st.integers(min_value=0, max_value=200_000))
def test_the_menu_changes_by_time_alone_exactly_when_it_is_said_to(idle_s: int, later_s: int) -> None:
    view = local(loaded("a", idle_s=idle_s))
    next_s = next_change_s(view, 0.0)
    is_before = next_s is None or idle_s + later_s < idle_s + next_s
    assert (idle_text(idle_s + later_s) == idle_text(idle_s)) == is_before
