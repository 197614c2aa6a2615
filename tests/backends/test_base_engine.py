"""What all kinds have in common."""

import pytest

from backends.playback import HANG, Playback, answer, probe
from meshlight.backends.base import BackendKind
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed

ANY = KINDS["openai-compatible"]
MODELS = answer({"object": "list", "data": [{"id": "m", "object": "model"}]})


async def test_the_key_goes_along_and_what_is_no_key_does_not() -> None:
    async with Playback({"/v1/models": MODELS}) as server:
        for secret in ("sk-1\n", None, "", "a\r\nx-evil: 1"):
            await probe(ANY, server.url, secret)
        assert "authorization: Bearer sk-1\r\n" in server.heads[0]
        assert all("authorization" not in head and "evil" not in head for head in server.heads[1:])


async def test_the_first_probe_has_a_latency_too_since_connecting_does_not_count() -> None:
    async with Playback({"/v1/models": MODELS}) as server:
        fact = (await probe(ANY, server.url)).fact
    assert isinstance(fact, Answered)
    assert fact.latency_s is not None


async def test_only_a_server_that_took_the_connection_can_be_busy() -> None:
    async with Playback({"*": HANG}) as server:
        silent = await probe(ANY, server.url)
    gone = await probe(ANY, server.url)
    assert isinstance(silent.fact, Failed)
    assert isinstance(gone.fact, Failed)
    assert (silent.is_busy, gone.is_busy) == (True, False)
    assert (silent.fact.reason.code, gone.fact.reason.code) == ("timed-out", "refused")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_every_kind_is_an_engine_of_its_own_file(kind: BackendKind) -> None:
    assert type(kind).__module__.split(".")[2] in {"engines", "clouds", "backend_ai", "peer", "this_machine"}
    modules = [type(other).__module__ for other in KINDS.values()]
    assert modules.count(type(kind).__module__) == 1
