import pytest

from backends.playback import Playback, answer, detect, probe
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered
from meshlight.domain.operations import OPERATIONS

ANY = KINDS["openai-compatible"]
MODELS = answer({"object": "list", "data": [{"id": "glm-5", "object": "model", "owned_by": "zai"}]})


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/models"),
        ("/v1", "/v1/models"),
        ("/v1/", "/v1/models"),
        ("/openai", "/openai/models"),
        ("/api/paas/v4", "/api/paas/v4/models"),
        ("/team/a", "/team/a/v1/models"),
    ],
)
async def test_the_list_is_asked_where_the_url_says(base: str, path: str) -> None:
    async with Playback({path: MODELS}) as server:
        probed = await probe(ANY, server.url + base)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("glm-5",)


async def test_a_bare_array_is_taken_from_a_server_given_by_url_but_proves_nothing_in_a_search() -> None:
    bare = answer([{"id": "m"}])
    async with Playback({"/v1/models": bare}) as server:
        assert (await probe(ANY, server.url)).models == ("m",)
        assert await detect(ANY, server.url) is None


@pytest.mark.parametrize(
    ("reply", "is_found"),
    [
        (MODELS, True),
        (answer({"object": "list", "data": []}), False),
        (answer({"object": "list", "data": [{"id": "car-1", "object": "car"}]}), False),
        (answer({"data": [{"id": "m"}]}), False),
        (answer({"object": "list", "data": [{"id": "m", "object": "model"}]}, 401), False),
    ],
)
async def test_in_a_search_only_an_unmistakable_list_counts(reply: bytes, is_found: bool) -> None:
    async with Playback({"/v1/models": reply}) as server:
        found = await detect(ANY, server.url)
        assert (found is not None) is is_found


def test_it_may_speak_everything_and_has_no_port_of_its_own() -> None:
    assert all(ANY.speaks(operation) for operation in OPERATIONS)
    assert ANY.usual_ports == ()
