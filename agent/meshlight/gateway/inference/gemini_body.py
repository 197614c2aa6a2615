"""The names of models in the bodies of Gemini's API, whose requests name theirs in the path, and some once more.

`embedContent` has it beside its content, `batchEmbedContents` in each of its requests, `countTokens` in the request
that it counts (API reference, "Embeddings" and "Counting tokens"). All have to be the one in the path, for it is the
one that was judged.
"""

from collections.abc import Callable

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest
from meshlight.gateway.inference.json_body import check_spelling, fold, no_object, pairs

REQUESTS_MAX = 1_000
"""Requests of one batch; Google takes 100."""
_COUNTED = "generateContentRequest"
_DECIDING = {fold(name): name for name in ("model", "requests", _COUNTED)}
_OTHERS = {"generate_content_request": _COUNTED}
"""Google takes the names of its fields in either style."""
_model = msgspec.json.Decoder(str)
_requests = msgspec.json.Decoder(list[Raw])

_Change = Callable[[str], bytes]


def check_models(body: bytes, model: str) -> None:
    """Raise BadRequest when the body names another model than the path, or is not the JSON that it should be."""

    def same(named: str) -> bytes:
        if named.removeprefix("models/") != model:
            raise BadRequest(
                f"The body names the model {named[:200]!r} and the path {model[:200]!r}.",
                "Name the same in both, or leave it out of the body.",
                "model",
            )
        return b""

    try:
        _walk(body, same, is_top=True, is_written=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise no_object(str(error)) from None
    except RecursionError:
        raise no_object("nested too deeply") from None


def with_models(body: bytes, model: str) -> bytes:
    """Return the body with another model in each place that names one; the values of all else stay as they are."""
    return _walk(body, lambda _: msgspec.json.encode(f"models/{model}"), is_top=True, is_written=True)


def _walk(body: bytes | Raw, change: _Change, *, is_top: bool, is_written: bool) -> bytes:
    fields = pairs(body)
    check_spelling([_OTHERS.get(name, name) for name, _ in fields], _DECIDING)
    written: list[bytes] = []
    for name, value in fields:
        new: bytes | Raw = value
        if name == "model":
            new = change(_model.decode(value))
        elif is_top and name == "requests":
            requests = _requests.decode(value)
            if len(requests) > REQUESTS_MAX:
                raise BadRequest(f"The batch has over {REQUESTS_MAX} requests.", "Split it.", "requests")
            walked = [_walk(request, change, is_top=False, is_written=is_written) for request in requests]
            new = b"[" + b",".join(walked) + b"]"
        elif is_top and _OTHERS.get(name, name) == _COUNTED:
            new = _walk(value, change, is_top=False, is_written=is_written)
        if is_written:
            written.append(msgspec.json.encode(name) + b":" + bytes(new))
    return b"{" + b",".join(written) + b"}"
