"""What `/mesh` says of itself: the OpenAPI description, with every error in the one envelope."""

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
    403: "Asked from where nobody may ask: a foreign Host, Origin or site.",
    404: "No such thing.",
    405: "The address exists, the method does not.",
    409: "It is there already, or the configuration file or the keyring can't be used at present.",
    413: "The body is over 64 kB.",
    415: "The body is not announced as JSON.",
    422: "The backend was tried, and did not answer as it should; nothing was saved.",
    429: "As many follow the events as may.",
    503: "No backend can answer at present.",
}
_ALWAYS = (400, 401, 403)
_WITH_BODY = (413, 415)
_STREAM = {
    "summary": "What happens, as it happens",
    "description": (
        "Server-sent events: first a `snapshot` (the whole mesh), then numbered `health`, `topology`, `traffic`, "
        "`refresh` and `incident` events; `id` is `seq`. After a gap, or a `Last-Event-ID` that is too old, "
        "another `snapshot` comes. A comment every 15 s shows that the line is alive."
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
    """Return the error answers of one operation: those named here, and those that every one may give."""
    wanted = {*_ALWAYS, *statuses, *(_WITH_BODY if has_body else ())}
    return {
        status: ResponseSpec(Envelope, generate_examples=False, description=_MEANINGS[status])
        for status in sorted(wanted)
    }


def describe(app: Litestar, version: str) -> bytes:
    """Return the description of an application that was made with `openapi_config=None`.

    So Litestar makes the description, and none of the pages around it, which fetch scripts from strangers.
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
    """Say what Litestar leaves out: where no body is sent, where none is needed, where no more fields are taken."""
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
    """Name the structs among `kinds`, and those inside of them, that refuse fields they do not know."""
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
    """Return the stream's answers, its errors written as those of another operation are."""
    written = schema["paths"]["/mesh/route"]["get"]["responses"]["400"]
    errors = {
        str(status): {"description": _MEANINGS[status], "content": written["content"]}
        for status in (*_ALWAYS, 405, 429)
    }
    stream = {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"200": stream, **errors}
