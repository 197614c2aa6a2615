"""What engines answer to a request to load or unload a model, and what people are told of it."""

import pytest

from backends.playback import Playback, answer
from meshlight.backends.base import BackendKind
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.errors import BackendCheckFailed, Conflict, MeshlightError, NotFound
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream

SECRET = "canary-sk-77e1"
LOADED = answer({"type": "llm", "instance_id": "m", "load_time_seconds": 1.0, "status": "loaded"})


def listed(*instances: str, key: str = "m") -> bytes:
    return answer(
        {"models": [{"key": key, "loaded_instances": [{"id": one} for one in instances]}, 5, {"key": 7}]}
    )


async def act(server: Playback, kind: Kind, verb: str) -> None:
    backend = Backend(id="a", name="Attic", kind=kind, ring="machine", url=server.address.url)
    upstream = Upstream(parse_address(server.address.url))
    found: BackendKind = KINDS[kind]
    try:
        await (found.load_model if verb == "load" else found.unload_model)(upstream, backend, SECRET, "m")
    finally:
        upstream.close()


async def refused(answers: dict[str, bytes], kind: Kind, verb: str) -> MeshlightError:
    async with Playback(answers) as server:
        with pytest.raises(MeshlightError) as caught:
            await act(server, kind, verb)
    assert SECRET not in caught.value.title + caught.value.hint
    return caught.value


@pytest.mark.parametrize(("verb", "keep_alive"), [("load", b"-1"), ("unload", b"0")])
async def test_ollama_is_asked_by_an_empty_prompt_with_the_key(verb: str, keep_alive: bytes) -> None:
    async with Playback({"/api/generate": answer({"done": True, "done_reason": verb})}) as server:
        await act(server, "ollama", verb)
        assert server.bodies == [b'{"model":"m","keep_alive":%b}' % keep_alive]
        assert f"Bearer {SECRET}" in server.heads[0]


async def test_an_embedding_model_of_ollama_is_loaded_by_the_path_that_it_has() -> None:
    no = answer({"error": '"m" does not support generate'}, 400)
    async with Playback({"/api/generate": no, "/api/embed": answer({"embeddings": []})}) as server:
        await act(server, "ollama", "load")
        assert server.asked == ["/api/generate", "/api/embed"]


async def test_lm_studio_unloads_every_instance_and_loads_none_twice() -> None:
    unload = answer({"instance_id": "m"})
    paths = {"/api/v1/models": listed("m", "m:2"), "/api/v1/models/unload": unload}
    async with Playback(paths) as server:
        await act(server, "lmstudio", "unload")
        assert server.bodies[1:] == [b'{"instance_id":"m"}', b'{"instance_id":"m:2"}']
        await act(server, "lmstudio", "load")
        assert server.asked[3:] == ["/api/v1/models"]


async def test_lm_studio_knows_a_loaded_instance_by_its_own_name() -> None:
    paths = {
        "/api/v1/models": listed("m", "other", key="k"),
        "/api/v1/models/unload": answer({"instance_id": "m"}),
    }
    async with Playback(paths) as server:
        await act(server, "lmstudio", "unload")
        assert server.bodies[1:] == [b'{"instance_id":"m"}']


async def test_lm_studio_loads_what_is_not_loaded() -> None:
    async with Playback({"/api/v1/models": listed(), "/api/v1/models/load": LOADED}) as server:
        await act(server, "lmstudio", "load")
        assert server.bodies[1:] == [b'{"model":"m"}']


@pytest.mark.parametrize(
    "old",
    [
        answer({"error": "Unexpected endpoint or method. (GET /api/v1/models)"}),
        answer(b"", 404),
        answer({"data": []}),
        answer(b"[]"),
    ],
)
async def test_an_older_lm_studio_is_to_be_updated(old: bytes) -> None:
    error = await refused({"*": old}, "lmstudio", "load")
    assert isinstance(error, Conflict)
    assert "Update LM Studio" in error.hint


@pytest.mark.parametrize(
    ("verb", "said"), [("load", "model is already running"), ("unload", "model is not running")]
)
async def test_a_router_that_has_done_it_already_is_no_failure(verb: str, said: str) -> None:
    no = answer({"error": {"code": 400, "message": said, "type": "invalid_request_error"}}, 400)
    async with Playback({f"/models/{verb}": no}) as server:
        await act(server, "llamacpp", verb)
        assert server.bodies == [b'{"model":"m"}']


@pytest.mark.parametrize(
    ("verb", "no"),
    [
        (
            "load",
            answer({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, 404),
        ),
        ("unload", answer({"error": {"code": 400, "message": "model is not found"}}, 400)),
    ],
)
async def test_a_router_without_the_model_is_told_apart(verb: str, no: bytes) -> None:
    error = await refused({"*": no}, "llamacpp", verb)
    assert isinstance(error, NotFound)
    assert error.title == f"Attic has no model 'm' to {verb}."


@pytest.mark.parametrize("kind", ["ollama", "lmstudio", "llamacpp"])
async def test_a_failure_is_quoted_without_the_key_and_without_control_characters(kind: Kind) -> None:
    text = f"no room \x1b[31m for {SECRET}"
    error = await refused(
        {"/api/v1/models": listed(), "*": answer({"error": {"message": text}}, 500)}, kind, "load"
    )
    assert isinstance(error, BackendCheckFailed)
    assert error.title.startswith("Attic did not load m: it answered 500. It says: no room")
    assert error.title.isprintable()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_named(status: int) -> None:
    error = await refused({"*": answer({"error": "Unauthorized"}, status)}, "ollama", "load")
    assert isinstance(error, Conflict)
    assert "refuses the key" in error.title


@pytest.mark.parametrize("kind", ["vllm", "mlx", "openai", "gemini", "cluster", "openai-compatible"])
async def test_others_have_no_such_request(kind: Kind) -> None:
    for verb in ("load", "unload"):
        error = await refused({}, kind, verb)
        assert "can't be asked to load or unload models" in error.title
