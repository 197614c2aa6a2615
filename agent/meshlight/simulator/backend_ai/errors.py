"""The refusals of a Backend.AI manager and its app proxy, as real ones word them (23.09.10 and 26.9.6)."""

from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.request_log import LoggedRequest

PROBLEM = "application/problem+json"
_KINDS = {
    "auth-failed": (401, "Credential/signature mismatch.", "user_auth_unauthorized"),
    "invalid-auth-params": (
        400,
        "Missing or invalid authorization parameters.",
        "user_auth_invalid-parameters",
    ),
    "invalid-api-params": (400, "Missing or invalid API parameters.", "api_parsing_invalid-parameters"),
    "generic-forbidden": (403, "Forbidden operation.", "api_generic_forbidden"),
    "not-enough-permission": (403, "Not enough permission.", "permission_access_forbidden"),
    "url-not-found": (404, "Unknown URL path.", "api_access_not-found"),
    "object-not-found": (404, "E00002: No such endpoint.", "endpoint_read_not-found"),
    "rate-limit-exceeded": (
        429,
        "You have reached your API query rate limit.",
        "api_access_too-many-requests",
    ),
    "internal-server-error": (500, "Internal server error", "api_generic_internal-error"),
}
_PROXY = {
    "E20006": "Authorization header not provided",
    "E20007": "Unsupported authorization method",
    "E20008": "Authorization token invalid or expired",
    "E20009": "Authorization token is of another circuit",
}


def problem(kind: str, msg: str = "", *, legacy: bool = False) -> Reply:
    """Refuse as a manager does; only newer ones send an `error_code`."""
    status, title, code = _KINDS[kind]
    body = {"type": f"https://api.backend.ai/probs/{kind}", "title": title}
    if msg:
        body["msg"] = msg
    if not legacy:
        body["error_code"] = code
    reply = json_reply(body, status)
    return Reply(status=status, content_type=PROBLEM, body=reply.body)


def trouble() -> Reply:
    """Fail as a manager does whose database is down: no JSON at all."""
    return text_reply("500 Internal Server Error\n\nServer got itself in trouble", 500)


def proxy_refusal(code: str, seen: LoggedRequest) -> Reply:
    """Refuse as an app proxy does: with JSON only where `application/json` is named without a blank before it."""
    wishes = (seen.header("accept") or "").split(",")
    title = f"{code}: {_PROXY[code]}"
    if "application/json" in wishes:
        return json_reply(
            {"type": "https://api.backend.ai/probs/appproxy/authorization-failed", "title": title}, 401
        )
    page = f"<!doctype html><html><head><title>Backend.AI</title></head><body>{title}</body></html>"
    return text_reply(page, 401, "text/html; charset=utf-8")
