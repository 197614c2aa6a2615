"""Gemini, by its documentation: the key in a header, two APIs under two paths, errors of Google's kind."""

from typing import Any

import pytest

from backends.playback import Playback, answer, probe, probe_answer
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered, Fact, Failed, Limited, Refused
from meshlight.domain.operations import GEMINI_OPERATIONS
from meshlight.http_client.address import parse_address

GEMINI = KINDS["gemini"]
KEY = "AIzaSecret"
LIST = "/v1beta/models?pageSize=1000"
_TYPE = "type.googleapis.com/google.rpc."


def model(name: str, *methods: str, **more: Any) -> dict[str, Any]:
    return {"name": f"models/{name}", "version": "1", "supportedGenerationMethods": methods, **more}


def error(code: int, message: str, status: str, *details: dict[str, Any]) -> bytes:
    return answer({"error": {"code": code, "message": message, "status": status, "details": details}}, code)


def info(reason: str) -> dict[str, Any]:
    return {"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": "googleapis.com"}


WRONG_KEY = error(
    400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", info("API_KEY_INVALID")
)


async def test_the_key_goes_in_a_header_and_never_in_the_address() -> None:
    async with Playback({LIST: answer({"models": [model("gemini-x", "generateContent")]})}) as server:
        probed = await probe(GEMINI, server.url, KEY)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("gemini-x",)
        assert f"x-goog-api-key: {KEY}" in server.heads[0]
        assert KEY not in server.asked[0]


def test_its_own_api_and_the_openai_compatible_one_want_the_key_in_different_headers() -> None:
    assert GEMINI.authorize(KEY, "gemini/generateContent") == ((b"x-goog-api-key", KEY.encode()),)
    assert GEMINI.authorize(KEY, "chat/completions") == ((b"authorization", f"Bearer {KEY}".encode()),)


def test_its_openai_compatible_faces_are_below_a_path_of_their_own() -> None:
    assert GEMINI.path("chat/completions", "/v1/chat/completions") == "/v1beta/openai/chat/completions"
    assert GEMINI.path("embeddings", "/v1/embeddings") == "/v1beta/openai/embeddings"
    native = "/v1beta/models/gemini-x:generateContent"
    assert GEMINI.path("gemini/generateContent", native) == native
    assert [operation for operation in GEMINI_OPERATIONS if not GEMINI.speaks(operation)] == []
    assert not GEMINI.speaks("responses")


@pytest.mark.parametrize("base", ["", "/v1beta", "/v1beta/openai", "/v1beta/openai/"])
def test_an_address_with_the_version_in_it_is_the_same(base: str) -> None:
    address = parse_address(f"https://gateway.example{base}")
    assert address.target("/v1beta/openai/chat/completions") == "/v1beta/openai/chat/completions"
    assert address.target(LIST) == LIST


async def test_a_list_in_pages_is_followed() -> None:
    answers = {
        LIST: answer({"models": [model("a", "generateContent")], "nextPageToken": "t/1="}),
        f"{LIST}&pageToken=t%2F1%3D": answer({"models": [model("b", "generateContent")]}),
    }
    async with Playback(answers) as server:
        assert (await probe(GEMINI, server.url, KEY)).models == ("a", "b")
        assert server.asked == list(answers)


async def test_what_it_tells_of_its_models_is_kept_and_what_nobody_can_ask_is_left_out() -> None:
    listed = [
        model("chat", "generateContent", "countTokens", inputTokenLimit=1_048_576, thinking=True),
        model("embed", "embedContent", inputTokenLimit=2_048),
        model("imagen", "predict"),
        model("veo", "predictLongRunning"),
        {"name": "models/silent"},
    ]
    probed = await probe_answer(GEMINI, LIST, answer({"models": listed}), KEY)
    assert probed.models == ("chat", "embed", "imagen", "silent")
    assert probed.details == {
        "chat": ModelDetail(context=1_048_576, capabilities=("chat", "thinking")),
        "embed": ModelDetail(context=2_048, capabilities=("embeddings",)),
        "imagen": ModelDetail(capabilities=("image",)),
        "silent": ModelDetail(),
    }


@pytest.mark.parametrize(
    ("reply", "fact", "code", "words"),
    [
        (WRONG_KEY, Refused, "unauthorized", "refuses the API key (400)"),
        (
            error(
                403,
                "Generative Language API has not been used",
                "PERMISSION_DENIED",
                info("SERVICE_DISABLED"),
            ),
            Refused,
            "forbidden",
            "switched off",
        ),
        (
            error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
            Refused,
            "region",
            "does not serve the country",
        ),
        (error(429, "Resource has been exhausted", "RESOURCE_EXHAUSTED"), Limited, "rate-limited", "later"),
        (error(503, "The model is overloaded.", "UNAVAILABLE"), Failed, "server-error", "503"),
    ],
)
async def test_each_refusal_names_its_own_cause(
    reply: bytes, fact: type[Fact], code: str, words: str
) -> None:
    probed = await probe_answer(GEMINI, LIST, reply, KEY)
    assert isinstance(probed.fact, fact)
    assert probed.fact.reason.code == code  # type: ignore[union-attr]
    assert words in probed.fact.reason.text  # type: ignore[union-attr]


async def test_without_a_key_it_says_where_to_get_one() -> None:
    reply = error(403, "Method doesn't allow unregistered callers (callers without …)", "PERMISSION_DENIED")
    probed = await probe_answer(GEMINI, LIST, reply)
    assert isinstance(probed.fact, Refused)
    assert "wants an API key" in probed.fact.reason.text
    assert "aistudio.google.com/apikey" in probed.fact.reason.fix


async def test_a_limit_lasts_as_long_as_the_body_says() -> None:
    retry = {"@type": f"{_TYPE}RetryInfo", "retryDelay": "12.5s"}
    probed = await probe_answer(GEMINI, LIST, error(429, "Slow", "RESOURCE_EXHAUSTED", retry), KEY)
    assert isinstance(probed.fact, Limited)
    assert probed.fact.retry_after_s == 12.5


@pytest.mark.parametrize("body", [{}, [], {"data": []}, {"models": {}, "nextPageToken": 7}])
async def test_odd_lists_break_nothing(body: object) -> None:
    probed = await probe_answer(GEMINI, LIST, answer(body), KEY)
    assert isinstance(probed.fact, Answered | Failed)
    assert not probed.models
