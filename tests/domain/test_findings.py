"""Each rule finds what hurts, says it with numbers, and leaves alone what does not."""

import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fake_clock import backend
from meshlight.domain.backend import OK, ModelDetail
from meshlight.domain.findings import (
    CutPrompts,
    Disk,
    Finding,
    Others,
    RouteSigns,
    Signs,
    SlowRoute,
    Waiting,
    find,
    suffering,
)
from meshlight.domain.health import Health
from meshlight.domain.snapshot import Node

NOW = 10_000.0
GB = 1024**3
WARM, COLD = ModelDetail(loaded=True), ModelDetail(loaded=False)


def node(name: str = "study", details: Mapping[str, ModelDetail] = {}, **fields: object) -> Node:
    about = {"Version": str(fields.pop("version"))} if "version" in fields else {}
    return Node(
        backend=backend(name, **({"kind": "ollama"} | fields)),
        health=Health(state="healthy", reason=OK),
        models=("qwen", "llama"),
        details=details,
        about=about,
    )


def found(*nodes: Node, **signs: Any) -> tuple[Finding, ...]:
    nodes = nodes or (node(),)
    return find(
        Signs(
            now=NOW,
            time_of_day=lambda at: f"14:{at - 9_000:02.0f}",
            nodes={n.backend.id: n for n in nodes},
            **signs,
        )
    )


def one(*nodes: Node, **signs: Any) -> Finding:
    (finding,) = found(*nodes, **signs)
    assert bool(finding.command) != bool(finding.button)
    return finding


def route(model: str = "qwen", where: str = "study", **seen: Any) -> RouteSigns:
    return RouteSigns(backend=where, model=model, **seen)


def test_nothing_hurts_where_nothing_happens() -> None:
    assert found() == ()
    assert suffering(()) == ""


def test_two_models_that_push_each_other_out_are_told_together() -> None:
    loads = tuple(NOW - ago for ago in (800, 500, 200, 50))
    finding = one(routes=[route(loads=loads), route("llama", loads=loads[1:3])])
    assert finding.evidence == "study has loaded qwen 4 times in the last 15 min, in turn with llama."
    assert "does not hold them together" in finding.why
    assert (finding.kind, finding.severity, finding.command) == ("reloading", "suffer", "ollama ps")


def test_a_model_that_leaves_memory_after_each_answer_is_kept_longer() -> None:
    finding = one(routes=[route(loads=(NOW - 300, NOW - 200, NOW - 100))])
    assert finding.command == "OLLAMA_KEEP_ALIVE=30m ollama serve"
    assert finding.evidence == "study has loaded qwen 3 times in the last 15 min."


def test_loads_that_are_few_or_long_ago_are_no_circle() -> None:
    assert found(routes=[route(loads=(NOW - 100, NOW - 50)), route("llama", loads=(NOW - 1_000,) * 9)]) == ()


def test_cut_prompts_are_told_with_the_size_that_would_do() -> None:
    finding = one(routes=[route(cut=CutPrompts(times=3, sent=11_500, counted=4_095))])
    assert finding.evidence == "study cut 3 prompts for qwen: of about 11,500 tokens sent it read 4,095."
    assert finding.command == "OLLAMA_CONTEXT_LENGTH=16384 ollama serve"
    assert found(routes=[route(cut=CutPrompts(times=1, sent=9_000, counted=4_095))]) == ()


def test_a_command_for_another_machine_says_so() -> None:
    finding = one(
        node(kind="lmstudio", ring="lan"),
        routes=[route("my model", cut=CutPrompts(times=2, sent=9_000, counted=4_000))],
    )
    assert finding.command == "lms load 'my model' --context-length 16384"
    assert finding.fix.endswith("The command is for study.")


def test_a_model_that_often_fails_is_switched_off_where_another_machine_has_it() -> None:
    signs = [route(requests=20, failed=7)]
    assert one(routes=signs).button == "check"
    finding = one(node(), node("cellar"), routes=signs)
    assert finding.evidence == "7 of 20 requests for qwen failed at study in the last 10 min."
    assert (finding.button, finding.backend, finding.model) == ("disable", "study", "qwen")


@pytest.mark.parametrize(("requests", "failed"), [(20, 4), (100, 19)])
def test_a_few_failures_are_none_or_few_of_many(requests: int, failed: int) -> None:
    assert found(routes=[route(requests=requests, failed=failed)]) == ()


def test_clients_that_left_count_wherever_they_waited() -> None:
    finding = one(routes=[route(requests=10, left=2), route(where="", left=4)])
    assert finding.evidence == "6 clients left before the first byte for qwen in the last 10 min."
    assert finding.command == "meshlight test qwen"
    assert found(routes=[route(requests=100, left=8)]) == ()


def test_demand_counts_after_minutes_without_a_break() -> None:
    assert found(waiting=[Waiting(model="qwen", count=4, since=NOW - 119)]) == ()
    finding = one(waiting=[Waiting(model="qwen", count=4, since=NOW - 990)])
    assert finding.evidence == "4 requests wait for qwen, and some have waited all the time since 14:10."
    assert finding.command == "meshlight route qwen"


