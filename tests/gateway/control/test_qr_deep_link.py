"""A link from anybody: it fills in a dialog, or is refused with a word."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.backends.base import Field
from meshlight.backends.engines.openai_compatible import OpenAICompatible
from meshlight.backends.kinds import KINDS
from meshlight.domain.errors import BadRequest
from meshlight.gateway.control.qr import LONGEST, DeepLink, PairLink, parse_deep_link, parse_host

GOOD = "meshlight://add?kind=ollama&url=http%3A%2F%2Fgpu.lan%3A11434&name=Big%20box"


def read_added(text: str) -> DeepLink:
    """What a link says that adds a backend."""
    link = parse_deep_link(text)
    assert isinstance(link, DeepLink)
    return link


def test_a_good_link_says_what_the_dialog_is_filled_in_with() -> None:
    link = read_added(GOOD)
    assert (link.kind, link.url, link.name, link.access_key) == (
        "ollama",
        "http://gpu.lan:11434",
        "Big box",
        "",
    )
    assert link.fragment == "add?kind=ollama&url=http%3A%2F%2Fgpu.lan%3A11434&name=Big%20box"
    assert link.text == GOOD
    assert read_added("meshlight://add/?kind=ollama&url=http://gpu.lan:11434/v1/").url == link.url


class WithPlace(OpenAICompatible):
    default_url = "https://api.example.com"

    @property
    def fields(self) -> tuple[Field, ...]:
        return (*super().fields, Field(name="access_key", label="Access key"))


def test_a_kind_that_has_a_place_and_accounts_may_be_named_alone_or_with_its_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KINDS, "cluster", WithPlace())
    assert read_added("meshlight://add?kind=cluster").url == "https://api.example.com"
    assert read_added("meshlight://add?kind=cluster&access_key=AKIA1").access_key == "AKIA1"
    with pytest.raises(BadRequest, match="longer than 256"):
        parse_deep_link(f"meshlight://add?kind=cluster&access_key={'A' * 257}")


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("http://add?kind=ollama&url=http://x", "begin with meshlight://add?"),
        ("meshlight://remove?kind=ollama&url=http://x", "begin with meshlight://add?"),
        ("meshlight://add@evil?kind=ollama&url=http://x", "begin with meshlight://add?"),
        ("meshlight://add:80?kind=ollama&url=http://x", "begin with meshlight://add?"),
        ("meshlight://add/more?kind=ollama&url=http://x", "begin with meshlight://add?"),
        (f"{GOOD}#x", "begin with meshlight://add?"),
        ("meshlight:add?kind=ollama&url=http://x", "begin with meshlight://add?"),
        ("meshlight://[?kind=ollama", "can't be read"),
        ("meshlight://add", "does not say which kind"),
        ("meshlight://add?kind", "can't be read"),
        ("meshlight://add?kind=%FF", "can't be read"),
        ("meshlight://add?url=http://x", "does not say which kind"),
        ("meshlight://add?kind=nonsense&url=http://x", "no kind 'nonsense'"),
        ("meshlight://add?kind=ollama", "Ollama needs its address"),
        ("meshlight://add?kind=ollama&url=file:///etc/passwd", "does not begin with http"),
        ("meshlight://add?kind=ollama&url=http://u:pw@x", "holds a user name or password"),
        ("meshlight://add?kind=ollama&url=http://x&url=http://y", "'url' twice"),
        ("meshlight://add?kind=ollama&url=http://x&enabled=false", "'enabled' which no link may"),
        ("meshlight://add?kind=ollama&url=http://x&access_key=A", "has no access key"),
        ("meshlight://add?kind=ollama&url=http://x&name=%E2%80%AEevil", "no printable characters, or others"),
        ("meshlight://add?kind=ollama&url=http://x&name=a%0Ab", "no printable characters, or others"),
        ("meshlight://add?kind=ollama&url=http://x name", "holds a blank"),
        ("meshlight://add?kind=ollama&url=http://é", "must be %-escaped"),
        (GOOD + "x" * LONGEST, f"longer than {LONGEST}"),
    ],
)
def test_another_link_is_refused_with_what_is_wrong_and_what_would_be_right(link: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_deep_link(link)
    assert message in refused.value.title
    assert "pw@" not in refused.value.title


@pytest.mark.parametrize("name", ["api_key", "API-KEY", "secret", "token", "password", "secret_key"])
def test_a_secret_in_a_link_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(BadRequest, match="carries a secret") as refused:
        parse_deep_link(f"{GOOD}&{name}=sk-12345")
    assert "sk-12345" not in refused.value.title + refused.value.hint


@given(st.text(max_size=80) | st.text(max_size=60).map("meshlight://add?".__add__))
def test_whatever_comes_is_a_link_or_a_bad_request(text: str) -> None:
    with suppress(BadRequest):
        link = parse_deep_link(text)
        assert parse_deep_link(link.text) == link


ID = "3fa941c0" * 8
PAIR = f"meshlight://pair?host=192.168.1.20&port=6376&id={ID}&name=Bo%27s%20desk"


def test_a_link_that_pairs_says_where_and_whose_key() -> None:
    link = parse_deep_link(PAIR)
    assert link == PairLink(host="192.168.1.20", port=6376, id=ID, name="Bo's desk")
    assert link.text == PAIR
    assert parse_deep_link(f"meshlight://pair/?id={ID}&port=1&host=%5Bfd00::5%5D") == PairLink(
        host="fd00::5", port=1, id=ID
    )


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (f"meshlight://pair?port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=a/b&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=a%0Ab&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=u@x&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=x:1&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=0.0.0.0&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=224.0.0.1&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=fe80::1%25eth0&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=127.1&port=6376&id={ID}", "names no host"),
        (f"meshlight://pair?host=x&id={ID}", "names no port"),
        (f"meshlight://pair?host=x&port=0&id={ID}", "names no port"),
        (f"meshlight://pair?host=x&port=65536&id={ID}", "names no port"),
        (f"meshlight://pair?host=x&port=%2B1&id={ID}", "names no port"),
        ("meshlight://pair?host=x&port=1", "names no id"),
        (f"meshlight://pair?host=x&port=1&id={ID[:-1]}", "names no id"),
        (f"meshlight://pair?host=x&port=1&id={ID.upper()}", "names no id"),
        (f"{PAIR}&url=http://x", "'url' which no link may"),
        (f"{PAIR}&host=y", "'host' twice"),
        (f"{PAIR}&token=x", "carries a secret"),
        (f"meshlight://pair?host=x&port=1&id={ID}&name=%E2%80%AEevil", "no printable characters, or others"),
        (f"meshlight://pair@x?host=x&port=1&id={ID}", "begin with meshlight://add? or meshlight://pair?"),
    ],
)
def test_another_link_that_pairs_is_refused_with_what_is_wrong(link: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_deep_link(link)
    assert message in refused.value.title


@given(st.text(max_size=60).map(f"meshlight://pair?port=1&id={ID}&host=".__add__))
def test_whatever_the_host_is_it_is_one_or_refused(text: str) -> None:
    with suppress(BadRequest):
        link = parse_deep_link(text)
        assert parse_deep_link(link.text) == link


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("GPU-box.Lan", "gpu-box.lan"),
        ("[::1]", "::1"),
        ("FD00:0::5", "fd00::5"),
        ("a" * 64, None),
        ("-x", None),
    ],
)
def test_a_host_is_written_in_one_way(text: str, host: str | None) -> None:
    assert parse_host(text) == host
