"""A request that is wrong is reply which field, why, and what would be right."""

import pytest

from gateway.bad_requests import JSON, error_of
from meshlight.domain.backend import KINDS, RINGS
from node import Node


@pytest.mark.parametrize(
    ("path", "body", "param", "message", "hint"),
    [
        ("backends", {"kind": "foo", "url": "http://h"}, "kind", "foo", KINDS),
        ("backends", {"kind": "vllm", "url": "http://h", "ring": "x"}, "ring", "x", RINGS),
        ("backends", {"kind": "vllm", "url": "http://h", "nmae": "x"}, "nmae", "not known", ["name"]),
        ("backends", {"kind": "vllm", "url": "http://h", "zzz": "x"}, "zzz", "not known", ["api_key"]),
        ("backends", {"kind": "vllm"}, "url", "needs its address", []),
        ("backends", {"url": "http://h"}, "kind", "missing", KINDS),
        ("backends", {"kind": "vllm", "url": 7}, "url", "must be text or null, not a whole number", []),
        ("backends", {"kind": "vllm", "url": "h:1"}, "url", "http://", []),
        ("backends", {"kind": "vllm", "url": "http://h", "enabled": "true"}, "enabled", "true or false", []),
        ("backends", {"kind": "vllm", "url": "http://h", "idle_s": 0}, "idle_s", "more than 0", []),
        ("backends", {"kind": "vllm", "url": "http://h", "name": "x" * 81}, "name", "at most 80", []),
        ("backends", [], None, "must be an object, not a list", []),
        ("test", {"count": 6}, "count", "at most 5", []),
        ("test", {"count": 1.5}, "count", "a whole number", []),
    ],
)
async def test_a_body_that_does_not_fit_names_the_field_and_what_would_fit(
    node: Node, path: str, body: object, param: str | None, message: str, hint: list[str]
) -> None:
    error = await error_of(node, "POST", f"/mesh/{path}", 400, json=body)
    assert error["param"] == param
    assert message in error["message"]
    assert all(word in error["hint"] for word in hint)


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ({"routing": {"policy": "x"}}, "routing.policy", "local-first"),
        (
            {"routing": {"rules": [{"model": "*"}, {"model": "a", "bound": "moon"}]}},
            "routing.rules[1].bound",
            "lan",
        ),
        ({"routing": {"rules": [{"modle": "*"}]}}, "routing.rules[0].modle", "model"),
        ({"discovery": {"enabled": 1}}, "discovery.enabled", ""),
        ({"routing": {"aliases": {"a": 1}}}, "routing.aliases[...]", ""),
    ],
)
async def test_a_mistake_deep_inside_the_settings_is_found(
    node: Node, body: object, param: str, hint: str
) -> None:
    error = await error_of(node, "PATCH", "/mesh/settings", 400, json=body)
    assert error["param"] == param
    assert hint in error["hint"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"name": "x"} and more', b"\xff\xfe", b"null", b"[" * 60_000]
)
async def test_what_is_no_json_object_is_told_so(node: Node, content: bytes) -> None:
    await error_of(node, "PATCH", "/mesh/settings", 400, content=content, headers=JSON)


async def test_a_body_of_another_type_or_size_is_refused(node: Node) -> None:
    await error_of(node, "POST", "/mesh/backends", 415, content=b"{}", headers={"content-type": "text/plain"})
    error = await error_of(node, "POST", "/mesh/backends", 413, content=b" " * 70_000, headers=JSON)
    assert "64 kB" in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/check"),
        ("POST", "/enable"),
        ("POST", "/disable"),
    ],
)
async def test_an_id_that_nobody_has_is_named(node: Node, method: str, path: str) -> None:
    json: dict[str, str] | None = {} if method == "PATCH" else None
    error = await error_of(node, method, f"/mesh/backends/ghost{path}", 404, json=json)
    assert "'ghost'" in error["message"]
    assert "backends list" in error["hint"]


async def test_a_wrong_parameter_is_named(node: Node) -> None:
    assert (await error_of(node, "GET", "/mesh/route", 400))["param"] == "model"
    assert (await error_of(node, "GET", "/mesh/route?model=", 400))["param"] == "model"
    assert (await error_of(node, "POST", "/mesh/refresh?wait=perhaps", 400))["param"] == "wait"


async def test_a_wrong_method_is_told_the_right_ones(node: Node) -> None:
    error = await error_of(node, "PUT", "/mesh/backends", 405, json={})
    assert error["hint"] == "Use GET, POST."
    await error_of(node, "POST", "/mesh/events", 405)


@pytest.mark.parametrize(
    "path", ["/mesh/nothing", "/mesh/events/more", "/mesh/schema/openapi.json", "/schema"]
)
async def test_where_nothing_is_the_description_is_pointed_to(node: Node, path: str) -> None:
    assert "/mesh/schema" in (await error_of(node, "GET", path, 404))["hint"]


async def test_a_kind_that_is_paired_and_not_added_is_told_so(node: Node) -> None:
    body = {"kind": "peer", "url": "https://192.168.1.7:6376"}
    error = await error_of(node, "POST", "/mesh/backends", 400, json=body)
    assert error["param"] == "kind"
    assert "Pair" in error["hint"]
