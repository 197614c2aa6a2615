import copy
import logging
import pickle
import traceback

import msgspec
import pytest

from meshlight.storage.secrets.secret import Secret
from storage.memory_storage import CANARY


class Holder(msgspec.Struct):
    """Something that has a secret among other things."""

    name: str
    secret: Secret


def test_a_secret_gives_itself_only_when_asked_to() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Secret("schlüssel").reveal() == "schlüssel"


def test_shown_formatted_and_logged_it_is_stars(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("meshlight").info("got %s and %r", secret, secret)
    shown = [
        f"{secret}",
        f"{secret!r:>9}",
        f"{secret:>9}",
        str([secret]),
        repr(Holder("a", secret)),
        caplog.text,
    ]
    assert all("***" in each and CANARY not in each for each in shown)
    assert not hasattr(secret, "__dict__")


def test_encoded_it_is_stars() -> None:
    holder = Holder("a", Secret(CANARY))
    assert msgspec.json.encode(holder, enc_hook=str) == b'{"name":"a","secret":"***"}'
    with pytest.raises(TypeError) as caught:
        msgspec.json.encode(holder)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("copy_it", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_pickled(copy_it: object) -> None:
    assert callable(copy_it)
    with pytest.raises(TypeError, match="can't be pickled"):
        copy_it(Secret(CANARY))


def test_an_error_on_its_way_does_not_show_it_even_with_the_values_of_variables() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError(f"no use of {secret}")

    try:
        fail(Secret(CANARY))
    except ValueError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert CANARY not in "".join(frames.format()).replace(f"CANARY = '{CANARY}'", "")


def test_a_wiped_secret_is_gone_and_its_copy_is_not() -> None:
    secret = Secret(CANARY)
    other = secret.copy()
    inside = secret._bytes
    secret.wipe()
    assert (secret.reveal(), bytes(inside)) == ("", b"")
    assert other.reveal() == CANARY
