"""How the service proves that it has the local key, before a client sends the key to it."""

import hmac
import re
from hashlib import sha256

CHALLENGE_BYTES = 32
_CHALLENGE = re.compile(r"[0-9a-f]{64}")


def is_challenge(text: str) -> bool:
    """Whether this is a challenge: 32 random bytes in lower-case hex digits."""
    return _CHALLENGE.fullmatch(text) is not None


def prove(key: str, challenge: str, instance: str) -> str:
    """Return the answer to a challenge that only somebody with the key can compute (HMAC-SHA256), as hex digits.

    The instance of this start is part of it, so that the answer of another start is not valid. A challenge has a
    fixed length, so no two challenges give the same message.
    """
    return hmac.new(key.encode(), f"meshlight|{challenge}|{instance}".encode(), sha256).hexdigest()


def is_proof(answer: str, key: str, challenge: str, instance: str) -> bool:
    """Whether an answer is the right proof; takes the same time however much of it is right."""
    return hmac.compare_digest(answer.encode(errors="replace"), prove(key, challenge, instance).encode())
