"""What all clouds do alike: the key is needed, and never shown to the network in between."""

import pytest

from backends.playback import Playback, answer, backend, probe
from meshlight.backends.clouds.base import open_key_warnings
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Failed

CLOUDS = [kind for kind in KINDS.values() if kind.group == "cloud"]


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("https://gateway.example", False),
        ("http://gateway.example", True),
        ("http://10.0.0.7:4000", True),
        ("http://127.0.0.1:4000", False),
        ("http://[::1]:4000", False),
        ("http://localhost:4000", False),
        ("unix:///run/gateway.sock", False),
    ],
)
def test_a_key_that_anybody_on_the_way_could_read_is_warned_of(url: str, is_warned: bool) -> None:
    warnings = open_key_warnings(backend(KINDS["openai"], url), has_key=True)
    assert bool(warnings) == is_warned
    assert all("Use https://" in each for each in warnings)
    assert open_key_warnings(backend(KINDS["openai"], url), has_key=False) == ()


@pytest.mark.parametrize("kind", CLOUDS, ids=lambda kind: kind.kind)
async def test_a_web_page_in_the_place_of_a_cloud_is_told(kind) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    async with Playback({"*": answer(b"<!doctype html><p>Log in", Content_Type="text/html")}) as server:
        probed = await probe(kind, server.url, "key")
        assert isinstance(probed.fact, Failed)
        assert probed.fact.reason.code == "not-an-api"


@pytest.mark.parametrize("kind", CLOUDS, ids=lambda kind: kind.kind)
async def test_a_key_with_a_line_break_is_never_sent(kind) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    async with Playback({"*": answer({}, 401)}) as server:
        await probe(kind, server.url, "a\r\nx-evil: 1")
        assert "x-evil" not in server.heads[0]


@pytest.mark.parametrize("kind", CLOUDS, ids=lambda kind: kind.kind)
async def test_a_cloud_out_of_reach_names_the_network(kind) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    async with Playback({}) as server:
        url = server.url
    probed = await probe(kind, url, "key")
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.fix.startswith("Check the network, and the address")
