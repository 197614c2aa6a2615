"""Error responses of a Backend.AI manager and its app proxy, worded as the real ones (23.09.10 and 26.9.6)."""

from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.request_log import LoggedRequest

PROBLEM = "application/problem+json"
_PROBLEMS = {
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
    "method-not-allowed": (405, "HTTP Method Not Allowed.", "api_access_forbidden"),
    "rate-limit-exceeded": (
        429,
        "You have reached your API query rate limit.",
        "api_access_too-many-requests",
    ),
    "internal-server-error": (500, "Internal server error", "api_generic_internal-error"),
}
_PROXY_ERRORS = {
    "E20006": "Authorization header not provided",
    "E20007": "Unsupported authorization method",
    "E20008": "Authorization token invalid or expired",
    "E20009": "Authorization token is of another circuit",
}
_BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def problem(kind: str, msg: str = "", *, legacy: bool = False) -> Reply:
    """Return a manager's error; only newer managers send an `error_code`."""
    status, title, code = _PROBLEMS[kind]
    body = {"type": f"https://api.backend.ai/probs/{kind}", "title": title}
    if msg:
        body["msg"] = msg
    if not legacy:
        body["error_code"] = code
    reply = json_reply(body, status)
    return Reply(status=status, content_type=PROBLEM, body=reply.body)


def database_down() -> Reply:
    """Return the error of a manager whose database is down: plain text, no JSON."""
    return text_reply("500 Internal Server Error\n\nServer got itself in trouble", 500)


def bad_gateway() -> Reply:
    """Return the page of a reverse proxy (nginx) whose manager is restarting."""
    return text_reply(_BAD_GATEWAY, 502, "text/html")


def proxy_refusal(code: str, request: LoggedRequest) -> Reply:
    """Return an app proxy's 401."""
    return proxy_error(401, "authorization-failed", f"{code}: {_PROXY_ERRORS[code]}", request)


def proxy_error(status: int, kind: str, title: str, request: LoggedRequest) -> Reply:
    """Return an app proxy's error: JSON only where Accept lists `application/json` without a leading space."""
    accepted = (request.header("accept") or "").split(",")
    if "application/json" in accepted:
        return json_reply({"type": f"https://api.backend.ai/probs/appproxy/{kind}", "title": title}, status)
    page = f"<!doctype html><html><head><title>Backend.AI</title></head><body>{title}</body></html>"
    return text_reply(page, status, "text/html; charset=utf-8")
