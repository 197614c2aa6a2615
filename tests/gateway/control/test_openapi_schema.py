"""The description at `/mesh/schema` is true: every request is answered as it says, and never with a 500."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from meshlight.simulator.engine import SimulatedEngine
from node import Node

EXAMPLES = 10
OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/mesh/snapshot"),
    ("POST", "/mesh/refresh"),
    ("GET", "/mesh/history"),
    ("GET", "/mesh/findings"),
    ("GET", "/mesh/route"),
    ("POST", "/mesh/test"),
    ("GET", "/mesh/backends"),
    ("GET", "/mesh/kinds"),
    ("GET", "/mesh/qr"),
    ("GET", "/mesh/apps"),
    ("POST", "/mesh/backends"),
    ("GET", "/mesh/backends/{backend_id}"),
    ("PATCH", "/mesh/backends/{backend_id}"),
    ("DELETE", "/mesh/backends/{backend_id}"),
    ("POST", "/mesh/backends/{backend_id}/check"),
    ("POST", "/mesh/backends/{backend_id}/enable"),
    ("POST", "/mesh/backends/{backend_id}/disable"),
    ("POST", "/mesh/backends/{backend_id}/models/load"),
    ("POST", "/mesh/backends/{backend_id}/models/unload"),
    ("GET", "/mesh/settings"),
    ("PATCH", "/mesh/settings"),
    ("GET", "/mesh/settings/keyring"),
    ("GET", "/mesh/settings/login"),
    ("PATCH", "/mesh/settings/login"),
    ("GET", "/mesh/settings/about"),
    ("GET", "/mesh/keys"),
    ("POST", "/mesh/keys"),
    ("DELETE", "/mesh/keys/{key_id}"),
    ("POST", "/mesh/keys/local"),
    ("POST", "/mesh/keys/local/replace"),
    ("DELETE", "/mesh/history"),
    ("GET", "/mesh/session/request"),
    ("POST", "/mesh/session/request"),
    ("POST", "/mesh/session/request/answer"),
    ("POST", "/mesh/session/request/allow"),
    ("POST", "/mesh/session/request/refuse"),
    ("GET", "/mesh/peers"),
    ("PATCH", "/mesh/peers"),
    ("POST", "/mesh/peers/pairing"),
    ("POST", "/mesh/peers/pairing/confirm"),
    ("POST", "/mesh/peers/pairing/refuse"),
    ("PATCH", "/mesh/peers/{peer_id}"),
    ("DELETE", "/mesh/peers/{peer_id}"),
    ("GET", "/mesh/models"),
    ("PATCH", "/mesh/models"),
    ("DELETE", "/mesh/models"),
    ("GET", "/mesh/models/log"),
    ("GET", "/mesh/models/repository"),
    ("POST", "/mesh/models/load"),
    ("POST", "/mesh/models/unload"),
    ("POST", "/mesh/models/pull"),
    ("POST", "/mesh/models/downloads/{download_id}/pause"),
    ("POST", "/mesh/models/downloads/{download_id}/resume"),
    ("DELETE", "/mesh/models/downloads/{download_id}"),
    ("GET", "/mesh/welcome"),
    ("PATCH", "/mesh/welcome"),
    ("POST", "/mesh/demo"),
    ("DELETE", "/mesh/demo"),
    ("POST", "/mesh/session"),
    ("POST", "/mesh/session/code"),
    ("POST", "/mesh/session/file"),
    ("GET", "/mesh/schema"),
]
ENDLESS = ("GET", "/mesh/events")
TRUTHS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def is_refused(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """What does not fit is refused; the checker does not count the refusal of what is too large."""
    return None if response.status_code == 413 else negative_data_rejection(context, response, case)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with SimulatedEngine("llamacpp", "study", keep=10) as engine, Node(tmp_path, [engine]) as node:
        yield node


async def described(node: Node) -> dict[str, Any]:
    answer = await node.http.get("/mesh/schema")
    found: dict[str, Any] = answer.json()
    return found


def cases(
    schema: Mapping[str, Any], method: str, path: str, mode: GenerationMode
) -> st.SearchStrategy[Case[Any]]:
    """Requests that fit (or just don't fit) an operation; every other one is about a backend that is there."""
    operation = schemathesis.openapi.from_dict(dict(schema))[path][method]
    anybody = operation.as_strategy(generation_mode=mode)
    if (method, path) == ("PATCH", "/mesh/peers"):
        anybody = anybody.map(unseen)
    if (method, path) == ("PATCH", "/mesh/settings") and mode is GenerationMode.POSITIVE:
        anybody = anybody.map(alone)  # what does not fit changes nothing
    if "{backend_id}" not in path or method == "DELETE":
        return anybody
    known = operation.as_strategy(generation_mode=mode, path_parameters={"backend_id": "study"})
    return st.one_of(known, anybody)


def unseen(case: Case[Any]) -> Case[Any]:
    """No test shows itself to the network that it happens to run in."""
    if isinstance(case.body, dict):
        case.body |= {key: False for key in ("visible", "browse") if case.body.get(key) is True}
    return case


def alone(case: Case[Any]) -> Case[Any]:
    """No test looks at the network or at the disks of the machine that it happens to run on."""
    if isinstance(case.body, dict):
        for key in ("lan", "local", "check_updates"):
            case.body.pop(key, None)
    return case


@pytest.mark.no_cover  # as all of hypothesis' tests
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does-not-fit"]
)
async def test_every_operation_answers_as_it_says(
    node: Node, method: str, path: str, mode: GenerationMode
) -> None:
    schema = await described(node)
    operation = schema["paths"][path][method.lower()]
    has_body = "requestBody" in operation
    if mode is GenerationMode.NEGATIVE and not (has_body or operation.get("parameters")):
        return
    # A parameter of a name that nobody knows is ignored, as everywhere; a field of the body is not.
    checks = [*TRUTHS, is_refused] if mode is GenerationMode.NEGATIVE and has_body else TRUTHS

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(schema, method, path, mode))
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(
            base_url=node.url, headers={"authorization": f"Bearer {node.key}"}, checks=checks, timeout=10
        )

    await asyncio.to_thread(ask)


