"""One light for the whole mesh: green means actively good, off is never green, bad is never grey."""

import pytest
from msgspec.structs import replace

from meshlight.domain.backend import Backend, Reason
from meshlight.domain.health import Health, State
from meshlight.domain.snapshot import Node, index, light


def node(name: str, state: State, *models: str, enabled: bool = True) -> Node:
    return Node(
        backend=Backend(
            id=name, name=name, kind="vllm", ring="machine", url=f"http://{name}", enabled=enabled
        ),
        health=Health(state=state, reason=Reason("refused", "refused, is it running?")),
        models=models,
    )


@pytest.mark.parametrize(
    ("states", "colour"),
    [
        ("", "grey"),
        ("h", "green"),
        ("hh", "green"),
        ("hu", "amber"),
        ("hw", "amber"),
        ("w", "amber"),
        ("u", "red"),
        ("uu", "red"),
        ("uw", "amber"),
        ("?", "grey"),
        ("h?", "grey"),
        ("o", "grey"),
        ("ho", "green"),
        ("uo", "red"),
    ],
)
def test_the_light_says_how_the_mesh_is(states: str, colour: str) -> None:
    words: dict[str, State] = {
        "h": "healthy",
        "w": "warming",
        "u": "unhealthy",
        "?": "unknown",
        "o": "unhealthy",
    }
    nodes = {str(i): node(str(i), words[s], enabled=s != "o") for i, s in enumerate(states)}
    assert light(nodes)[0] == colour


def test_the_reason_names_the_first_that_is_down_and_why() -> None:
    nodes = {n.backend.id: n for n in (node("a", "healthy"), node("vllm", "unhealthy"))}
    assert light(nodes)[1] == "1 of 2 down: vllm: refused, is it running?"


def test_a_healthy_backend_that_can_serve_nothing_makes_the_light_amber_and_says_why() -> None:
    useless = replace(node("campus", "healthy"), degraded="No service can be used.")
    off = replace(node("off", "healthy", enabled=False), degraded="No service can be used.")
    nodes = {n.backend.id: n for n in (node("a", "healthy", "m"), useless, off)}
    assert light(nodes) == ("amber", "1 of 2 can serve nothing: campus: No service can be used.")
    nodes["down"] = node("down", "unhealthy")
    assert light(nodes)[1].startswith("1 of 3 down: down")
    del nodes["down"], nodes["campus"]
    assert light(nodes)[0] == "green"


def test_a_backend_at_half_its_speed_makes_the_light_amber_and_is_still_healthy() -> None:
    slow = replace(node("study", "healthy"), slow="m is slow since 14:10.")
    nodes = {"study": slow, "attic": node("attic", "healthy")}
    assert light(nodes) == ("amber", "study: m is slow since 14:10.")


def test_a_model_on_three_backends_is_one_model_with_three_routes() -> None:
    nodes = {
        n.backend.id: n
        for n in (
            node("a", "healthy", "m", "x"),
            node("b", "healthy", "m"),
            node("c", "unhealthy", "m"),
            node("off", "healthy", "m", enabled=False),
        )
    }
    assert index(nodes) == {"m": ("a", "b", "c"), "x": ("a",)}


def test_it_is_amber_instead_of_green_while_requests_suffer() -> None:
    assert light({"a": node("a", "healthy")}, "They wait.") == ("amber", "They wait.")
    assert light({}, "They wait.")[0] == "grey"
