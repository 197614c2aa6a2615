"""OpenAI, by its documentation: what its answers mean, and what is sent."""

import pytest

from backends.playback import Playback, answer, backend, detect, probe, probe_answer
from meshlight.backends.clouds.diagnostics import QUOTA_S
from meshlight.backends.diagnostics import status_fact
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Fact, Failed, Limited, Refused
from meshlight.domain.operations import OPENAI_OPERATIONS, OPERATIONS, Operation
from meshlight.http_client.reply import Reply

OPENAI = KINDS["openai"]
KEY = "sk-secret"
LIST = answer(
    {
        "object": "list",
        "data": [
            {"id": "gpt-5-mini", "object": "model", "created": 1, "owned_by": "system"},
            {"id": "text-embedding-3-small", "object": "model", "created": 1, "owned_by": "system"},
        ],
    }
)


def error(status: int, message: str, kind: str, code: str | None) -> bytes:
    return answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


async def test_its_models_are_listed_with_the_key() -> None:
    async with Playback({"/v1/models": LIST}) as server:
        probed = await probe(OPENAI, server.url, KEY)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("gpt-5-mini", "text-embedding-3-small")
        assert "authorization: Bearer sk-secret" in server.heads[0]
        assert server.asked == ["/v1/models"]


@pytest.mark.parametrize(
    ("reply", "fact", "code", "words", "fix"),
    [
        (
            error(401, f"Incorrect API key provided: {KEY}.", "invalid_request_error", "invalid_api_key"),
            Refused,
            "unauthorized",
            "refuses the API key",
            "platform.openai.com/api-keys",
        ),
        (
            error(403, "You have insufficient permissions for this operation. Missing scopes: api.model.read",
                  "invalid_request_error", None),
            Refused,
            "forbidden",
            "lacks a permission",
            "without restrictions",
        ),
        (
            error(403, "Country, region, or territory not supported", "request_forbidden",
                  "unsupported_country_region_territory"),
            Refused,
            "region",
            "does not serve the country",
            "VPN",
        ),
        (
            error(429, "You exceeded your current quota, please check your plan and billing details.",
                  "insufficient_quota", "insufficient_quota"),
            Limited,
            "quota",
            "waiting won't help",
            "billing",
        ),
        (
            error(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"),
            Limited,
            "rate-limited",
            "come back later",
            "limit of the account",
        ),
        (
            error(503, "That model is currently overloaded", "server_error", None),
            Failed,
            "server-error",
            "503",
            "",
        ),
        (
            error(401, "Your IP is not authorized", "invalid_request_error", "ip_not_authorized"),
            Refused,
            "forbidden",
            "other addresses",
            "Allow this machine's address",
        ),
    ],
)  # fmt: skip
async def test_each_refusal_names_its_own_cause_and_fix(
    reply: bytes, fact: type[Fact], code: str, words: str, fix: str
) -> None:
    probed = await probe_answer(OPENAI, "/v1/models", reply, KEY)
    assert isinstance(probed.fact, fact)
    reason = probed.fact.reason  # type: ignore[union-attr]
    assert reason.code == code
    assert words in reason.text
    assert fix in reason.fix
    assert KEY not in str(probed)


async def test_without_a_key_it_says_where_to_get_one() -> None:
    refused = error(401, "You didn't provide an API key.", "invalid_request_error", None)
    probed = await probe_answer(OPENAI, "/v1/models", refused)
    assert isinstance(probed.fact, Refused)
    assert "wants an API key" in probed.fact.reason.text
    assert "platform.openai.com/api-keys" in probed.fact.reason.fix


def test_a_used_up_quota_keeps_requests_away_for_minutes_and_a_rate_limit_for_as_long_as_it_says() -> None:
    def fact(body: bytes) -> object:
        reply = Reply(429, [(b"retry-after", b"7")], body, 0.1, reused=True)
        return status_fact(reply, backend(OPENAI, "https://api.openai.com"), "OpenAI", KEY)

    quota, limit = fact(b'{"error":{"code":"insufficient_quota"}}'), fact(b'{"error":{"code":"x"}}')
    assert isinstance(quota, Limited)
    assert isinstance(limit, Limited)
    assert (quota.retry_after_s, limit.retry_after_s) == (QUOTA_S, 7.0)


async def test_what_is_left_of_the_limits_is_shown() -> None:
    listed = answer(
        {"object": "list", "data": []},
        x_ratelimit_limit_requests="500",
        x_ratelimit_remaining_requests="498",
        x_ratelimit_reset_requests="12s",
    )
    probed = await probe_answer(OPENAI, "/v1/models", listed, KEY)
    assert probed.about == {"Requests left": "498 of 500, back in 12 s"}
    assert (await probe_answer(OPENAI, "/v1/models", LIST, KEY)).about is None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_speaks_openais_faces_but_rerank(operation: Operation) -> None:
    assert OPENAI.speaks(operation) == (operation in OPENAI_OPERATIONS and operation != "rerank")
    assert OPENAI.path(operation, f"/v1/{operation}") == f"/v1/{operation}"


async def test_it_is_a_cloud_and_never_looked_for_on_this_machine() -> None:
    assert (OPENAI.group, OPENAI.default_ring, OPENAI.usual_ports) == ("cloud", "cloud", ())
    async with Playback({"*": LIST}) as server:
        assert await detect(OPENAI, server.url) is None
        assert server.asked == []


def test_adding_it_takes_a_key_and_nothing_else() -> None:
    fields = {field.name: field for field in OPENAI.fields}
    assert [name for name, field in fields.items() if field.required] == ["api_key"]
    assert fields["api_key"].is_secret
    assert "platform.openai.com/api-keys" in fields["api_key"].hint
    assert fields["url"].default == OPENAI.default_url == "https://api.openai.com"
