"""Which headers pass through, in either direction.

To a backend go only headers that are known to be part of a request to a model. A list of what to leave out would
never be complete: every proxy has headers of its own that identify the user (`Remote-User`, `X-Forwarded-*`), and
each cloud has some that name an account. From this machine's own programs, that is what the clients of the APIs send:
how to answer, versions and betas, ids for tracing, sessions and idempotency, and headers with the name of an API's
maker, unless they read like a credential. A peer's request needs its type and the protocol's version; anything more
would be sent in the owner's name.

Hop-by-hop headers end here (RFC 9110, section 7.6.1), and nothing a backend sends can set a cookie or open this
origin to other sites.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from meshlight.http_client.client import Headers

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
_PASSED: Final = frozenset(
    b"accept accept-language user-agent prefer priority idempotency-key x-idempotency-key traceparent tracestate "
    b"baggage x-request-id x-client-request-id x-correlation-id x-trace-id x-b3-traceid x-b3-spanid x-b3-sampled b3 "
    b"session-id session_id x-session-id x-session-affinity conversation_id conversation-id x-conversation-id "
    b"thread-id thread_id x-thread-id x-interaction-id x-title http-referer x-app originator version x-initiator "
    b"x-goog-api-client x-server-timeout x-request-timeout x-timeout x-priority x-data-parallel-rank x-grok-conv-id "
    b"x-grok-session-id x-wait-for-model x-use-cache x-ds-stream x-dashscope-sse x-no-buffering".split()
)
_PASSED_PREFIXES: Final = (
    b"openai-",
    b"x-openai-",
    b"anthropic-",
    b"x-anthropic-",
    b"x-stainless-",
    b"x-claude-",
    b"x-codex-",
    b"x-openrouter-",
    b"x-litellm-",
    b"x-portkey-",
    b"x-vllm-",
    b"x-ollama-",
)
_CREDENTIAL: Final = re.compile(rb"api-?key|auth|token|secret|cookie|password")
_PASSED_FOR_GUESTS: Final = frozenset({b"accept", b"anthropic-version", b"anthropic-beta"})
_REMEMBERED_MAX: Final = 1_024
_passes: dict[bytes, bool] = {}
"""Header name → whether it passes; nearly always the same few names."""
_RESPONSE_DROPPED: Final = _HOP_BY_HOP | frozenset(
    b"set-cookie set-cookie2 server alt-svc strict-transport-security clear-site-data content-security-policy "
    b"x-content-type-options www-authenticate refresh link".split()
)
_RESPONSE_DROPPED_PREFIXES: Final = (b"access-control-", b"x-meshlight-", b"cross-origin-")
_FOR_GUESTS: Final = frozenset(
    b"content-type content-length content-encoding content-disposition retry-after retry-after-ms x-should-retry "
    b"x-request-id request-id".split()
)
"""The headers of a backend that a peer gets: others may show its owner's account or its address."""
_RUN_ID: Final = secrets.token_hex(4).encode()
_IDENTITY: Final = (b"accept-encoding", b"identity")
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.()\[\]\- ]")
_NOT_PRINTABLE: Final = re.compile(r"[^ -~]")
_TEXT_MAX: Final = 600
_DROPPED_MAX, _NAME_MAX = 20, 100
"""Names in `x-meshlight-dropped`, and characters of each."""
_NONE: Final = frozenset[bytes]()
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def _connection_headers(headers: Headers) -> frozenset[bytes]:
    """Return the names that the `Connection` header declares to be hop-by-hop."""
    for name, _ in headers:
        if name == b"connection":
            break
    else:
        return _NONE
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def is_page(headers: Headers) -> bool:
    """Whether an answer is a web page by its type; no API answers with one."""
    for name, value in headers:  # noqa: SIM110 - a generator costs as much as the whole
        if name == b"content-type" and value[:9].lower() == b"text/html":
            return True
    return False


class _Ids:
    """Gives requests ids: that of this run, and a number."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> bytes:
        """Return the next one."""
        self._last += 1
        return b"req_%b_%d" % (_RUN_ID, self._last)


_ids: Final = _Ids()


def new_request_id() -> bytes:
    """Return a new id."""
    return _ids.new()


def request_id() -> tuple[bytes, bytes]:
    """Return a header with a new id."""
    return b"x-request-id", _ids.new()


def dropped(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the header that lists what of a request was left out; the names are the client's, so sanitized."""
    shown = [_NOT_OF_A_NAME.sub("?", name[:_NAME_MAX]) for name in names[:_DROPPED_MAX]]
    more = [f"and {len(names) - _DROPPED_MAX} more"] if len(names) > _DROPPED_MAX else []
    return b"x-meshlight-dropped", ", ".join([*shown, *more]).encode("ascii")


def header_text(text: str) -> bytes:
    """Return a text as the value of a header; what is not printable ASCII is replaced."""
    return _NOT_PRINTABLE.sub("?", text[:_TEXT_MAX]).encode("ascii")


def to_backend(
    headers: Headers, auth: Headers, content_type: bytes = b"", *, is_guest: bool = False
) -> list[tuple[bytes, bytes]]:
    """Return the client's headers as they go to a backend, with the backend's own credentials.

    Names must be lower-case, as ASGI gives them; `content_type` is the one under which the body was read. The answer
    is requested without content coding, so that its `usage` can be read; the HTTP client adds `host` and
    `content-length`.
    """
    hop_by_hop = _connection_headers(headers)
    kept = [(b"content-type", content_type or b"application/json")]
    if is_guest:
        kept += [pair for pair in headers if pair[0] in _PASSED_FOR_GUESTS and pair[0] not in hop_by_hop]
    else:
        for pair in headers:
            passes = _passes.get(pair[0])
            if passes is None:
                passes = _check_name(pair[0])
            if passes and pair[0] not in hop_by_hop:
                kept.append(pair)
    kept.append(_IDENTITY)
    kept.extend(auth)
    return kept


def _check_name(name: bytes) -> bool:
    """Return whether a header of this machine's own programs goes on to a backend, and remember it."""
    if len(_passes) >= _REMEMBERED_MAX:
        _passes.clear()
    passes = name in _PASSED or (name.startswith(_PASSED_PREFIXES) and not _CREDENTIAL.search(name))
    _passes[name] = passes
    return passes


def bare(content_type: bytes, auth: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request that goes on with none of its client's."""
    return [(b"content-type", content_type or b"application/json"), _IDENTITY, *auth]


def to_client(headers: Headers, extra: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a backend's headers as they go to the client, with `extra` added."""
    hop_by_hop = _connection_headers(headers)
    kept = [
        pair
        for pair in headers
        if not (
            pair[0] in _RESPONSE_DROPPED
            or pair[0] in hop_by_hop
            or pair[0].startswith(_RESPONSE_DROPPED_PREFIXES)
        )
    ]
    kept.append(_NOSNIFF)
    kept.extend(extra)
    return kept


def to_guest(headers: Headers, extra: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return a backend's headers as they go to a peer, with `extra` added."""
    return to_client([pair for pair in headers if pair[0] in _FOR_GUESTS], extra)
