"""What a kind asks for, and which accounts are two backends: told by field, before anything is kept."""

from typing import cast

import pytest

from mesh.fake_backend_admin import FakeBackendAdmin, draft
from meshlight.backends.base import BackendKind, Field
from meshlight.backends.engines.openai_compatible import OpenAICompatible
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind
from meshlight.domain.errors import BadRequest, Conflict
from meshlight.mesh.backend_form import BackendDraft, BackendPatch


class Cloud(OpenAICompatible):
    """A kind with a place and an account, played by the wires of the fake."""

    label = "Cloud"
    group = "cloud"
    default_url = "https://api.example.com"
    default_ring = "cloud"

    def __init__(self, *more: Field) -> None:
        self._fields = (
            Field(name="url", label="Address"),
            Field(
                name="api_key", label="API key", required=True, is_secret=True, hint="It makes one for you."
            ),
            *more,
        )

    @property
    def fields(self) -> tuple[Field, ...]:
        return self._fields


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    table = cast("dict[Kind, BackendKind]", KINDS)
    monkeypatch.setitem(table, "openai", cloud)
    monkeypatch.setitem(table, "cluster", Cloud(Field(name="access_key", label="Access key", required=True)))
    return cloud


async def test_a_kind_that_has_a_place_needs_no_url_and_is_named_after_itself(clouds: Cloud) -> None:
    fake = FakeBackendAdmin()
    first = await fake.backend_admin.add(BackendDraft(kind="openai", api_key="sk-1"))
    second = await fake.backend_admin.add(BackendDraft(kind="openai", api_key="sk-2"))
    assert (first.url, first.ring) == (clouds.default_url, "cloud")
    assert [(b.id, b.name) for b in (first, second)] == [("cloud", "Cloud"), ("cloud-2", "Cloud 2")]


@pytest.mark.usefixtures("clouds")
async def test_what_its_kind_needs_is_asked_for_by_name_when_it_is_added_and_when_it_is_changed() -> None:
    fake = FakeBackendAdmin()
    with pytest.raises(BadRequest, match="Cloud needs its API key") as bad:
        await fake.backend_admin.add(BackendDraft(kind="openai"))
    assert (bad.value.param, bad.value.hint) == ("api_key", "It makes one for you.")
    await fake.backend_admin.add(BackendDraft(kind="openai", name="a", api_key="sk-1"))
    with pytest.raises(BadRequest, match="needs its API key"):
        await fake.backend_admin.change("a", BackendPatch(api_key=""))


@pytest.mark.usefixtures("clouds")
async def test_one_address_is_listed_once_for_each_account() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(BackendDraft(kind="openai", name="a", api_key="sk-1"))
    with pytest.raises(Conflict):
        await fake.backend_admin.add(BackendDraft(kind="openai", name="b", api_key="sk-1"))
    await fake.backend_admin.add(BackendDraft(kind="openai", name="c", api_key="sk-2"))
    with pytest.raises(Conflict, match="a is at"):
        await fake.backend_admin.change("c", BackendPatch(api_key="sk-1"))
    assert fake.store.secrets == {"a": "sk-1", "c": "sk-2"}


async def test_an_account_of_a_cluster_is_told_by_its_access_key(clouds: Cloud) -> None:
    fake = FakeBackendAdmin()
    url = clouds.default_url
    first = BackendDraft(
        kind="cluster", name="a", url=url, access_key=" AKIA1 ", api_key="s1", ca_file="/c/a.pem"
    )
    added = await fake.backend_admin.add(first)
    assert (added.access_key, added.ca_file, added.follow_clock) == ("AKIA1", "/c/a.pem", True)
    await fake.backend_admin.add(
        BackendDraft(kind="cluster", name="b", url=url, access_key="AKIA2", api_key="s1")
    )
    with pytest.raises(Conflict):
        await fake.backend_admin.add(
            BackendDraft(kind="cluster", name="c", url=url, access_key="AKIA2", api_key="s2")
        )
    changed = await fake.backend_admin.change(
        "b", BackendPatch(access_key="AKIA3", follow_clock=False, ca_file="")
    )
    assert (changed.access_key, changed.follow_clock) == ("AKIA3", False)
    with pytest.raises(Conflict):
        await fake.backend_admin.change("b", BackendPatch(access_key="AKIA1"))


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"name": " \t "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"api_key": "sk\r\nx: y"}, "api_key"),
        ({"kind": "peer"}, "kind"),
        ({"url": "ftp://h"}, "url"),
        ({"url": "http://user:pw@h"}, "url"),
        ({"url": None}, "url"),
        ({"access_key": "AKIA1"}, "access_key"),
        ({"ca_file": "ours.pem"}, "ca_file"),
        ({"ca_file": "/ou\nrs.pem"}, "ca_file"),
    ],
)
async def test_what_can_t_be_names_its_field(wrong: dict[str, object], param: str) -> None:
    fake = FakeBackendAdmin()
    with pytest.raises(BadRequest) as bad:
        await fake.backend_admin.add(draft(**wrong))  # type: ignore[arg-type]
    assert bad.value.param == param
    assert "pw" not in bad.value.title
    assert fake.ids == []
