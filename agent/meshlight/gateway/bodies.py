"""Reads what routing needs out of a request body, and changes the `model` value in it, and nothing else."""

import msgspec
from msgspec import Struct

from meshlight.backends.kind import Face
from meshlight.domain.errors import BadRequest, WrongType
from meshlight.domain.routing import NAME_MAX
from meshlight.gateway.form_body import is_form, model_span
from meshlight.gateway.json_body import fold, read_fields, value_span

JSON = b"application/json"
_FORMS = frozenset[Face]({"audio/transcriptions", "audio/translations", "images/edits", "images/variations"})
"""The faces to which forms are sent."""
_OTHER_WORDS = """
models modellist fallbacks fallbackmodels contextwindowfallbacks engine engineid deploymentid draftmodel
speculativemodel route provider plugins preset apibase baseurl apikey apitype customllmprovider userconfig
litellmparams
"""
_OTHER_MODELS = frozenset(_OTHER_WORDS.split())
"""Fields in which some servers take another model than `model`, or another place to run it; folded."""


class Head(Struct, frozen=True):
    """What routing needs to know of a request body."""

    model: str
    stream: bool = False
    store: bool = False


def sent_type(content_type: bytes, face: Face) -> bytes:
    """Return the content type under which a body is read here, and sent on: what was judged is what is read.

    Raises WrongType for a form where none is taken. All else is JSON whatever it is called, as with curl and Ollama.
    """
    if content_type == JSON or not is_form(content_type):
        return JSON
    if face not in _FORMS:
        raise WrongType(f"{face} takes no form.", "Send JSON, with `Content-Type: application/json`.")
    return content_type


def read_head(body: bytes, content_type: bytes, *, is_guest: bool = False) -> Head:
    """Return model, stream and store of a JSON or multipart body.

    Raises BadRequest when it has no model, or when another reader might find another one in it. A guest's body may
    not name models beside it.
    """
    if is_form(content_type):
        start, end = model_span(body, content_type)
        try:
            return Head(checked_model(body[start:end].decode()))
        except UnicodeDecodeError:
            raise BadRequest("The form's model is no text.", "Send it as UTF-8.", "model") from None
    fields = read_fields(body)
    if is_guest and (other := next((n for n in fields.names if fold(n) in _OTHER_MODELS), None)):
        raise BadRequest(
            f"{other[:40]!r} is not taken from a peer.", 'Name the one model under "model".', other[:40]
        )
    return Head(checked_model(fields.model), fields.stream, fields.store)


def checked_model(value: str | None) -> str:
    """Return a model's name; BadRequest for none, and for one that is none's."""
    if not value:
        raise BadRequest(
            "The request names no model.", 'Add "model"; GET /v1/models lists those there are.', param="model"
        )
    check_name(value)
    return value


def check_name(model: str) -> None:
    """Raise BadRequest for what is too long to be the name of a model."""
    if len(model) > NAME_MAX:
        raise BadRequest(
            f"The model's name has {len(model)} letters; none has over {NAME_MAX}.",
            "GET /v1/models lists those there are.",
            "model",
        )


def with_model(body: bytes, content_type: bytes, model: str) -> bytes:
    """Return the body with another `model` value; every other byte stays as it is."""
    if is_form(content_type):
        start, end = model_span(body, content_type)
        value = model.encode()
    else:
        start, end = value_span(body, "model")
        value = msgspec.json.encode(model)
    return body[:start] + value + body[end:]
