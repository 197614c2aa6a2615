"""Secrets from the environment: `MESHLIGHT_SECRET_<ID>`, or `…_FILE` with the path of a file."""

from collections.abc import Mapping
from pathlib import Path

from meshlight.domain.errors import SecretError
from meshlight.storage.files import read_capped
from meshlight.storage.secrets.secret import Secret

PREFIX = "MESHLIGHT_SECRET_"
LONGEST_FILE = 1 << 16


def variable(backend_id: str, field: str) -> str:
    """Return the name of a secret's variable: that of `gpu-box`'s API key is `MESHLIGHT_SECRET_GPU_BOX`."""
    name = backend_id if field == "api_key" else f"{backend_id}_{field}"
    return f"{PREFIX}{name.upper().replace('-', '_')}"


def secret_of_environment(environ: Mapping[str, str], backend_id: str, field: str) -> Secret | None:
    """Return the secret that the environment gives; read on each call, so that files may change.

    Raises SecretError for a file that can't be read. The error repeats neither its path nor its content: somebody
    may have put the secret where the path belongs.
    """
    name = variable(backend_id, field)
    if value := environ.get(name, "").strip():
        return Secret(checked(value, name))
    path = environ.get(f"{name}_FILE", "").strip()
    if not path:
        return None
    try:
        value = read_capped(Path(path), LONGEST_FILE).decode().strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise SecretError(
            "missing",
            f"The file that {name}_FILE names can't be read: {why}.",
            f"Put the path of a file with the secret alone into {name}_FILE.",
        ) from None
    if not value:
        raise SecretError(
            "missing",
            f"The file that {name}_FILE names is empty.",
            "Put the secret into it, on a single line.",
        )
    return Secret(checked(value, f"{name}_FILE"))


def checked(value: str, origin: str) -> str:
    """Return a secret that can go into a header line; raises SecretError for one with control characters."""
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in value):
        raise SecretError(
            "refused",
            f"The secret from {origin} has a line break or another control character in it.",
            "Copy it again, on a single line.",
        )
    return value
