"""The OpenAPI description of `/mesh`, with the errors of each operation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin
from litestar.config.app import AppConfig
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, SecurityScheme
from msgspec import inspect

from meshlight.domain.errors import Envelope

_MEANINGS: Mapping[int, str] = {
    400: "The body or a parameter is wrong; the message says which and how.",
    401: "The local key is missing or wrong.",
    403: "A foreign Host, Origin or site.",
    404: "Not found.",
    405: "The address does not have this method.",
    409: "It exists already, or the configuration file or the keyring can't be used at present.",
    413: "The body is over 64 kB.",
    415: "The content type is not JSON.",
    422: "The backend was tried and did not answer correctly; nothing was saved.",
    429: "Too many readers follow the events, or too many browsers ask to be let in.",
    503: "No backend can answer at present.",
}
_ALWAYS = (400, 401, 403)
_WITH_BODY = (413, 415)
_STREAM = {
    "summary": "Events of the mesh",
    "description": (
        "Server-sent events: first a `snapshot` (the whole mesh), then numbered `health`, `topology`, `traffic`, "
        "`refresh`, `incident`, `peers`, `local`, `settings` and `sign-in` events; `id` is `seq`. After a gap, or a "
        "`Last-Event-ID` that is too old, another `snapshot` comes. A comment every 15 s shows that the connection "
        "is alive."
    ),
    "operationId": "MeshEvents",
    "tags": ["mesh"],
    "deprecated": False,
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "The number of the last event that was read.",
        }
    ],
}


def documented_errors(*statuses: int, has_body: bool = False) -> dict[int, ResponseSpec]:
    """Return the error answers of an operation: the given ones, and those of every operation."""
    wanted = {*_ALWAYS, *statuses, *(_WITH_BODY if has_body else ())}
    return {
        status: ResponseSpec(Envelope, generate_examples=False, description=_MEANINGS[status])
        for status in sorted(wanted)
    }


def describe(app: Litestar, version: str) -> bytes:
    """Return the description of an application that was made with `openapi_config=None`.

    Litestar then makes only the description, without its pages, which load scripts from other sites.
    """
    key = SecurityScheme(
        type="http", scheme="bearer", description="The local key: `meshlight key` prints it."
    )
    config = OpenAPIConfig(
        title="Meshlight",
        version=version,
        description="State and control of the mesh. Inference is at /v1, in OpenAI's own shape.",
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}],
        use_handler_docstrings=True,
    )
    plugin = app.plugins.get(OpenAPIPlugin)
    plugin.on_app_init(AppConfig(openapi_config=config))
    schema = plugin.provide_openapi_schema()
    _complete(schema, app)
    schema["paths"]["/mesh/events"] = {"get": _STREAM | {"responses": _stream_responses(schema)}}
    return msgspec.json.encode(schema)


def _complete(schema: Mapping[str, Any], app: Litestar) -> None:
    """Add what Litestar leaves out: empty bodies, optional bodies, and structs that refuse unknown fields."""
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].get("204", {}).pop("content", None)
    shapes: list[type] = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            body = handler.parsed_fn_signature.parameters.get("data")
            if body is not None:
                shapes.append(body.annotation)
                if body.has_default:
                    method = min(handler.http_methods).lower()
                    schema["paths"][route.path][method]["requestBody"]["required"] = False
    for closed in _closed(inspect.multi_type_info(shapes)):
        schema["components"]["schemas"][closed]["additionalProperties"] = False


def _closed(kinds: Iterable[inspect.Type]) -> Iterator[str]:
    """Yield the names of structs in `kinds`, and inside of them, that refuse unknown fields."""
    for kind in kinds:
        if isinstance(kind, inspect.StructType):
            if kind.forbid_unknown_fields:
                yield kind.cls.__name__
            yield from _closed(field.type for field in kind.fields)
        elif isinstance(kind, inspect.VarTupleType):
            yield from _closed((kind.item_type,))
        elif isinstance(kind, inspect.UnionType):
            yield from _closed(kind.types)


def _stream_responses(schema: Mapping[str, Any]) -> dict[str, object]:
    """Return the stream's answers, with errors in the format of another operation."""
    written = schema["paths"]["/mesh/route"]["get"]["responses"]["400"]
    errors = {
        str(status): {"description": _MEANINGS[status], "content": written["content"]}
        for status in (*_ALWAYS, 405, 429)
    }
    stream = {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"200": stream, **errors}
