"""Reads from a server's refusal which fields of a translated request it does not accept, and removes them.

The kind of a server does not say which fields it knows: some refuse every field that is not OpenAI's (Groq with 400,
Mistral with 422), some have renamed the limit, some models accept no temperature. The refusal names the field. Only
fields that a translation adds, or that are optional, are removed. What decides the meaning of the answer (messages,
tools, formats, stop sequences) stays, and requests that are passed on untranslated stay unchanged.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.decoding import decode_or_none
from meshlight.http_client.reply import Reply

EXTENSIONS = frozenset(
    {
        "chat_template_kwargs",
        "thinking_budget_tokens",
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repetition_penalty",
        "repeat_last_n",
        "reasoning_content",
        "reasoning_details",
        "extra_content",
    }
)
"""Fields that are not OpenAI's: a server that refuses two of them accepts none."""
_OPTIONAL = frozenset(
    {
        "reasoning_effort",
        "stream_options",
        "parallel_tool_calls",
        "user",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "encoding_format",
        "strict",
        "name",
    }
)
_RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
IDS = "tool_call_id"
"""Stands for the format of the ids of calls: Mistral accepts only nine letters and digits."""
_OURS = EXTENSIONS | _OPTIONAL | _RENAMED.keys()
_INNER = frozenset({"reasoning_content", "reasoning_details", "extra_content", "strict", "name"})
"""Fields inside messages, calls and tools."""
_PLAIN = frozenset({"user", "name", "seed", "strict", "temperature"})
"""Names that are also ordinary words: they count only if marked as names."""
_REFUSES = re.compile(
    r"unsupported|not supported|n't supported|not support|unknown|unrecogni[sz]ed|unexpected"
    r"|extra[_ ](?:input|field|forbid)|not permitted|not allowed"
    r"|forbidden|cannot find|can't find|no such|additional propert|invalid (?:argument|param|field|input)"
    r"|not (?:a )?(?:valid|recogni)",
    re.IGNORECASE,
)
_OF_IDS = re.compile(
    r"tool[ _]call[ _]?id\b.{0,200}(?:length|a-z|pattern|must|long)|tool_calls\W+\d+\W+id\b",
    re.IGNORECASE | re.DOTALL,
)
_READ_MAX = 1 << 16
_TEXT_MAX = 4_000
_DEPTH_MAX = 8
_QUOTES = frozenset({"input", "ctx", "body", "url", "failed_generation"})
"""Keys below which a refusal repeats the request, whose words name no fields."""

_fields = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def refused_fields(refusal: Reply, body: bytes) -> frozenset[str]:
    """Return which removable fields of `body` a refusal names; empty if it is about something else."""
    text, exact = _read(refusal.body)
    if b'"tool_calls"' in body and _OF_IDS.search(text):
        return frozenset({IDS})
    if not _REFUSES.search(text):
        return frozenset()
    present = {name for name in _OURS if b'"%s"' % name.encode() in body}
    return frozenset(name for name in present if name in exact or _is_named(name, text))


def without_fields(body: bytes, refused: frozenset[str]) -> tuple[bytes, tuple[str, ...]]:
    """Return a translated body without the refused fields, and the names of those that it had."""
    fields: dict[str, Any] = dict(_fields.decode(body))
    removed = {name for name in refused if name not in _RENAMED and fields.pop(name, None) is not None}
    for old, new in _RENAMED.items():
        if old in refused and old in fields and new not in refused:
            fields[new] = fields.pop(old)
    inner = refused & _INNER
    for place in ("messages", "tools"):
        if place in fields and (inner or IDS in refused):
            fields[place] = _strip_inner(_any.decode(fields[place]), inner, removed, has_ids=IDS in refused)
    return _encode(fields), tuple(sorted(removed))


def _strip_inner(items: Any, inner: frozenset[str], removed: set[str], *, has_ids: bool) -> Any:
    for item in items:
        function = item.get("function")
        for holder in (
            item,
            *item.get("tool_calls", ()),
            *((function,) if isinstance(function, dict) else ()),
        ):
            for name in inner:
                # A tool's name is not optional, the name of a message's author is.
                if name in holder and not (name == "name" and holder is not item):
                    del holder[name]
                    removed.add(name)
        if has_ids:
            for call in item.get("tool_calls", ()):
                call["id"] = _short_id(call["id"])
            if IDS in item:
                item[IDS] = _short_id(item[IDS])
    return items


def _short_id(given: str) -> str:
    if len(given) == 9 and given.isascii() and given.isalnum():
        return given
    return hashlib.blake2b(given.encode("utf-8", "replace"), digest_size=5).hexdigest()[:9]


def _is_named(name: str, text: str) -> bool:
    if name in _PLAIN:
        return re.search(rf"['\"`.]{name}['\"`]", text) is not None
    return re.search(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])", text) is not None


def _read(body: bytes) -> tuple[str, frozenset[str]]:
    """Return the text of a refusal, and the words that it marks as names of fields."""
    found = decode_or_none(body) if len(body) <= _READ_MAX else None
    if not isinstance(found, dict | list):
        return body[:_TEXT_MAX].decode("utf-8", "replace"), frozenset()
    exact: set[str] = set()
    return " ".join(_texts(found, exact, 0))[:_TEXT_MAX], frozenset(exact)


def _texts(found: Any, exact: set[str], depth: int) -> Iterator[str]:
    if isinstance(found, str):
        yield found[:_TEXT_MAX]
    elif depth < _DEPTH_MAX and isinstance(found, dict):
        for name, value in found.items():
            if name in {"loc", "param"}:
                steps = value if isinstance(value, list) else [value]
                exact.update(step.rpartition(".")[2] for step in steps if isinstance(step, str))
            elif name not in _QUOTES:
                yield from _texts(value, exact, depth + 1)
    elif depth < _DEPTH_MAX and isinstance(found, list):
        for value in found[:50]:
            yield from _texts(value, exact, depth + 1)
