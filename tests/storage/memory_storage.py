"""What the tests of this room share: a rule for rings, and keyrings that live in memory."""

import threading
from urllib.parse import urlsplit

from keyring.backends import chainer, fail, null

from meshlight.domain.backend import Kind, Ring
from meshlight.storage.secrets.keyring import KeyringBackend

CANARY = "sk-canary-0123456789"


def ring_for(kind: Kind, url: str) -> Ring:
    if kind == "openai":
        return "cloud"
    host = urlsplit(url).hostname or ""
    if host in {"localhost", "127.0.0.1"}:
        return "machine"
    return "cloud" if "." in host else "lan"


def no_keyring() -> KeyringBackend:
    """Return what `keyring` uses where a system has none."""
    return fail.Keyring()  # type: ignore[no-untyped-call]


def null_keyring() -> KeyringBackend:
    """Return the keyring that forgets everything without a word."""
    return null.Keyring()  # type: ignore[no-untyped-call]


def chain_of(*links: KeyringBackend) -> KeyringBackend:
    """Return what `keyring` uses where a system has several."""

    class Chain(chainer.ChainerBackend):
        backends = links

    Chain.__module__ = chainer.__name__
    return Chain()  # type: ignore[no-untyped-call]


class MemoryKeyring:
    """Keeps secrets as a keyring does, and counts how often it is asked."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.asked = 0
        self.threads: set[str] = set()

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class FailingKeyring(MemoryKeyring):
    """Raises the given error until it is taken away."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def get_password(self, service: str, username: str) -> str | None:
        found = super().get_password(service, username)
        if self.error is not None:
            raise self.error
        return found


class DialogKeyring(MemoryKeyring):
    """Waits at a dialog with every call until somebody answers it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.answered = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.opened.set()
        self.answered.wait(20)
        return super().get_password(service, username)


class ForgetfulKeyring(MemoryKeyring):
    """Says that it keeps what it is given, and does not."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
