"""How the service proves that it holds the local key, to a client that has not shown it yet."""

import hmac
import re
from hashlib import sha256

CHALLENGE_BYTES = 32
_CHALLENGE = re.compile(r"[0-9a-f]{64}")


def is_challenge(text: str) -> bool:
    """Whether this is a challenge: 32 random bytes in small hex digits."""
    return _CHALLENGE.fullmatch(text) is not None


def prove(key: str, challenge: str, instance: str) -> str:
    """Return what only a holder of the key can answer to a challenge, as hex digits.

    The instance of this start is part of it, so that what another start answers proves nothing. A challenge has
    a fixed length, so no two questions give the same message.
    """
    return hmac.new(key.encode(), f"meshlight|{challenge}|{instance}".encode(), sha256).hexdigest()


def is_proof(answer: str, key: str, challenge: str, instance: str) -> bool:
    """Whether an answer is the proof that was asked for, in a time that tells nothing of the right one."""
    return hmac.compare_digest(answer.encode(errors="replace"), prove(key, challenge, instance).encode())
