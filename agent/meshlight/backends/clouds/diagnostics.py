"""What the error codes of the big providers mean: told apart by code, never by what else the answer says.

A used-up quota is no rate limit, and a country that is not served is no missing permission: each wants another fix.
Nothing of the answer is quoted here, so these words may be shown wherever a backend is.
Sources: platform.openai.com/docs/guides/error-codes, platform.claude.com/docs/en/api/errors,
ai.google.dev/gemini-api/docs/troubleshooting.
"""

import re
from typing import Any

from meshlight.domain.backend import Backend, Kind, Reason
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.text import QUOTE_MAX
from meshlight.http_client.error_text import is_html
from meshlight.http_client.headers import LONGEST_S, retry_after_s
from meshlight.http_client.response import Reply

KEYS: dict[Kind, str] = {
    "openai": "platform.openai.com/api-keys",
    "anthropic": "platform.claude.com/settings/keys",
    "gemini": "aistudio.google.com/apikey",
}
"""Where a person makes a key."""
_BILLING: dict[Kind, str] = {
    "openai": "platform.openai.com/settings/organization/billing",
    "anthropic": "platform.claude.com/settings/billing",
    "gemini": "aistudio.google.com/usage",
}
_STATUS: dict[Kind, str] = {
    "openai": "status.openai.com",
    "anthropic": "status.claude.com",
    "gemini": "aistudio.google.com/status",
}
_REGIONS: dict[Kind, str] = {
    "openai": "platform.openai.com/docs/supported-countries",
    "anthropic": "platform.claude.com/docs/en/api/supported-regions",
    "gemini": "ai.google.dev/gemini-api/docs/available-regions",
}
QUOTA_S = 120.0
"""How long a used-up quota keeps requests away: somebody may pay any moment, and asking once more is free."""
_BODY_MAX = 1 << 16
_DETAILS_MAX = 64

_NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
    }
)
_OF_ANOTHER = frozenset(
    {"linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"}
)
"""It is the money of the user whom this one request names that ran out, not the account's."""
_ON_HOLD = "organization_on_hold"
_NO_MONEY_WORDS = ("your credit balance is too low", "you have reached your specified")
_WRONG_REGION = frozenset({"unsupported_country_region_territory"})
_WRONG_REGION_WORDS = (
    "user location is not supported",
    "request not allowed",
    "gemini api free tier is not available in your country",
)
_WRONG_KEY = frozenset({"invalid_api_key", "API_KEY_INVALID", "authentication_error"})
_NO_KEY_WORDS = ("method doesn't allow unregistered callers",)
_SERVICE_OFF = frozenset({"SERVICE_DISABLED", "API_KEY_SERVICE_BLOCKED"})
_WRONG_ADDRESS = frozenset({"ip_not_authorized", "API_KEY_IP_ADDRESS_BLOCKED"})
_LACKING = ("you have insufficient permissions",)
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
"""A duration as protobuf writes it in JSON."""


def cloud_reason(reply: Reply, backend: Backend, label: str, at: str, *, has_secret: bool) -> Reason | None:
    """Say what a failing answer of a big provider means; None when its status says it all, or for other kinds.

    `at` is "host:port".
    """
    kind = backend.kind
    if kind not in KEYS or reply.status < 400:
        return None
    marks, words = _read(reply)
    who, status = f"{label} at {at}", reply.status
    if marks & _WRONG_REGION or words.startswith(_WRONG_REGION_WORDS):
        text = f"{who} does not serve the country that this machine's address is in ({status})."
        return Reason("region", text, f"See {_REGIONS[kind]}, and whether a VPN or proxy lies in between.")
    if marks & _OF_ANOTHER:
        return None
    if status == 402 or marks & _NO_MONEY or words.startswith(_NO_MONEY_WORDS):
        text = f"The quota or credit of this account is used up, says {who} ({status}): waiting won't help."
        return Reason("quota", text, f"Look at {_BILLING[kind]}.")
    if status == 529 or "overloaded_error" in marks:
        text = f"{who} is overloaded at the moment, for everyone ({status})."
        return Reason("overloaded", text, f"Wait a moment; {_STATUS[kind]} tells whether it lasts.")
    if (why := _permission(marks, words, kind, f"{who} ({status})")) is not None:
        return why
    if status == 401 or marks & _WRONG_KEY or words.startswith(_NO_KEY_WORDS):
        text = f"{who} {'refuses the API key' if has_secret else 'wants an API key'} ({status})."
        fix = f"Give one from {KEYS[kind]}: `meshlight backends set {backend.id} --key`."
        return Reason("unauthorized", text, fix)
    return None


def _permission(marks: frozenset[str], words: str, kind: Kind, who: str) -> Reason | None:
    """Say what a good key may not do."""
    if _ON_HOLD in marks:
        text = f"The account is switched off by the provider, says {who}."
        return Reason("forbidden", text, "Write to the provider's support.")
    if marks & _SERVICE_OFF:
        fix = f"Switch the API on in the project, or make a key at {KEYS[kind]}."
        return Reason("forbidden", f"The API is switched off for this key's project, says {who}.", fix)
    if marks & _WRONG_ADDRESS:
        text = f"The API key may be used from other addresses than this machine's, says {who}."
        return Reason("forbidden", text, "Allow this machine's address for the key.")
    if words.startswith(_LACKING):
        fix = "Allow it to read the models and to use them, or make a key without restrictions."
        return Reason("forbidden", f"The API key lacks a permission, says {who}.", fix)
    return None


def wait_s(reply: Reply) -> float | None:
    """Return the seconds to wait by an answer's headers, or by the `RetryInfo` in the body of Gemini's 429."""
    told = retry_after_s(reply.headers)
    if told is not None or reply.status != 429:
        return told
    waits = (
        _DELAY.fullmatch(text) for part in _parts(reply) if isinstance(text := part.get("retryDelay"), str)
    )
    found = next((match for match in waits if match is not None), None)
    return min(float(found[1]), LONGEST_S) if found is not None else None


def _read(reply: Reply) -> tuple[frozenset[str], str]:
    """Return the codes in an error body, and the beginning of its message in small letters."""
    parts = _parts(reply)
    marks = {
        mark
        for part in parts
        for key in ("code", "type", "status", "reason", "error_code")
        if isinstance(mark := part.get(key), str)
    }
    message = parts[0].get("message") if parts else None
    return frozenset(marks), message[:QUOTE_MAX].lower() if isinstance(message, str) else ""


def _parts(reply: Reply) -> list[dict[str, Any]]:
    """Return the error of an error body and its details; Gemini's OpenAI face puts it into a list of one."""
    if is_html(reply) or len(reply.body) > _BODY_MAX:
        return []
    found = decode_or_none(reply.body)
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return []
    details = error.get("details")
    more = details[:_DETAILS_MAX] if isinstance(details, list) else [details]
    return [error, *(part for part in more if isinstance(part, dict))]
