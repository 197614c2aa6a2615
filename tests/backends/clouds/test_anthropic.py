"""Anthropic, by its documentation: two ways to carry the key, a list in pages, errors of its own."""

from typing import Any

import pytest

from backends.playback import Playback, answer, probe, probe_answer
from meshlight.backends.clouds.base import PAGES_MAX
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered, Fact, Failed, Limited, Refused

ANTHROPIC = KINDS["anthropic"]
KEY = "sk-ant-secret"
LIST = "/v1/models?limit=1000"


def model(id_: str, **more: Any) -> dict[str, Any]:
    return {"type": "model", "id": id_, "display_name": id_, "created_at": "2025-02-19T00:00:00Z", **more}


def page(*models: dict[str, Any], has_more: bool = False) -> bytes:
    first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
    return answer({"data": models, "has_more": has_more, "first_id": first, "last_id": last})


def error(status: int, kind: str, message: str, **details: Any) -> bytes:
    inner = {"type": kind, "message": message, **({"details": details} if details else {})}
    return answer({"type": "error", "error": inner, "request_id": "req_1"}, status)


async def test_a_probe_carries_the_key_and_the_version_of_the_api() -> None:
    async with Playback({LIST: page(model("claude-a"))}) as server:
        probed = await probe(ANTHROPIC, server.url, KEY)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("claude-a",)
        assert f"x-api-key: {KEY}" in server.heads[0]
        assert "anthropic-version: 2023-06-01" in server.heads[0]
        assert "authorization" not in server.heads[0]


def test_its_own_api_and_the_openai_compatible_one_want_the_key_in_different_headers() -> None:
    assert ANTHROPIC.authorize(KEY, "messages") == ((b"x-api-key", KEY.encode()),)
    assert ANTHROPIC.authorize(KEY, "messages/count_tokens") == ((b"x-api-key", KEY.encode()),)
    assert ANTHROPIC.authorize(KEY, "chat/completions") == ((b"authorization", f"Bearer {KEY}".encode()),)
    assert ANTHROPIC.authorize("two\nlines", "messages") == ()


def test_a_request_that_names_no_version_gets_one() -> None:
    assert ANTHROPIC.default_headers("messages") == ((b"anthropic-version", b"2023-06-01"),)
    assert ANTHROPIC.default_headers("chat/completions") == ()


async def test_a_list_in_pages_is_followed() -> None:
    answers = {
        LIST: page(model("a"), model("b/1"), has_more=True),
        f"{LIST}&after_id=b%2F1": page(model("c")),
    }
    async with Playback(answers) as server:
        assert (await probe(ANTHROPIC, server.url, KEY)).models == ("a", "b/1", "c")
        assert server.asked == list(answers)


async def test_a_list_without_end_is_followed_five_times() -> None:
    async with Playback({"*": page(model("a"), has_more=True)}) as server:
        probed = await probe(ANTHROPIC, server.url, KEY)
        assert isinstance(probed.fact, Answered)
        assert len(server.asked) == PAGES_MAX == 6


async def test_a_page_that_fails_fails_the_probe() -> None:
    async with Playback({LIST: page(model("a"), has_more=True)}) as server:
        assert isinstance((await probe(ANTHROPIC, server.url, KEY)).fact, Failed)


async def test_what_it_tells_of_its_models_is_kept_and_nothing_is_guessed() -> None:
    yes, no = {"supported": True}, {"supported": False}
    told = model("a", max_input_tokens=200_000, capabilities={"image_input": yes, "thinking": no})
    retired = model("old", lifecycle="retired")
    probed = await probe_answer(ANTHROPIC, LIST, page(told, model("b"), retired), KEY)
    assert probed.models == ("a", "b")
    assert probed.details == {
        "a": ModelDetail(context=200_000, capabilities=("chat", "vision")),
        "b": ModelDetail(),
    }


@pytest.mark.parametrize(
    ("reply", "fact", "code", "words"),
    [
        (
            error(401, "authentication_error", "invalid x-api-key"),
            Refused,
            "unauthorized",
            "refuses the API key",
        ),
        (error(403, "permission_error", "Your API key may not"), Refused, "forbidden", "403"),
        (error(403, "forbidden", "Request not allowed"), Refused, "region", "does not serve the country"),
        (error(429, "rate_limit_error", "Number of requests"), Limited, "rate-limited", "come back later"),
        (
            error(429, "rate_limit_error", "Spend", error_code="enforced_spend_limit_reached"),
            Limited,
            "quota",
            "used up",
        ),
        (error(402, "billing_error", "Payment"), Limited, "quota", "used up"),
        (
            error(400, "invalid_request_error", "Disabled", error_code="organization_on_hold"),
            Refused,
            "forbidden",
            "switched off by the provider",
        ),
        (
            error(
                400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
            ),
            Limited,
            "quota",
            "used up",
        ),
        (
            error(400, "invalid_request_error", "You have reached your specified API usage limits."),
            Limited,
            "quota",
            "used up",
        ),
        (error(529, "overloaded_error", "Overloaded"), Failed, "overloaded", "for everyone"),
    ],
)
async def test_each_refusal_names_its_own_cause(
    reply: bytes, fact: type[Fact], code: str, words: str
) -> None:
    probed = await probe_answer(ANTHROPIC, LIST, reply, KEY)
    assert isinstance(probed.fact, fact)
    assert probed.fact.reason.code == code  # type: ignore[union-attr]
    assert words in probed.fact.reason.text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": 1},
        {"data": {}, "has_more": "yes"},
        [],
        {"data": [{"id": "\x07"}, 7, {}], "has_more": None},
    ],
)
async def test_odd_lists_break_nothing(body: object) -> None:
    probed = await probe_answer(ANTHROPIC, LIST, answer(body), KEY)
    assert isinstance(probed.fact, Answered | Failed)
    assert not probed.models


async def test_the_limits_of_the_account_are_shown() -> None:
    reply = answer(
        {"data": []},
        date="Fri, 01 May 2026 12:00:00 GMT",
        anthropic_ratelimit_requests_limit="1000",
        anthropic_ratelimit_requests_remaining="998",
        anthropic_ratelimit_requests_reset="2026-05-01T12:00:12Z",
    )
    probed = await probe_answer(ANTHROPIC, LIST, reply, KEY)
    assert probed.about == {"Requests left": "998 of 1,000, back in 12 s"}
