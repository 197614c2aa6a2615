import keyring
import pytest
from keyring.core import load_keyring
from keyring.errors import InitError, KeyringLocked, NoKeyringError, PasswordDeleteError, PasswordSetError

from meshlight.domain.errors import SecretError, SecretState
from meshlight.storage.secrets.keyring import KeyringBackend, system_keyring, to_secret_error, usable
from storage.memory_storage import CANARY, MemoryKeyring, chain_of, no_keyring, null_keyring


class PlaintextKeyring(MemoryKeyring):
    """As the one of `keyrings.alt`, which keeps secrets in plain files."""


PlaintextKeyring.__module__ = "keyrings.alt.file"


def test_a_keyring_that_keeps_secrets_is_used() -> None:
    backend = MemoryKeyring()
    assert usable(backend) is backend


@pytest.mark.parametrize(
    ("backend", "state"),
    [(no_keyring(), "no-keyring"), (null_keyring(), "refused"), (PlaintextKeyring(), "refused")],
)
def test_one_that_keeps_nothing_or_keeps_it_plain_is_refused(
    backend: KeyringBackend, state: SecretState
) -> None:
    with pytest.raises(SecretError) as caught:
        usable(backend)
    assert caught.value.state == state
    assert "keyring" in caught.value.title
    assert caught.value.hint


def test_of_a_chain_the_first_that_keeps_secrets_is_used() -> None:
    good = MemoryKeyring()
    assert usable(chain_of(no_keyring(), PlaintextKeyring(), good)) is good
    with pytest.raises(SecretError) as caught:
        usable(chain_of(null_keyring()))
    assert caught.value.state == "no-keyring"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NoKeyringError(CANARY), "no-keyring"),
        (KeyringLocked(CANARY), "locked"),
        (InitError(CANARY), "locked"),
        (PasswordSetError(CANARY), "refused"),
        (PasswordDeleteError(CANARY), "refused"),
        (TimeoutError(CANARY), "locked"),
        (OSError(CANARY), "no-keyring"),
        (SecretError("refused", "as it is"), "refused"),
    ],
)
def test_what_a_keyring_raises_is_put_into_words_and_never_quoted(
    error: Exception, state: SecretState
) -> None:
    found = to_secret_error(error)
    assert found.state == state
    assert CANARY not in f"{found.title} {found.hint}"


def test_a_system_without_a_keyring_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    before = keyring.get_keyring()
    keyring.set_keyring(load_keyring("keyring.backends.fail.Keyring"))
    try:
        with pytest.raises(SecretError) as caught:
            system_keyring()
    finally:
        keyring.set_keyring(before)
    assert caught.value.state == "no-keyring"
