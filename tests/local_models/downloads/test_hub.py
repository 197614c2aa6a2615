"""The hub's lists, and its settings."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_models.downloads.rig import noise
from meshlight.domain.errors import BackendCheckFailed, BadRequest, NotFound
from meshlight.local_models.downloads.hub import ENDPOINT, Hub, HubSettings, Listing
from servers.fake_hub import TOKEN, FakeHub, Repository

LFS = {"oid": "a" * 64, "size": 5, "pointerSize": 130}


@pytest.fixture
async def fake() -> AsyncIterator[FakeHub]:
    tiny = Repository({"x-Q4_K_M.gguf": noise(10), "x-Q8_0.gguf": noise(20), "README.md": b"#"})
    async with FakeHub(me__tiny=tiny, me__gated=Repository(tiny.files, is_gated=True)) as fake:
        yield fake


async def listing(fake: FakeHub, repository: str = "me/tiny", token: str = "") -> Listing:
    hub = Hub(HubSettings(endpoint=fake.url, token=token))
    try:
        return await hub.listing(repository)
    finally:
        await hub.web.close()


async def test_a_repository_is_listed_with_sizes(fake: FakeHub) -> None:
    found = await listing(fake)
    assert [(offer.name, offer.size) for offer in found.offers] == [
        ("me/tiny:Q4_K_M", 10),
        ("me/tiny:Q8_0", 20),
    ]
    assert found.note == ""


async def test_all_pages_of_a_list_are_read(fake: FakeHub) -> None:
    fake.page_size = 1
    assert len((await listing(fake)).offers) == 2
    assert len(fake.hub_requests) == 3


async def test_a_list_that_leads_elsewhere_is_not_followed(fake: FakeHub) -> None:
    fake.next_page = "http://127.0.0.1:1/api/models/me/tiny/tree/main"
    assert len((await listing(fake)).offers) == 2
    assert len(fake.hub_requests) == 1


@pytest.mark.parametrize("path", ["../../x.gguf", "/etc/x.gguf", "a\\x.gguf", "x\x1b[31m.gguf", "con.gguf"])
async def test_files_with_hostile_names_are_left_out_and_counted(fake: FakeHub, path: str) -> None:
    fake.repositories["me/tiny"].extra = [
        {"type": "file", "path": path, "size": 5, "lfs": LFS},
        {"type": "file", "path": "y-Q2_K.gguf", "size": 5, "lfs": {**LFS, "oid": "../../x"}},
        {"type": "directory", "path": "folder.gguf"},
    ]
    found = await listing(fake)
    assert len(found.offers) == 2
    assert found.note.startswith("2 files")


@pytest.mark.parametrize("body", [b"<html>log in", b"{}", b"[1]", b"[" * 100_000, b"\xff", b'[{"type":1}]'])
async def test_an_answer_that_is_no_list_is_told(fake: FakeHub, body: bytes) -> None:
    fake.list_body = body
    with pytest.raises(BackendCheckFailed, match="did not answer with a list"):
        await listing(fake)


async def test_a_list_without_bounds_is_not_read_to_its_end(fake: FakeHub) -> None:
    fake.list_body = b" " * (9 << 20)
    with pytest.raises(BackendCheckFailed, match="larger than"):
        await listing(fake)


async def test_unknown_gated_empty_and_offline_have_words_of_their_own(fake: FakeHub) -> None:
    with pytest.raises(NotFound, match="There is no me/nothing at 127"):
        await listing(fake, "me/nothing")
    with pytest.raises(BackendCheckFailed, match="me/gated is not open to everybody") as gated:
        await listing(fake, "me/gated")
    assert "HF_TOKEN" in gated.value.hint
    fake.repositories["me/tiny"].files = {"model.safetensors": b"x"}
    with pytest.raises(NotFound, match="no whole model in the format GGUF"):
        await listing(fake)
    with pytest.raises(BackendCheckFailed, match="Connection refused") as offline:
        await Hub(HubSettings(endpoint="http://127.0.0.1:1")).listing("a/b")
    assert "then try again" in offline.value.hint
    with pytest.raises(BackendCheckFailed, match="HF_HUB_OFFLINE"):
        await Hub(HubSettings(is_offline=True)).listing("a/b")
    with pytest.raises(BadRequest, match="not an address of the web"):
        await Hub(HubSettings(endpoint="nonsense")).listing("a/b")


async def test_the_token_opens_what_is_gated(fake: FakeHub) -> None:
    assert len((await listing(fake, "me/gated", TOKEN)).offers) == 2


async def test_a_source_quotes_the_path(fake: FakeHub) -> None:
    fake.repositories["me/tiny"].files = {"sub/a b-Q4_0.gguf": b"x"}
    offer = (await listing(fake)).offers[0]
    source = Hub(HubSettings(endpoint=fake.url)).source("me/tiny", offer.files[0])
    assert source.url == f"{fake.url}/me/tiny/resolve/main/sub/a%20b-Q4_0.gguf"


def test_settings_are_those_of_the_hubs_own_library(tmp_path: Path) -> None:
    assert HubSettings.here({}, tmp_path).endpoint == ENDPOINT
    token_file = tmp_path / ".cache" / "huggingface" / "token"
    token_file.parent.mkdir(parents=True)
    token_file.write_text("hf_file\n")
    assert HubSettings.here({}, tmp_path).read_token() == "hf_file"
    assert HubSettings.here({"HF_TOKEN": "hf_env"}, tmp_path).read_token() == "hf_env"
    assert HubSettings.here({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, tmp_path).read_token() == ""
    assert HubSettings.here({"HF_HOME": str(tmp_path)}, tmp_path).read_token() == ""
    (tmp_path / "token").write_text("hf_home")
    assert HubSettings.here({"HF_HOME": str(tmp_path)}, tmp_path).read_token() == "hf_home"
    there = HubSettings.here({"HF_ENDPOINT": "https://hub.example/", "HF_HUB_OFFLINE": "1"}, tmp_path)
    assert (there.endpoint, there.is_offline) == ("https://hub.example", True)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é", "x" * 2000])
def test_a_token_that_would_break_a_header_is_not_used(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    assert HubSettings(token_file=str(tmp_path / "token")).read_token() == ""
    assert HubSettings(token=token).read_token() == ""


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(HubSettings(token="secret"))
