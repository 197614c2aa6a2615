"""Pairing is a few pure rules: what binds, what is compared, and who may say what when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshlight.domain.pairing import (
    SHUT_S,
    TRIES_WITHIN_S,
    FailedTries,
    PairingEnding,
    PairingProgress,
    Transcript,
    clean_name,
    commitment,
    failure,
    matches_commitment,
    other_role,
)
from meshlight.domain.peers import is_node_id, node_id

SEEN = Transcript(
    asking_certificate=b"certificate of Anna",
    asked_certificate=b"certificate of Ben",
    asking_nonce=b"a" * 32,
    asked_nonce=b"b" * 32,
)


def standing(**fields: object) -> PairingProgress:
    given_fields = {"role": "asking", "ends_at": 60.0} | fields
    return PairingProgress(**given_fields)  # type: ignore[arg-type]


COMPARING = standing().met("123456")
AGREED = COMPARING.confirm().confirmed_there()


def test_both_sides_show_the_same_six_digits() -> None:
    assert SEEN.digits == replace(SEEN).digits
    assert len(SEEN.digits) == 6
    assert SEEN.digits.isdigit()


def test_the_digits_are_those_of_every_version_of_meshlight() -> None:
    assert SEEN.digits == "459651"


@pytest.mark.parametrize("field", Transcript.__struct_fields__)
def test_other_certificates_or_nonces_give_other_digits_and_another_text_to_sign(field: str) -> None:
    other_text = replace(SEEN, **{field: getattr(SEEN, field)[:-1] + b"x"})
    assert other_text.digits != SEEN.digits
    assert other_text.statement("asking") != SEEN.statement("asking")


def test_what_moves_from_one_field_into_the_next_is_another_transcript() -> None:
    moved = replace(SEEN, asking_certificate=b"certificate of Annac", asked_certificate=b"ertificate of Ben")
    assert moved.digits != SEEN.digits


def test_each_side_signs_a_text_of_its_own_so_a_reflected_signature_is_worth_nothing() -> None:
    assert SEEN.statement("asking") != SEEN.statement("asked")
    assert other_role(other_role("asking")) == "asking"


@given(nonce=st.binary(min_size=32, max_size=32))
def test_a_promised_nonce_is_kept_and_no_other_is(nonce: bytes) -> None:
    promised = commitment(b"a" * 32, b"certificate")
    assert matches_commitment(promised, b"a" * 32, b"certificate")
    assert matches_commitment(promised, nonce, b"certificate") == (nonce == b"a" * 32)
    assert not matches_commitment(promised, b"a" * 32, b"another certificate")


def test_a_nonce_of_another_length_is_none() -> None:
    assert not matches_commitment(commitment(b"a" * 31, b"b"), b"a" * 31, b"b")
    assert not matches_commitment(commitment(b"a" * 33, b"b"), b"a" * 33, b"b")


def test_who_knows_the_other_nonce_too_late_can_not_steer_the_digits() -> None:
    promised = commitment(SEEN.asking_nonce, SEEN.asking_certificate)
    tried = [number.to_bytes(32, "big") for number in range(1000)]
    assert not any(matches_commitment(promised, nonce, SEEN.asking_certificate) for nonce in tried)


def test_a_pairing_is_done_when_both_have_confirmed_and_know_it() -> None:
    assert COMPARING.state == "comparing"
    assert COMPARING.confirm().state == "confirmed"
    assert AGREED.is_agreed
    assert not AGREED.is_over
    assert AGREED.done_there().state == "paired"
    assert COMPARING.confirmed_there().confirm().done_there().state == "paired"


def test_nobody_can_confirm_before_there_are_digits() -> None:
    assert standing().confirm().state == "waiting"
    assert standing().confirmed_there().ending == "garbage"


def test_one_persons_word_is_not_enough() -> None:
    assert not COMPARING.confirm().is_agreed
    assert not COMPARING.confirmed_there().is_agreed
    assert COMPARING.confirmed_there().done_there().ending == "garbage"
    assert COMPARING.confirm().done_there().ending == "garbage"


def test_a_word_said_twice_ends_it() -> None:
    assert COMPARING.confirmed_there().confirmed_there().ending == "garbage"


def test_it_ends_by_itself_after_its_minute_and_not_before() -> None:
    assert COMPARING.at(59.9) == COMPARING
    assert COMPARING.at(60.0).ending == "late"
    assert AGREED.at(60.0).ending == "late"


@pytest.mark.parametrize("over", [AGREED.done_there(), COMPARING.end("refused-here")])
def test_an_end_is_for_ever(over: PairingProgress) -> None:
    assert over.end("lost") == over
    assert over.at(1e9) == over
    assert over.confirm() == over
    assert over.met("000000") == over
    assert over.confirmed_there() == over
    assert over.done_there() == over


def test_three_failed_tries_within_ten_minutes_shut_the_door_for_ten() -> None:
    tries = FailedTries().after("refused-here", 0.0).after("commitment", 1.0)
    assert not tries.is_shut(1.0)
    tries = tries.after("signature", 2.0)
    assert tries.is_shut(2.0)
    assert tries.is_shut(1.9 + SHUT_S)
    assert not tries.is_shut(2.0 + SHUT_S)


def test_tries_that_lie_further_apart_shut_nothing() -> None:
    tries = FailedTries()
    for number in range(10):
        tries = tries.after("refused-there", number * TRIES_WITHIN_S / 2)
        assert not tries.is_shut(number * TRIES_WITHIN_S / 2)


@pytest.mark.parametrize(
    "ending", ["refused-here", "refused-there", "commitment", "signature", "lost", "garbage"]
)
def test_whoever_has_seen_the_nonce_pays_with_a_try_however_it_ends(ending: PairingEnding) -> None:
    assert FailedTries().after(ending, 0.0).after(ending, 0.0).after(ending, 0.0).is_shut(0.0)


@pytest.mark.parametrize("ending", ["late", "closed", "busy"])
def test_what_the_asked_side_decides_by_itself_is_no_failed_try(ending: PairingEnding) -> None:
    assert FailedTries().after(ending, 0.0) == FailedTries()


@given(st.text(max_size=5000))
def test_a_strangers_name_is_printable_short_and_never_empty(name: str) -> None:
    clean = clean_name(name)
    assert 0 < len(clean) <= 80
    assert clean.isprintable()
    assert clean == clean.strip()


def test_a_name_keeps_its_letters_and_loses_what_could_mislead() -> None:
    assert clean_name("Anna's Büro-PC") == "Anna's Büro-PC"
    assert clean_name("a\x1b[31m\n\u202eb") == "a b"
    assert clean_name(" \n") == "unnamed"


def test_every_ending_says_what_happened_where_and_what_to_do() -> None:
    endings: tuple[PairingEnding, ...] = PairingEnding.__args__  # type: ignore[attr-defined]
    for ending in endings:
        error = failure(ending, "{Ben}")
        assert "{Ben}" in error.title or ending == "refused-there"
        assert error.title.endswith(".")
        assert error.hint.endswith(".")
        assert error.cause == ending
        assert error.status == 409


def test_a_node_id_is_the_hash_of_the_public_key() -> None:
    assert node_id(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert is_node_id(node_id(b"x"))
    assert not is_node_id(node_id(b"x").upper())
    assert not is_node_id("../" + "a" * 61)
    assert not is_node_id("a" * 64 + "\n")
