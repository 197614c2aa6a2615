"""Prompts and contexts: which routes are left out, which come first, what is said, and what is learned."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from fake_clock import backend
from meshlight.domain.backend import Kind, ModelDetail, Reason, Ring
from meshlight.domain.choice import NO_PROMPT
from meshlight.domain.operations import Operation
from meshlight.domain.peers import SharingTerms
from meshlight.domain.route_score import RouteScore, Tier
from meshlight.domain.routing import Ranking
from meshlight.domain.snapshot import Node
from meshlight.gateway.inference.context_guard import (
    ANY_SIZE,
    BYTES_PER_TOKEN,
    ContextGuard,
    context_of,
    measured,
)
from meshlight.gateway.inference.context_refusals import TooLong
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.prompt import answer_tokens
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.http_client.client import Reply
from meshlight.mesh.prompt_sizes import PromptSizes

WORDS = "The quick brown fox jumps over the lazy dog. "
"""Ten tokens of 45 bytes."""


def inbound(
    tokens: int, operation: Operation = "chat/completions", guest: SharingTerms | None = None, **fields: Any
) -> InferenceRequest:
    text = WORDS * (tokens // 10)
    body = {"model": "m", "messages": [{"role": "user", "content": text}]} | fields
    return InferenceRequest(
        operation=operation,
        target=f"/v1/{operation}",
        headers=(),
        content_type=b"application/json",
        body=json.dumps(body, ensure_ascii=False).encode(),
        head=Head("m"),
        guest=guest,
    )


class Guest(Struct):
    id: str = ""
    name: str = ""
    share_rings: tuple[Ring, ...] = ("machine",)
    share_models: tuple[str, ...] | None = None


def node(name: str, context: int | None, kind: Kind = "llamacpp", *, loaded: bool | None = None) -> Node:
    detail = {} if context is None else {"m": ModelDetail(context=context, loaded=loaded)}
    return Node(backend=replace(backend(name), kind=kind), models=("m",), details=detail)


def mesh(**contexts: int | None) -> tuple[Ranking, dict[str, Node]]:
    scores = tuple(RouteScore(backend=name, model="m", tier="ready", why="Healthy.") for name in contexts)
    ranking = Ranking(asked="m", model="m", policy="local-first", scores=scores)
    return ranking, {name: node(name, context) for name, context in contexts.items()}


def order(ranking: Ranking) -> list[tuple[str, Tier]]:
    return [(score.backend, score.tier) for score in ranking.scores]


@pytest.fixture
def guard() -> ContextGuard:
    return ContextGuard(PromptSizes())


def test_a_small_body_is_not_looked_at(guard: ContextGuard) -> None:
    ranking, nodes = mesh(a=4096, b=None)
    assert guard.check(ranking, nodes, inbound(100)) is ranking
    ranking, nodes = mesh(a=None, b=None)
    assert guard.check(ranking, nodes, inbound(100_000)) is ranking
    assert guard.room(nodes["a"], "m") == ANY_SIZE
    assert guard.room(node("c", 4096), "m") == BYTES_PER_TOKEN * 4096


def test_a_route_that_can_not_hold_it_is_left_out_with_the_reason(guard: ContextGuard) -> None:
    ranking, nodes = mesh(small=4096, large=262_144)
    checked = guard.check(ranking, nodes, inbound(20_000))
    assert order(checked) == [("large", "ready"), ("small", "excluded")]
    assert checked.scores[1].why.startswith("It holds 4,096 tokens, the prompt has about 22,")


@given(
    contexts=st.lists(st.none() | st.integers(512, 1 << 20), min_size=1, max_size=6),
    tokens=st.integers(10, 40_000),
    refusal=st.none() | st.integers(1, 1 << 16),
)
def test_a_larger_context_is_never_left_out_for_a_smaller_one_and_nothing_is_lost(
    contexts: list[int | None], tokens: int, refusal: int | None
) -> None:
    ranking, nodes = mesh(**{f"b{number}": context for number, context in enumerate(contexts)})
    failures = [refused("b0", TooLong(refusal))] if refusal else []
    checked = ContextGuard(PromptSizes()).check(ranking, nodes, inbound(tokens), failures)
    assert sorted(score.backend for score in checked.scores) == sorted(nodes)
    known = {name: context_of(each, "m") for name, each in nodes.items()}
    left_out = [known[score.backend] for score in checked.scores if score.tier == "excluded"]
    kept = [
        context for score in checked.scores if score.tier != "excluded" and (context := known[score.backend])
    ]
    assert None not in left_out
    assert all(out < held for out in left_out if out for held in kept)
    tiers = [score.tier for score in checked.scores]
    assert tiers == sorted(tiers, key=lambda tier: tier == "excluded")


def test_a_cloud_counts_itself(guard: ContextGuard) -> None:
    ranking, nodes = mesh(cloud=4096, large=262_144)
    nodes["cloud"] = node("cloud", 4096, "anthropic")
    assert guard.check(ranking, nodes, inbound(20_000)) is ranking
    refusal = [refused("cloud", TooLong(4096, 22_000))]
    assert order(guard.check(ranking, nodes, inbound(20_000), refusal))[1] == ("cloud", "excluded")


def test_one_that_perhaps_holds_it_is_not_left_out_and_the_choice_learns_its_size(
    guard: ContextGuard,
) -> None:
    ranking, nodes = mesh(near=4096, untold=None, large=8192)
    for request in (inbound(4_400), inbound(3_000, max_tokens=2_000)):
        assert guard.check(ranking, nodes, request) is ranking
        assert 4096 < guard.prompt(request, "m").need < 8192
    assert guard.prompt(inbound(4_400, "embeddings"), "m") is NO_PROMPT


def test_what_a_model_counts_is_learned_and_used(guard: ContextGuard) -> None:
    _, nodes = mesh(near=4096, large=8192)
    request = inbound(4_400)
    assert guard.prompt(request, "m").tokens > 4096
    for _ in range(5):
        assert guard.learn(inbound(4_000), "m", nodes["large"], 2_500) == ""
    assert guard.prompt(request, "m").tokens < 4096


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("embeddings", {"input": [WORDS] * 3_000}),
        ("completions", {"prompt": [WORDS] * 3_000, "n": 1}),
        ("api/chat", {"options": {"num_ctx": 131_072}}),
        ("messages/count_tokens", {}),
    ],
)
def test_requests_with_several_prompts_or_a_context_of_their_own_are_left_alone(
    guard: ContextGuard, operation: Operation, fields: dict[str, Any]
) -> None:
    ranking, nodes = mesh(a=4096)
    request = inbound(20_000, operation, **fields)
    if operation == "completions":
        body = json.dumps({"model": "m"} | fields).encode()
        request = request.changed(body=body)
    assert guard.check(ranking, nodes, request) is ranking


def test_a_picture_excludes_nothing(guard: ContextGuard) -> None:
    ranking, nodes = mesh(a=4096)
    picture = {"type": "image", "source": {"type": "base64", "data": "A" * 1_000_000}}
    request = inbound(100, messages=[{"role": "user", "content": [picture]}])
    assert order(guard.check(ranking, nodes, request)) == [("a", "ready")]


def test_the_error_names_machine_size_and_fix_and_to_a_guest_only_the_size(guard: ContextGuard) -> None:
    ranking, nodes = mesh(small=4096, large=8192)
    error = guard.error(ranking, nodes, inbound(20_000))
    assert error.title.startswith(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 22"
    )
    assert "m at large holds 8,192 tokens" in error.hint
    assert "start llama-server there with a larger `-c`" in error.hint
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert guard.error(ranking, nodes, inbound(20_000, guest=Guest())).hint == ""


def refused(name: str, length: TooLong, body: bytes = b'{"error":"too long"}') -> FailedAttempt:
    refusal = Reply(400, (), body, elapsed_s=0.0, reused=False)
    reason = Reason("too-long", "The request is longer than its context.")
    return FailedAttempt(
        backend=backend(name),
        reason=reason,
        was_sent=True,
        was_answered=True,
        too_long=length,
        refusal=refusal,
    )


def test_after_a_refusal_only_larger_contexts_are_tried(guard: ContextGuard) -> None:
    ranking, nodes = mesh(a=4096, b=2048, c=8192, d=None)
    for length in (TooLong(4096, 5000), TooLong()):
        checked = guard.check(ranking, nodes, inbound(100), [refused("a", length)])
        assert order(checked) == [("c", "ready"), ("d", "ready"), ("a", "excluded"), ("b", "excluded")]
        assert checked.scores[3].why == "It holds 2,048 tokens, and 4,096 were too few elsewhere."


def test_a_refusal_is_told_in_the_clients_words_with_who_said_what(guard: ContextGuard) -> None:
    ranking, nodes = mesh(a=4096)
    length = TooLong(4096, 5012, "request (5012 tokens) exceeds the available context size (4096 tokens)")
    request = inbound(100)
    error = guard.refusal_error([refused("a", length)], ranking.scores[0], nodes, request)
    assert error is not None
    assert (error.limit, error.tokens, error.attempts) == (4096, 5012, 1)
    assert (
        "m at a says: request (5012 tokens) exceeds the available context size (4096 tokens)." in error.hint
    )
    own = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
    assert guard.refusal_error([refused("a", length, own)], ranking.scores[0], nodes, request) is None
    other = FailedAttempt(backend=backend("a"), reason=Reason("unreachable", "It is down."))
    assert guard.refusal_error([other], ranking.scores[0], nodes, request) is None


def test_a_refusal_without_numbers_uses_what_is_known(guard: ContextGuard) -> None:
    ranking, nodes = mesh(a=4096)
    for request, words in (
        (inbound(100), "your messages resulted in 4097 tokens"),
        (inbound(3_000, max_tokens=3_000), "you requested 6"),
        (inbound(9_000), "your messages resulted in 10"),
    ):
        error = guard.refusal_error([refused("a", TooLong())], ranking.scores[0], nodes, request)
        assert error is not None
        assert words in error.title
    error = guard.refusal_error([refused("a", TooLong())], ranking.scores[0], {}, inbound(100))
    assert error is not None
    assert error.title == "Your input exceeds the context window of this model."


@pytest.mark.parametrize(
    ("context", "loaded", "counted", "is_cut"),
    [
        (4096, True, 4096, True),
        (4096, True, 3_900, True),
        (4096, True, 700, False),
        (131_072, False, 4096, True),
        (131_072, False, 4_000, False),
        (32_768, True, 20_000, False),
    ],
)
def test_a_prompt_that_ollama_cut_is_told(
    guard: ContextGuard, context: int, loaded: bool, counted: int, is_cut: bool
) -> None:
    ollama = node("a", context, "ollama", loaded=loaded)
    line = guard.learn(inbound(20_000, "api/chat"), "m", ollama, counted)
    assert bool(line) is is_cut
    if is_cut:
        assert f"was cut to {counted:,}" in line


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"max_tokens": 100, "messages": []}', 100),
        (b'{"messages":[{"content":"\\"max_tokens\\": 7"}]}', 0),
        (b'{"generationConfig":{"maxOutputTokens":5}}', 5),
        (b'{"x":"' + b"y" * 20_000 + b'","max_completion_tokens":9}', 9),
    ],
)
def test_the_length_of_the_answer_is_read_from_either_end(body: bytes, tokens: int) -> None:
    assert answer_tokens(body) == tokens


async def test_a_large_body_is_measured_beside_the_event_loop() -> None:
    request = await measured(inbound(100_000))
    assert request.size is not None
    assert request.size.tokens > 100_000
    assert (await measured(inbound(100_000, "embeddings"))).size is None
