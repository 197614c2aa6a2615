"""What the error codes of the big providers mean, decided by code and never by the rest of the answer.

A used-up quota is not a rate limit, and an unsupported country is not a missing permission: each needs another fix.
Nothing of the answer is quoted here, so these texts may be shown wherever a backend is.
Sources: platform.openai.com/docs/guides/error-codes, platform.claude.com/docs/en/api/errors,
ai.google.dev/gemini-api/docs/troubleshooting.
"""

import re
from typing import Any

from meshlight.domain.backend import Backend, Kind, Reason
from meshlight.domain.cloud_keys import KEY_PAGES
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.text import QUOTE_MAX
from meshlight.http_client.error_text import is_html
from meshlight.http_client.headers import LONGEST_S, retry_after_s
from meshlight.http_client.reply import Reply

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
"""For how long a used-up quota keeps requests away, in seconds: somebody may pay any moment, and a try is free."""
_BODY_MAX = 1 << 16
_DETAILS_MAX = 64

_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
    }
)
_OF_OTHER_ACCOUNT = frozenset(
    {"linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"}
)
"""The quota of the user that this one request names is used up, not that of the account."""
_ON_HOLD = "organization_on_hold"
_QUOTA_WORDS = ("your credit balance is too low", "you have reached your specified")
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
_PERMISSION_WORDS = ("you have insufficient permissions",)
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
"""A duration as protobuf writes it in JSON, in seconds."""


def cloud_reason(reply: Reply, backend: Backend, label: str, at: str, *, has_secret: bool) -> Reason | None:
    """Say what a failing answer of a big provider means; None if its status says it all, or for other kinds.

    `at` is "host:port".
    """
    kind = backend.kind
    if kind not in KEY_PAGES or reply.status < 400:
        return None
    codes, words = _codes_and_message(reply)
    who, status = f"{label} at {at}", reply.status
    if codes & _WRONG_REGION or words.startswith(_WRONG_REGION_WORDS):
        text = f"{who} does not serve the country that this machine's address is in ({status})."
        return Reason("region", text, f"See {_REGIONS[kind]}, and whether a VPN or proxy lies in between.")
    if codes & _OF_OTHER_ACCOUNT:
        return None
    if status == 402 or codes & _QUOTA or words.startswith(_QUOTA_WORDS):
        text = f"The quota or credit of this account is used up, according to {who} ({status}): waiting won't help."
        return Reason("quota", text, f"See {_BILLING[kind]}.")
    if status == 529 or "overloaded_error" in codes:
        text = f"{who} is overloaded at the moment, for everyone ({status})."
        return Reason("overloaded", text, f"Wait a moment; {_STATUS[kind]} shows whether it lasts.")
    if (why := _permission(codes, words, kind, f"{who} ({status})")) is not None:
        return why
    if status == 401 or codes & _WRONG_KEY or words.startswith(_NO_KEY_WORDS):
        text = f"{who} {'refuses the API key' if has_secret else 'wants an API key'} ({status})."
        fix = f"Give one from {KEY_PAGES[kind]}: `meshlight backends set {backend.id} --key`."
        return Reason("unauthorized", text, fix)
    return None


def _permission(codes: frozenset[str], words: str, kind: Kind, who: str) -> Reason | None:
    """Say what a valid key may not do; None if the answer is about something else."""
    if _ON_HOLD in codes:
        text = f"The account is switched off by the provider, according to {who}."
        return Reason("forbidden", text, "Contact the provider's support.")
    if codes & _SERVICE_OFF:
        fix = f"Switch the API on in the project, or create a key at {KEY_PAGES[kind]}."
        return Reason(
            "forbidden", f"The API is switched off for this key's project, according to {who}.", fix
        )
    if codes & _WRONG_ADDRESS:
        text = f"The API key may be used from other addresses than this machine's, according to {who}."
        return Reason("forbidden", text, "Allow this machine's address for the key.")
    if words.startswith(_PERMISSION_WORDS):
        fix = "Allow it to read the models and to use them, or create a key without restrictions."
        return Reason("forbidden", f"The API key lacks a permission, according to {who}.", fix)
    return None


def wait_s(reply: Reply) -> float | None:
    """Return the seconds to wait by an answer's headers, or by the `RetryInfo` in the body of Gemini's 429."""
    seconds = retry_after_s(reply.headers)
    if seconds is not None or reply.status != 429:
        return seconds
    waits = (
        _DELAY.fullmatch(text) for part in _parts(reply) if isinstance(text := part.get("retryDelay"), str)
    )
    found = next((match for match in waits if match is not None), None)
    return min(float(found[1]), LONGEST_S) if found is not None else None


def _codes_and_message(reply: Reply) -> tuple[frozenset[str], str]:
    """Return the codes in an error body, and the beginning of its message in lower case."""
    parts = _parts(reply)
    codes = {
        code
        for part in parts
        for key in ("code", "type", "status", "reason", "error_code")
        if isinstance(code := part.get(key), str)
    }
    message = parts[0].get("message") if parts else None
    return frozenset(codes), message[:QUOTE_MAX].lower() if isinstance(message, str) else ""


def _parts(reply: Reply) -> list[dict[str, Any]]:
    """Return the error of an error body and its details; Gemini's OpenAI API puts it into a list of one."""
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
