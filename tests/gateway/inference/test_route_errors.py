"""The final error: which routes there were, what is wrong with each, and whether a retry helps."""

import pytest

from fake_clock import backend
from meshlight.domain.backend import OK, Reason
from meshlight.domain.errors import (
    BackendFailed,
    EveryRouteDown,
    FirstByteTooLate,
    ModelNotFound,
    NotFound,
    RouteError,
)
from meshlight.domain.health import Health, State
from meshlight.domain.routing import rank
from meshlight.domain.rules import Routing, Rule
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.route_errors import (
    SHOWN,
    all_busy,
    final_error,
    final_refusal,
    no_route,
    no_such_model,
)
from meshlight.gateway.inference.timeouts import Cause
from meshlight.http_client.reply import Reply


def miss(name: str, code: str = "refused", *, cause: Cause | None = None, status: int = 0) -> FailedAttempt:
    refusal = Reply(status, (), b"", 0.0, reused=False) if status else None
    return FailedAttempt(
        backend=backend(name), reason=Reason(code, f"{code}!", "Mend it."), cause=cause, refusal=refusal
    )


def mesh(*nodes: Node, **routing: object) -> Snapshot:
    by_id = {node.backend.id: node for node in nodes}
    return Snapshot(nodes=by_id, routes=index(by_id), routing=Routing(**routing))  # type: ignore[arg-type]


def node(name: str, *models: str, reason: Reason = OK, **fields: object) -> Node:
    state: State = "healthy" if reason is OK else "unhealthy"
    return Node(backend=backend(name, **fields), health=Health(state=state, reason=reason), models=models)


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (miss("b"), EveryRouteDown),
        (miss("b", "hung", cause="fell"), EveryRouteDown),
        (miss("b", "unauthorized", status=401), EveryRouteDown),
        (miss("b", "first-byte-too-late", cause="first-byte"), FirstByteTooLate),
        (miss("b", "bad-reply"), BackendFailed),
        (miss("b", "connection-lost"), BackendFailed),
        (miss("b", "not-an-api", status=200), BackendFailed),
        (miss("b", "redirected", status=307), BackendFailed),
    ],
)
def test_the_last_miss_gives_the_error_and_every_miss_its_reason(
    last: FailedAttempt, kind: type[RouteError]
) -> None:
    error = final_error("m", [miss("a"), last])
    assert isinstance(error, RouteError)
    assert type(error) is kind
    assert "a: refused!; b: " in error.title
    assert (error.attempts, error.hint, error.is_warming) == (2, "Mend it.", False)


def test_a_route_that_is_loading_makes_asking_again_worth_it() -> None:
    error = final_error("m", [miss("a", "loading", status=503), miss("b")])
    assert isinstance(error, RouteError)
    assert error.is_warming


@pytest.mark.parametrize("status", [404, 408, 429, 500, 503])
def test_a_backends_own_answer_is_the_last_word(status: int) -> None:
    text = final_refusal([miss("a"), miss("b", "x", status=status)])
    assert text is not None
    assert text.status == status


@pytest.mark.parametrize("status", [0, 200, 307, 401, 403])
def test_what_is_not_for_the_client_is_not(status: int) -> None:
    assert final_refusal([miss("a", status=500), miss("b", status=status)]) is None


def test_excluded_routes_are_named_with_their_reasons() -> None:
    bound = Rule(model="m", bound="machine")
    snapshot = mesh(node("a", "m", ring="lan"), node("b", "m", enabled=False), rules=(bound,))
    error = no_route(snapshot, rank(snapshot, "m", {}, 0.0))
    assert isinstance(error, EveryRouteDown)
    assert "a: The rule for 'm' never goes beyond machine." in error.title
    assert isinstance(no_route(snapshot, rank(snapshot, "m", {}, 0.0), lacks="rerank"), NotFound)


def test_an_unknown_model_brings_near_names_and_aliases() -> None:
    snapshot = mesh(node("a", "qwen3-8b", "llama-3.2-3b"), aliases={"coder": "qwen3-8b"})
    error = no_such_model(snapshot, "Qwen3:8b")
    assert isinstance(error, ModelNotFound)
    assert "Did you mean qwen3-8b?" in error.hint
    assert "coder" in no_such_model(snapshot, "codr").hint
    assert "GET /v1/models" in no_such_model(snapshot, "zzz").hint
    assert "`meshlight setup`" in no_such_model(mesh(), "zzz").hint


def test_who_could_not_be_asked_is_named() -> None:
    down = Reason("refused", "Connection refused.", "Start it.")
    error = no_such_model(mesh(node("a", "m"), node("b", reason=down)), "zzz")
    assert isinstance(error, ModelNotFound)
    assert error.hint.endswith("so it may be there: b: Connection refused.")
    error = no_such_model(mesh(node("b", reason=down)), "zzz")
    assert isinstance(error, EveryRouteDown)
    assert (error.hint, error.attempts) == ("Start it.", 0)
    assert isinstance(no_such_model(mesh(node("b")), "zzz"), ModelNotFound)  # it was asked, and has none


def test_a_crowd_is_not_listed_whole() -> None:
    down = Reason("refused", "Refused.")
    crowd = mesh(*[node(f"n{number}", reason=down) for number in range(50)])
    assert no_such_model(crowd, "m").title.count("Refused.") == SHOWN


def test_a_request_that_found_no_slot_is_told_how_busy_it_is_and_when_to_come_back() -> None:
    full = all_busy("m", "4 of 4 slots busy, 500 requests wait", 12.0, None)
    assert full.title == "Too many requests wait for 'm': 4 of 4 slots busy, 500 requests wait."
    late = all_busy("m", "4 of 4 slots busy, 12 requests wait", 12.0, 300.0)
    assert late.title == "No slot for 'm' became free within 300 s: 4 of 4 slots busy, 12 requests wait."
    assert (late.status, late.hint, late.retry_after_s) == (429, "Try again in 12 s.", 12.0)