def test_half_speed_counts_after_five_minutes() -> None:
    assert found(slow=[SlowRoute(backend="study", model="qwen", since=NOW - 299)]) == ()
    finding = one(slow=[SlowRoute(backend="study", model="qwen", since=NOW - 990)])
    assert finding.evidence == "qwen on study answers at less than half its usual speed since 14:10."
    assert (finding.severity, finding.button) == ("suffer", "check")


def test_a_model_that_nobody_uses_makes_room_for_one_that_waits() -> None:
    where = node(details={"qwen": WARM, "llama": COLD})
    idle, cold = route(idle_s=1_500), route("llama", cold_s=40)
    finding = one(where, routes=[idle, cold])
    assert finding.evidence == (
        "qwen is in the memory of study, without a request for 25 min, while llama waits for memory."
    )
    assert finding.command == "ollama stop qwen"
    own = node(kind="local", details=where.details)
    assert one(own, routes=[idle, cold]).command == "meshlight models unload qwen"
    waiting = [Waiting(model="llama", count=1, since=NOW)]
    assert one(where, routes=[idle, route("llama")], waiting=waiting).kind == "unused"
    assert found(where, routes=[route(idle_s=500), cold]) == ()
    assert found(where, routes=[idle, route("llama", cold_s=20)]) == ()


def test_a_known_fault_is_worth_a_look_and_has_its_source() -> None:
    finding = one(node(version="0.6.2"))
    assert (
        finding.evidence
        == "study is version 0.6.2: Gemma 3 takes more and more memory there, until it crashes."
    )
    assert "https://github.com/ollama/ollama/issues/10040" in finding.why
    assert (finding.severity, finding.button) == ("look", "check")
    assert one(node(kind="vllm", version="0.9.0")).command == "pip install --upgrade vllm"
    assert found(node(version="0.6.2", enabled=False)) == ()


def test_a_disk_counts_with_little_and_a_small_share_free() -> None:
    def disk(free: float, total: int) -> list[Disk]:
        return [
            Disk(
                backend="study",
                path="/models",
                free=int(free * GB),
                total=total * GB,
                command=("ollama list",),
            )
        ]

    finding = one(disks=disk(4.2, 500))
    assert finding.evidence == "4.2 of 500 GB are free where study stores its models (/models)."
    assert (finding.severity, finding.command) == ("look", "ollama list")
    assert found(disks=disk(11, 500)) == ()
    assert found(disks=disk(4, 64)) == ()


def test_the_disk_of_this_machines_own_models_has_a_measure_of_its_own() -> None:
    disk = Disk(
        backend="study",
        path="/models",
        free=3 * GB,
        total=40 * GB,
        command=("meshlight", "models"),
        least=4 * GB,
    )
    finding = one(disks=[disk])
    assert finding.evidence == "3.0 of 40 GB are free where study stores its models (/models)."
    assert (finding.severity, finding.command) == ("look", "meshlight models")
    assert "meshlight models rm NAME" in finding.fix
    assert found(disks=[replace(disk, free=4 * GB)]) == ()


def test_others_at_an_engine_count_after_three_looks() -> None:
    others = Others(backend="study", connections=2, programs=("open-webui",), seen=3)
    finding = one(others=[others])
    assert finding.evidence == "2 connections to study go past Meshlight by open-webui."
    assert (finding.severity, finding.command) == ("look", "meshlight env")
    assert found(others=[Others(backend="study", connections=2, seen=2)]) == ()


def test_what_makes_requests_suffer_comes_first() -> None:
    slow = [SlowRoute(backend="study", model="qwen", since=NOW - 990)]
    findings = found(node(version="0.6.2"), slow=slow)
    assert [finding.kind for finding in findings] == ["slow", "fault"]
    assert suffering(findings) == findings[0].evidence
    assert suffering(findings[1:]) == ""


def test_backends_that_are_gone_are_not_told_of() -> None:
    gone = route(
        where="gone", requests=9, failed=9, cut=CutPrompts(times=9, sent=9_000, counted=1), loads=(NOW,) * 9
    )
    slow = [SlowRoute(backend="gone", model="qwen", since=0.0)]
    others = [Others(backend="gone", connections=2, seen=9)]
    disks = [Disk(backend="gone", path="/", free=0, total=GB)]
    assert found(routes=[gone], slow=slow, others=others, disks=disks) == ()


def test_a_kind_is_told_five_times_at_most() -> None:
    many = [Waiting(model=f"m{number}", count=number, since=0.0) for number in range(1, 20)]
    assert [finding.model for finding in found(waiting=many)] == ["m19", "m18", "m17", "m16", "m15"]


@given(st.text(max_size=80))
def test_no_name_from_outside_becomes_more_than_a_name(model: str) -> None:
    signs: dict[str, Any] = {
        "routes": [route(model, requests=9, failed=9, left=9, loads=(NOW,) * 9)],
        "waiting": [Waiting(model=model, count=1, since=0.0)],
    }
    for finding in found(node(kind="llamacpp"), **signs):
        assert finding.evidence.isprintable()
        assert bool(finding.command) != bool(finding.button)
        if finding.command.startswith(("meshlight route ", "meshlight test ")):
            assert shlex.split(finding.command)[2:] == [model]