async def test_no_operation_is_left_out(node: Node) -> None:
    schema = await described(node)
    there = {(method.upper(), path) for path, item in schema["paths"].items() for method in item}
    assert there == {*OPERATIONS, ENDLESS}


async def test_every_error_is_described_as_the_envelope_it_is(node: Node) -> None:
    schema = await described(node)
    for item in schema["paths"].values():
        for operation in item.values():
            errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"400", "401", "403"} <= set(errors)
            for response in errors.values():
                content = response["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Envelope"}
            assert operation["summary"]
            assert operation["description"]


async def test_the_description_says_what_a_body_may_not_hold_and_where_none_is_needed(node: Node) -> None:
    schema = await described(node)
    parts = schema["components"]["schemas"]
    closed = {
        "BackendDraft",
        "PairRequest",
        "BackendPatch",
        "VisibilityPatch",
        "SettingsPatch",
        "RoutingPatch",
        "DiscoveryPatch",
        "Rule",
        "TermsPatch",
        "ModelTestRequest",
        "SignIn",
        "SignInFileRequest",
        "BackendModel",
        "ModelNamed",
        "PullRequest",
        "LocalModelPatch",
        "WelcomePatch",
        "LanPatch",
        "ModelFoldersPatch",
        "LoginPatch",
        "KeyName",
        "SignInCode",
    }
    assert {name for name, part in parts.items() if part.get("additionalProperties") is False} == closed
    assert schema["paths"]["/mesh/test"]["post"]["requestBody"]["required"] is False
    assert schema["paths"]["/mesh/backends"]["post"]["requestBody"]["required"] is True
    assert "content" not in schema["paths"]["/mesh/session"]["post"]["responses"]["204"]
