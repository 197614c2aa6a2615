"""Asks an engine to load or unload a model, and turns what it refuses into sentences."""

from typing import Any, Protocol

import msgspec

from meshlight.domain.backend import Backend
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import BackendCheckFailed, Conflict, MeshlightError, NotFound
from meshlight.domain.text import sanitize_line
from meshlight.http_client.error_text import message_of, quoted_error
from meshlight.http_client.reply import Headers, Reply

_JSON = (b"content-type", b"application/json")
ANSWER_MAX = 1 << 20
"""Bytes that are read of an answer."""


class Fetcher(Protocol):
    """The part of an HTTP client that is needed here."""

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 2.0,
        limit: int = 1 << 20,
    ) -> Reply:
        """Send one request and read the complete answer; raises an UpstreamError."""


async def ask(
    upstream: Fetcher, path: str, body: dict[str, object] | None, headers: Headers, within_s: float
) -> Reply:
    """Post a small JSON body, or GET without one; raises an UpstreamError."""
    return await upstream.fetch(
        "GET" if body is None else "POST",
        path,
        headers=headers if body is None else (*headers, _JSON),
        body=b"" if body is None else msgspec.json.encode(body),
        timeout_s=within_s,
        limit=ANSWER_MAX,
    )


def fields_of(reply: Reply) -> dict[str, Any]:
    """Return the object in an answer; empty if there is none."""
    found = decode_or_none(reply.body)
    return found if isinstance(found, dict) else {}


def refusal(reply: Reply, backend: Backend, model: str, verb: str, secret: str | None) -> MeshlightError:
    """Return the error for an answer that refuses to load or unload a model; `verb` says which."""
    what = f"{backend.name} did not {verb} {sanitize_line(model, 80)}"
    if reply.status == 404 and message_of(reply):
        return NotFound(
            f"{what}.{quoted_error(reply, secret)}", "Refresh: its list of models may have changed."
        )
    if reply.status in {401, 403}:
        return Conflict(f"{what}: it refuses the key.{quoted_error(reply, secret)}", "Check its key.")
    return BackendCheckFailed(
        f"{what}: it answered {reply.status}.{quoted_error(reply, secret)}", "Its own log may say more."
    )


def cannot(backend: Backend, why: str, hint: str = "") -> Conflict:
    """Return the error for a backend that can't be asked to load or unload models."""
    return Conflict(f"{backend.name} can't be asked to load or unload models: {why}", hint)
