"""LM Studio's dialect, by its documentation and its bug tracker (no real one runs where the tests run)."""

import pytest

from backends.playback import NOT_FOUND, Playback, answer, detect, probe_answer
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed

LM_STUDIO = KINDS["lmstudio"]


def express(body: object, status: int = 200) -> bytes:
    return answer(body, status, X_Powered_By="Express")


MODELS = express(
    {"object": "list", "data": [{"id": "q", "object": "model", "owned_by": "organization_owner"}]}
)
NATIVE = express(
    {"object": "list", "data": [{"id": "q", "object": "model", "type": "llm", "state": "loaded"}]}
)
UNEXPECTED = express({"error": "Unexpected endpoint or method. (GET /x)"})


async def test_it_is_recognised_by_its_native_list() -> None:
    async with Playback({"/v1/models": MODELS, "/api/v0/models": NATIVE, "*": UNEXPECTED}) as server:
        found = await detect(LM_STUDIO, server.url)
        assert (found.kind, found.name, found.models) == ("lmstudio", f"LM Studio :{server.port}", ("q",))
        assert server.asked == ["/v1/models", "/api/v0/models"]


async def test_it_is_recognised_when_it_wants_a_token() -> None:
    wants = express({"error": {"message": "An LM Studio API token is required to make requests."}}, 401)
    async with Playback({"*": wants}) as server:
        assert (await detect(LM_STUDIO, server.url)).models == ()


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ({"/v1/models": MODELS, "*": UNEXPECTED}, 2),
        ({"/v1/models": MODELS}, 2),
        ({"*": UNEXPECTED}, 1),
        ({}, 1),
        ({"*": answer({"data": [{"id": "m", "owned_by": "llamacpp"}]})}, 1),
        ({"*": answer({"data": [{"id": "m"}]}, Server="uvicorn")}, 1),
    ],
)
async def test_others_are_not_taken_for_it_and_not_bothered(answers: dict[str, bytes], asked: int) -> None:
    async with Playback(answers) as server:
        assert await detect(LM_STUDIO, server.url) is None
        assert len(server.asked) == asked


async def test_a_probe_reads_what_can_be_served() -> None:
    probed = await probe_answer(LM_STUDIO, "/v1/models", MODELS)
    assert isinstance(probed.fact, Answered)
    assert probed.models == ("q",)


@pytest.mark.parametrize(
    "reply", [answer({"data": [{"id": "m", "owned_by": "vllm"}]}), UNEXPECTED, NOT_FOUND]
)
async def test_another_engine_on_its_port_is_told(reply: bytes) -> None:
    probed = await probe_answer(LM_STUDIO, "/v1/models", reply)
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.code == "not-this-kind"


def test_it_speaks_no_images() -> None:
    assert LM_STUDIO.speaks("responses")
    assert not LM_STUDIO.speaks("images/generations")
