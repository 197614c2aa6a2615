"""How the clouds refuse requests: each trouble with the status and body that the provider documents."""

from typing import Any, Literal

from meshlight.simulator.http.reply import Reply, json_reply
from meshlight.simulator.request_log import LoggedRequest

Trouble = Literal["quota", "rate-limit", "region", "overloaded", "no-permission"]

_OPENAI: dict[Trouble, tuple[int, str, str, str | None]] = {
    "quota": (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "rate-limit": (429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"),
    "region": (
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "overloaded": (503, "The server is currently overloaded", "server_error", None),
    "no-permission": (
        403,
        "You have insufficient permissions for this operation.",
        "invalid_request_error",
        None,
    ),
}
_ANTHROPIC: dict[Trouble, tuple[int, str, str]] = {
    "quota": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "rate-limit": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "region": (403, "forbidden", "Request not allowed"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "no-permission": (403, "permission_error", "Your API key does not have permission to use the resource."),
}
_GEMINI: dict[Trouble, tuple[int, str, str]] = {
    "quota": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
    "rate-limit": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "region": (400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "no-permission": (403, "PERMISSION_DENIED", "The caller does not have permission"),
}
_OF_REQUESTS: frozenset[Trouble] = frozenset({"quota", "rate-limit", "overloaded"})
"""Troubles of inference; the list of models is still answered."""
RETRY_S = 7


def trouble(provider: str, kind: Trouble, logged: LoggedRequest) -> Reply | None:
    """Return the refusal of a request; None if this trouble does not concern it."""
    if kind in _OF_REQUESTS and logged.method != "POST":
        return None
    match provider:
        case "anthropic":
            status, type_, message = _ANTHROPIC[kind]
            reply = anthropic_error(status, type_, message)
        case "gemini":
            status, type_, message = _GEMINI[kind]
            waits = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{RETRY_S}s"}]
            reply = gemini_error(status, type_, message, waits if status == 429 else None)
        case _:
            status, message, type_, code = _OPENAI[kind]
            reply = json_reply(
                {"error": {"message": message, "type": type_, "param": None, "code": code}}, status
            )
    if kind != "rate-limit" or provider == "gemini":
        return reply  # Gemini sends the time to wait in the body alone
    return Reply(status=reply.status, body=reply.body, headers=(("retry-after", str(RETRY_S)),))


def anthropic_error(status: int, type_: str, message: str) -> Reply:
    """Return an error as Anthropic sends it (platform.claude.com/docs/en/api/errors)."""
    error = {"type": type_, "message": message}
    return json_reply(
        {"type": "error", "error": error, "request_id": "req_demo"}, status, ("request-id", "req_demo")
    )


def gemini_error(status: int, word: str, message: str, details: list[dict[str, Any]] | None = None) -> Reply:
    """Return an error as Google's APIs send it (cloud.google.com/apis/design/errors)."""
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if details is not None:
        error["details"] = details
    return json_reply({"error": error}, status)
