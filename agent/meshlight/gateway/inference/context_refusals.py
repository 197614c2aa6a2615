"""Recognises an engine's refusal of a request that is longer than its context.

Such an answer says nothing about the backend: the request does not fit there, and may fit elsewhere. Each engine and
cloud has words of its own; those of llama.cpp, vLLM, SGLang, LM Studio, Ollama, TGI, Mistral, OpenAI, Anthropic and
Gemini are known here, and what is said of the sizes in them.
"""

import re

from msgspec import Struct

from meshlight.domain.text import sanitize_line
from meshlight.gateway.errors import protocol_of
from meshlight.http_client.client import Reply
from meshlight.http_client.error_text import is_html, message_of

STATUSES = frozenset({400, 413, 422, 500})
"""Statuses with which an engine says it: 500 is that of some old ones."""
_CODES = re.compile(rb'"(?:context_length_exceeded|exceed_context_size_error)"')
_SEARCHED = 4_096
_CONTEXT = r"context(?:[ _-]?(?:size|length|window|limit))?\b"
_WORDS = re.compile(
    r"maximum context length"
    rf"|\b(?:exceed(?:s|ed)?|longer than|greater than|larger than|overflows?)\b[^.\"]{{0,60}}\b{_CONTEXT}"
    rf"|\b{_CONTEXT}[^.\"]{{0,20}}\b(?:exceeded|overflow)"
    r"|when context the overflows"
    r"|\bprompt (?:is )?too long"
    r"|\binput token count\b.{0,40}\bexceeds the maximum"
    r"|\binputs?`? must have less than \d+ tokens"
)
_N = r"(\d[\d,]{0,12})"
_LIMITS = (
    re.compile(rf"exceed context limit: \d+ \+ \d+ > {_N}"),
    re.compile(r'"n_ctx"\s*:\s*(\d{1,12})'),
    re.compile(rf"maximum context length\D{{0,12}}{_N}"),
    re.compile(rf"\bwith {_N} maximum context"),
    re.compile(rf"> {_N} maximum"),
    re.compile(rf"maximum number of tokens allowed\D{{0,5}}{_N}"),
    re.compile(rf"\bcontext (?:size|length|window|limit)(?: of(?: only)?| is)?\W{{0,4}}{_N}"),
    re.compile(rf"must have less than {_N} tokens"),
)
_COUNTS = (
    re.compile(rf"exceed context limit: {_N} \+"),
    re.compile(r'"n_prompt_tokens"\s*:\s*(\d{1,12})'),
    re.compile(rf"prompt is too long: {_N} tokens"),
    re.compile(rf"input token count \({_N}\)"),
    re.compile(rf"\({_N} in the messages"),
    re.compile(rf"\b(?:request|requested|resulted in|contains|has|input|passed|first|given)\W{{1,4}}{_N}"),
)
_OPENAI = re.compile(rb'"code"\s*:\s*"context_length_exceeded"')
_ANTHROPIC = re.compile(rb"prompt is too long: \d+ tokens > \d+ maximum")
_GEMINI = re.compile(rb"input token count .{0,40}exceeds the maximum number of tokens allowed")
_OLLAMA = re.compile(rb"input length exceeds the context length")
_OWN_WORDS = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI, "ollama": _OLLAMA}


class TooLong(Struct, frozen=True):
    """What an engine said of a request that does not fit."""

    limit: int = 0
    """Tokens of its context; 0 if it did not say."""
    tokens: int = 0
    """Tokens of the prompt; 0 if it did not say."""
    text: str = ""
    """Its words, sanitized."""


def too_long(refusal: Reply) -> TooLong | None:
    """Return what a failing answer says of the length of the request; None if it is about something else."""
    if refusal.status not in STATUSES or is_html(refusal):
        return None
    start = refusal.body[:_SEARCHED]
    words = message_of(refusal)[:_SEARCHED]
    text = words.lower()
    if not _CODES.search(start) and not _WORDS.search(text):
        return None
    searched = f"{text}\n{start.decode('utf-8', 'replace').lower()}"
    return TooLong(_first(_LIMITS, searched), _first(_COUNTS, searched), sanitize_line(words))


def is_in_own_words(body: bytes, path: str) -> bool:
    """Whether such a refusal is in the words that the clients of a path know already."""
    return _OWN_WORDS[protocol_of(path)].search(body[:_SEARCHED]) is not None


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int:
    for pattern in patterns:
        if found := pattern.search(text):
            return int(found[1].replace(",", ""))
    return 0
