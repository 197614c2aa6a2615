"""What is asked of a manager, and how it travels."""

import json

import pytest

from backends.backend_ai.cluster_rig import rig
from backends.playback import Playback, answer
from meshlight.backends.backend_ai.client import VERSION, ManagerVersion, read_token, read_version
from meshlight.http_client.reply import Reply


def reply(body: object, status: int = 200) -> Reply:
    return Reply(status=status, headers=(), body=json.dumps(body).encode(), elapsed_s=0.0, reused=False)


@pytest.mark.parametrize(
    "body", [[], {}, {"version": 5}, {"version": "9"}, {"version": "v9.20250722\r\nx: y"}]
)
def test_what_names_no_version_is_no_manager(body: object) -> None:
    assert read_version(reply(body)) is None
    assert read_version(reply({"version": "v9.20250722"}, 404)) is None


def test_the_manager_s_own_version_is_cut_to_what_can_be_shown() -> None:
    hello = read_version(reply({"version": "v9.20250722", "manager": "26.9.6\n" + "x" * 500}))
    assert hello is not None
    assert hello.manager.isprintable()
    assert len(hello.manager) <= 40
    assert read_version(reply({"version": "v7.20230615"})) == ManagerVersion("v7.20230615")


@pytest.mark.parametrize("token", ["", "a b", "a\r\nb", "한", "x" * 20_000, None, 5])
def test_a_token_that_could_not_be_sent_is_none(token: object) -> None:
    assert read_token(json.dumps({"token": token}).encode()) is None
    assert read_token(b'{"token": "a.b.c"}') == "a.b.c"


@pytest.mark.parametrize(
    ("theirs", "spoken"),
    [("v7.20230615", "v7.20230615"), ("v10.20300101", VERSION), ("v9.20991231", "v9.20991231")],
)
async def test_the_manager_s_version_is_spoken_unless_it_is_newer_than_we_are(
    theirs: str, spoken: str
) -> None:
    answers = {
        "/": answer({"version": theirs, "manager": "99.1"}),
        "/auth?echo=meshlight": answer({"authorized": "yes"}),
        "/services": answer([]),
    }
    async with Playback(answers) as server, rig(url=server.url) as r:
        probe = await r.healthy()
        head = next(head for head in server.heads if head.startswith("GET /services")).lower()
    assert probe.about is not None
    assert probe.about["API version"] == spoken
    assert f"x-backendai-version: {spoken}\r\n" in head
    assert head.count("\r\nhost:") == head.count("\r\naccept-encoding: identity") == 1
    assert "\r\ncontent-type: text/plain\r\n" in head


async def test_a_packed_answer_is_not_unpacked() -> None:
    bomb = answer(b"\x1f\x8b" + b"\0" * 1000, Content_Encoding="gzip", Content_Type="application/json")
    async with Playback({"*": bomb}) as server, rig(url=server.url) as r:
        assert (await r.why()).code == "not-this-kind"


async def test_an_endless_list_is_not_read_to_its_end() -> None:
    answers = {
        "/": answer({"version": VERSION}),
        "/auth?echo=meshlight": answer({}),
        "/services": answer(b"[" + b" " * (5 << 20) + b"]"),
    }
    async with Playback(answers) as server, rig(url=server.url) as r:
        assert (await r.why()).code == "reply-too-large"


async def test_a_manager_at_a_forbidden_address_or_at_our_own_is_not_spoken_to() -> None:
    async with rig(url="http://169.254.169.254") as r:
        assert (await r.why()).code == "forbidden-address"
    async with rig(is_own=True) as r:
        assert (await r.why()).code == "forbidden-address"
        assert not r.cluster.request_log.entries
