"""What a refusal by 401 or 403 speaks of: the key that was sent, this one request, or the model that it asked for.

Such a status speaks of the request first. It is held against the backend only where the body names the key or the
account in so many words; otherwise the next probe, asked for at once, decides.
"""

import re
from typing import Literal

from meshlight.domain.backend import Reason
from meshlight.domain.text import sanitize_line
from meshlight.http_client.client import Reply
from meshlight.http_client.error_text import is_html, message_of

RefusalSubject = Literal["key", "request", "model", "unclear"]
"""What is refused. `unclear` leaves it to a probe."""

NO_ACCESS_S = 60.0
"""For how long a model that this account may not use is looked for elsewhere first."""

_CODES = re.compile(
    rb'"(?:invalid_api_key|API_KEY_INVALID|authentication_error|invalid_token|token_expired|expired_token'
    rb'|key_expired|account_deactivated|account_disabled|boundary)"'
)
"""Codes of an error that leave no doubt that it is the key or the account."""
_KEY = (
    r"(?:api[ _-]?key|access[ _-]?(?:key|token)|auth(?:entication|orization)?[ _-]?(?:key|token)|token"
    r"|credentials?)"
)
_BAD = (
    r"(?:invalid|incorrect|wrong|missing|expired|revoked|malformed|unknown|unrecognized|bad|no|not valid|disabled"
    r"|deactivated|suspended|blocked|required|refused|rejected)"
)
_OF_KEY = re.compile(
    rf"\b{_BAD}\W+(?:\w+\W+){{0,3}}?{_KEY}\b"
    rf"|\b(?:{_KEY}|account|organi[sz]ation|subscription)\W+(?:\w+\W+){{0,4}}?{_BAD}\b"
    r"|\bauthentication (?:failed|error|required)\b"
)
_OF_MODEL = re.compile(
    r"\b(?:access|permission|entitled|allowed|authorized|enabled)\b.{0,80}\bmodels?\b"
    r"|\bmodels?\b.{0,120}\b(?:access|permission|not allowed|not enabled|not available|not authorized)\b"
    r"|\b(?:key|caller|account|project|organi[sz]ation|user|team)\b.{0,40}\b(?:not have|no|lacks?)\b.{0,20}"
    r"\b(?:access|permission)"
)
_OF_PROMPT = re.compile(
    r"\b(?:flagged|moderation|polic(?:y|ies)|content[ _-]?filter|safety|guardrails?|prohibited content)"
    r"|\b(?:prompt|input|content|message)\b.{0,40}\b(?:blocked|rejected|refused|violat)"
)
_OF_PATH = re.compile(r"\b(?:route|path|endpoint|url)s?\b")
_WORDLESS = re.compile(r"\b(?:forbidden|denied|unauthori[sz]ed)\b")
_WORDLESS_MAX = 4
"""So many words with one of those say no more than the status does."""


_RAW = 400
"""Bytes of an error without a message in which words are looked for."""


def subject(reply: Reply) -> RefusalSubject:
    """Say what an answer with 401 or 403 refuses."""
    said = _words(reply)
    words = said or _raw(reply)
    if _OF_PROMPT.search(words):
        return "request"
    if _OF_MODEL.search(words):
        return "model"
    if _CODES.search(reply.body[:4096]) or _OF_KEY.search(words):
        return "key"
    if _WORDLESS.search(words) and len(words.split()) <= _WORDLESS_MAX:
        return "unclear"
    # A 403 that says why has understood who asks; one without a word may be any proxy's.
    return "request" if reply.status == 403 and said else "unclear"


def may_mean_path(reply: Reply) -> bool:
    """Whether it may be the path that is not there: what checks keys before paths refuses those it lacks by 401."""
    if reply.status == 401:
        return subject(reply) in {"key", "unclear"}
    return reply.status == 403 and _OF_PATH.search(_words(reply)) is not None


def no_access(model: str, where: str) -> Reason:
    """Return the reason why a route is left alone for a while; it quotes nothing of a request."""
    return Reason(
        "no-access",
        f"The account at {where} may not use {sanitize_line(model)}.",
        "Have the model allowed for this account or project, or choose another one.",
    )


def path_refused(path: str, where: str, *, is_proven: bool) -> Reason:
    """Return the reason for a 401 that may mean the path; `is_proven` where the same key has served others."""
    text = f"{where} refuses {path} (401), though it takes the key elsewhere: it may lack that path."
    if not is_proven:
        text = f"{where} refuses {path} (401): it may lack that path, or not take the API key."
    return Reason("path-refused", text, "Use another backend for such requests, or check the key.")


def _words(reply: Reply) -> str:
    """Return what an error says, in small letters."""
    return "" if is_html(reply) else sanitize_line(message_of(reply)).lower()


def _raw(reply: Reply) -> str:
    """Return the beginning of an error that has its words where nobody looks for them."""
    return "" if is_html(reply) else sanitize_line(reply.body[:_RAW].decode("utf-8", "replace"), _RAW).lower()
