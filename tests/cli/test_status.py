import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from desktop.samples import backend, hostile, mesh, scenario
from meshlight.domain.api_types import (
    ModelTestReport,
    ModelTestRun,
    RouteExplanation,
    RouteView,
    SnapshotView,
)
from meshlight.domain.backend import Ring
from meshlight.domain.events import IncidentEvent, RefreshEvent
from meshlight.domain.route_score import Tier
from meshlight.domain.snapshot import Light

Type = Callable[..., Any]
CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0)) if n != 0x0A] + list("\u202e\u2066\u200b")


def test_the_status_is_one_screen_with_reason_and_fix(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", scenario())
    said = type_words("status")
    assert said.code == 1
    assert said.lines[0].startswith("▲ Amber: 1 of 5 down: Big box")
    assert any(line.startswith("desk at http://127.0.0.1:") for line in said.lines)
    assert any(line.split() == ["STATE", "NAME", "KIND", "LATENCY", "MODELS"] for line in said.lines)
    assert any(line.startswith("● healthy    Ollama") and "12 ms  3: qwen3:4b" in line for line in said.lines)
    assert any(line.startswith("- off        LM Studio") for line in said.lines)
    assert "✖ Big box (unhealthy for 3 min): Connection refused at 127.0.0.1:8000" in said.out
    assert "  Fix: Start it with `vllm serve MODEL`, or check its port." in said.lines
    assert "! The configuration file can't be read (line 12): using the last good one." in said.lines
    assert max(map(len, said.lines)) <= 80


def test_a_wide_terminal_shows_rings_and_requests_too(
    api: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    api.says("GET", "/mesh/snapshot", scenario())
    said = type_words("status")
    assert "128, 3 failed, 1 now" in said.out
    assert "company" in said.out
    assert max(map(len, said.lines)) <= 120


@pytest.mark.parametrize(("light", "code"), [("green", 0), ("amber", 1), ("red", 2), ("grey", 3)])
def test_the_exit_code_says_the_light(api: LocalApi, type_words: Type, light: Light, code: int) -> None:
    api.says("GET", "/mesh/snapshot", mesh(backend("b"), light=light))
    assert type_words("status").code == code
    assert type_words("status", "--json").code == code


def test_status_as_json_is_the_snapshot_itself(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", scenario())
    out = type_words("status", "--json").out
    assert msgspec.json.decode(out, type=SnapshotView) == scenario()


@pytest.mark.parametrize(
    "word",
    [("status",), ("status", "--json"), ("models",), ("backends", "list"), ("backends", "show", "bad")],
    ids=" ".join,
)
def test_names_from_strangers_can_neither_paint_nor_hide_nor_reverse(
    api: LocalApi, type_words: Type, word: tuple[str, ...]
) -> None:
    api.says("GET", "/mesh/snapshot", hostile())
    api.says("GET", "/mesh/backends", {"backends": hostile().backends})
    said = type_words(*word)
    assert not [letter for letter in CONTROLS if letter in said.out]
    assert "--json" in word or "[bold]" in said.out


def test_an_empty_mesh_says_how_to_fill_it(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh(light="grey", reason="No backend found yet."))
    said = type_words("status")
    assert said.lines[0] == "○ Grey: No backend found yet."
    assert "  meshlight backends add openai-compatible http://192.168.1.20:8000" in said.lines
    starter = "for this machine with: meshlight models pull starter"
    assert starter in said.out
    models = type_words("models")
    assert models.out.startswith("No model can be reached yet.")
    assert starter in models.out
    here = backend("this-machine", name="This machine", kind="local", models=())
    api.says("GET", "/mesh/snapshot", mesh(here))
    assert starter in type_words("status").out


def test_watching_shows_each_change_until_the_service_ends(api: LocalApi, type_words: Type) -> None:
    well, ill = (
        mesh(backend("b"), seq=7),
        mesh(backend("b", state="unhealthy"), light="red", reason="Down.", seq=9),
    )
    api.says("GET", "/mesh/snapshot", well, ill)
    api.send(well)
    api.send(IncidentEvent(seq=8, backend="b", from_="healthy", to="unhealthy", reason="refused", text="No."))
    api.send(IncidentEvent(seq=9, backend="b", from_="healthy", to="unhealthy", reason="refused", text="No."))
    api.end_events()
    said = type_words("status", "--watch")
    assert [line for line in said.lines if line[:1] in "●✖" and ": " in line[:10]] == [
        "● Green: All backends are healthy.",
        "✖ Red: Down.",
    ]
    assert said.code == 4
    assert "has stopped" in said.err


def test_watching_as_json_gives_a_line_for_each_change(api: LocalApi, type_words: Type) -> None:
    well, ill = mesh(backend("b"), seq=7), mesh(backend("b", state="unhealthy"), light="red", seq=9)
    api.says("GET", "/mesh/snapshot", well)
    api.send(well)
    api.send(msgspec.structs.replace(well, seq=8))
    api.send(ill)
    api.end_events()
    said = type_words("status", "--watch", "--json")
    assert [json.loads(line)["light"] for line in said.lines] == ["green", "red"]


def test_a_refresh_shows_the_status_after_it(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh(backend("b")))
    api.says("POST", "/mesh/refresh?wait=true", {"id": "r", "done": 1, "total": 1})
    api.send(mesh())
    api.send(RefreshEvent(seq=8, id="r", done=1, total=1))
    said = type_words("refresh")
    assert said.code == 0
    assert said.lines[0].startswith("● Green")
    assert said.err == ""


def route_view(backend: str, *, name: str, tier: Tier, why: str, ring: Ring) -> RouteView:
    return RouteView(
        backend=backend,
        name=name,
        model="qwen3:4b",
        ring=ring,
        state="unknown",
        tier=tier,
        why=why,
        latency_ms=None,
        in_flight=0,
    )


def route(answers: str | None) -> RouteExplanation:
    return RouteExplanation(
        asked="chat",
        model="qwen3:4b",
        policy="local-first",
        answers=answers,
        routes=(
            route_view("a", name="Ollama", tier="ready", why="Healthy.", ring="machine"),
            route_view(
                "b",
                name="far",
                tier="excluded",
                why="A nearer ring serves this model, and no rule lets it spill over to the cloud.",
                ring="cloud",
            ),
        ),
    )


def test_a_route_says_who_would_answer_and_why_not_the_others(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/route?model=chat", route("a"))
    said = type_words("route", "chat")
    assert said.code == 0
    assert said.lines[0] == "✓ Ollama would answer a request for qwen3:4b (requested as chat) now."
    assert "   A nearer ring serves this model, and no rule lets it spill over to the cloud." in said.lines
    assert json.loads(type_words("route", "chat", "--json").out)["answers"] == "a"


def test_a_fallback_is_told_with_its_reason(api: LocalApi, type_words: Type) -> None:
    told = replace(route("a"), instead="qwen3-8b", fallback="qwen3:4b is down")
    api.says("GET", "/mesh/route?model=chat", told)
    said = type_words("route", "chat")
    words = "✓ Ollama would answer a request for qwen3:4b (requested as chat) now with qwen3-8b, as qwen3:4b is down."
    assert " ".join(said.out.split()).startswith(words)
    assert "Ollama (qwen3:4b)" in said.out


def test_a_model_that_nobody_could_answer_for_is_exit_code_one(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/route?model=chat", replace(route(None), fix="Shorten the prompt."))
    said = type_words("route", "chat")
    assert said.code == 1
    assert said.lines[0].startswith("✗ No backend would answer")
    assert said.lines[1].split() == ["Fix:", "Shorten", "the", "prompt."]
    api.fails(
        "GET", "/mesh/route?model=qwen", 404, "model_not_found", "No such model.", "Did you mean qwen3:4b?"
    )
    said = type_words("route", "qwen")
    assert (said.code, said.err) == (1, "Error: No such model.\nDid you mean qwen3:4b?\n")


def test_a_trial_shows_who_answered_how_fast_and_what(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh(backend("o", name="Demo Ollama")))
    well = ModelTestRun(
        ok=True,
        backend="o",
        first_token_ms=120,
        tokens=24,
        tokens_per_s=41.23,
        total_ms=710,
        text="\nHello (demo).\nMore",
    )
    api.says("POST", "/mesh/test", ModelTestReport(model="qwen3:4b", runs=(well, well)))
    said = type_words("test", "qwen3:4b", "--count", "2")
    assert said.code == 0
    assert api.asked[-1].body == {"count": 2, "model": "qwen3:4b"}
    assert said.lines[0] == "✓ qwen3:4b: 2 of 2 requests answered."
    assert said.lines[3].split() == ["1", "Demo", "Ollama", "120", "ms", "24", "41.2", "710", "ms"]
    assert "✓ 1. Hello (demo)." in said.lines


def test_a_trial_that_fails_says_the_error_and_exits_one(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    failed = ModelTestRun(
        ok=False,
        backend=None,
        first_token_ms=None,
        tokens=0,
        tokens_per_s=None,
        total_ms=3,
        text="",
        error="Every route is down.",
    )
    api.says("POST", "/mesh/test", ModelTestReport(model="m", runs=(failed,)))
    said = type_words("test")
    assert said.code == 1
    assert api.asked[-1].body == {"count": 3}
    assert "✗ 1. Every route is down." in said.lines
