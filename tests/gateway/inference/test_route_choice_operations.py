"""Routes to backends that have no such path are left out, with the reason."""

from fake_clock import backend
from meshlight.domain.backend import OK, Kind
from meshlight.domain.health import Health
from meshlight.domain.operations import Operation, path_of
from meshlight.domain.routing import Ranking, rank
from meshlight.domain.rules import Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.gateway.inference.route_choice import without_lacking_kinds


def judged(operation: Operation, *kinds: Kind, enabled: bool = True) -> tuple[Ranking, Ranking]:
    nodes: dict[str, Node] = {
        kind: Node(
            backend=backend(kind, kind=kind, enabled=enabled),
            health=Health(state="healthy", reason=OK),
            models=("m",),
        )
        for kind in kinds
    }
    snapshot = Snapshot(nodes=nodes, routes=index(nodes), routing=Routing())
    ranking = rank(snapshot, "m" if enabled else f"{kinds[0]}/m", {}, 0.0)
    return ranking, without_lacking_kinds(ranking, operation, nodes, path_of(operation))


def test_where_all_have_it_nothing_changes() -> None:
    before, after = judged(
        "chat/completions", "llamacpp", "ollama", "vllm", "mlx", "lmstudio", "openai-compatible"
    )
    assert after is before
    assert len(after.candidates) == 6


def test_who_lacks_it_is_excluded_and_said_to_lack_it() -> None:
    _, after = judged("embeddings", "mlx", "vllm")
    assert {v.backend: (v.tier, v.why) for v in after.scores} == {
        "mlx": ("excluded", "MLX has no /v1/embeddings."),
        "vllm": ("ready", "Healthy."),
    }
    assert [v.backend for v in after.candidates] == ["vllm"]


def test_what_is_excluded_already_keeps_its_reason() -> None:
    before, after = judged("embeddings", "mlx", enabled=False)
    assert before.scores == after.scores
    assert after.scores[0].why == "Switched off."


def test_an_unknown_path_goes_to_the_kinds_with_openais_api() -> None:
    _, after = judged("other", "anthropic", "gemini", "openai", "llamacpp", "openai-compatible")
    assert {v.backend for v in after.candidates} == {"openai", "llamacpp", "openai-compatible"}
    assert {v.why for v in after.scores if v.tier == "excluded"} == {
        "Anthropic has no /v1/other.",
        "Gemini has no /v1/other.",
    }
