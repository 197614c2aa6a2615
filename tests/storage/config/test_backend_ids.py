import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlight.storage.config.backend_ids import (
    ID_PATTERN,
    EntryNames,
    host_of,
    name_backends,
    slug,
    url_fault,
    url_identity,
)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("GPU box", "gpu-box"),
        ("  Tom's   Mac (M4) ", "tom-s-mac-m4"),
        ("Büro-Rechner №2", "buro-rechner-no2"),
        ("서버", ""),
        ("a" * 60, "a" * 48),
        ("10.0.0.5", "10-0-0-5"),
    ],
)
def test_an_id_is_made_of_the_letters_and_digits_of_a_name(words: str, made: str) -> None:
    assert slug(words) == made


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(max_size=8), st.sampled_from("abc")), max_size=8))
def test_every_backend_gets_an_id_of_its_own(entries: list[tuple[str | None, str]]) -> None:
    named = name_backends([EntryNames(url=f"http://{host}", name=name) for name, host in entries])
    ids = [id_ for id_, _ in named]
    assert len(set(ids)) == len(ids)
    assert all(ID_PATTERN.fullmatch(id_) for id_ in ids)


def test_a_written_id_is_kept_and_never_given_to_another() -> None:
    named = name_backends(
        [
            EntryNames("http://a", name="Ollama"),
            EntryNames("http://b", id="ollama"),
            EntryNames("http://c", name="ollama"),
        ]
    )
    assert named == [("ollama-2", "Ollama"), ("ollama", "ollama"), ("ollama-3", "ollama")]


def test_a_name_defaults_to_the_id_and_then_to_the_host() -> None:
    assert name_backends([EntryNames("http://gpu.lan:8000/v1", id="box")]) == [("box", "box")]
    assert name_backends([EntryNames("http://gpu.lan:8000/v1")]) == [("gpu-lan", "gpu.lan")]
    assert name_backends([EntryNames("http://[::1]:8000", name="서버")]) == [("1", "서버")]


@pytest.mark.parametrize(
    "duplicate", ["http://box:80", "HTTP://Box", "http://box/", "http://box/v1", "http://box:80/v1/"]
)
def test_two_spellings_of_one_address_are_the_same(duplicate: str) -> None:
    assert url_identity(duplicate) == url_identity("http://box")


@pytest.mark.parametrize(
    "other", ["https://box", "http://box:81", "http://box/api", "http://boxy", "http://box?x=1"]
)
def test_another_address_is_not(other: str) -> None:
    assert url_identity(other) != url_identity("http://box")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://box", "must begin with http"),
        ("box:8000", "must begin with http"),
        ("", "must begin with http"),
        ("http://", "names no host"),
        ("http://box:0", "has the port 0"),
        ("http://box:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://me:pw@box", "password"),
        ("http://box?", "before the ?"),
        ("http://box/#", "before the ?"),
        ("http://b ox", "space"),
        ("http://box\r\nx", "control"),
        ("http://" + "b" * 2050, "longer than"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_repeating_it(url: str, fault: str) -> None:
    said = url_fault(url)
    assert said is not None
    assert fault in said
    assert "pw" not in said


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://api.example.com/v1", "http://[::1]:11434/"]
)
def test_a_good_url_has_no_fault(url: str) -> None:
    assert url_fault(url) is None
    assert host_of(url)
