"""Signatures, against those that the public SDK makes (backend.ai-client 23.9.10, 25.5.2 and 26.9.6)."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshlight.backends.backend_ai.client import ClusterAuth

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("hmac_vectors.json").read_text("utf-8"))[
    "vectors"
]


def signed(vector: dict[str, Any]) -> httpx.Request:
    given, derived = vector["input"], vector["derived"]
    auth = ClusterAuth(
        given["access_key"],
        given["secret_key"],
        given["api_version"],
        lambda: datetime.fromisoformat(given["date"]),
        given["hash_type"],
    )
    body = given["body_utf8_or_hex"]
    request = httpx.Request(
        given["method"],
        derived["url"],
        headers={"content-type": given["content_type"]},
        content=bytes.fromhex(body) if given["body_is_hex"] else body.encode(),
    )
    return next(auth.auth_flow(request))


def test_there_are_24_golden_vectors() -> None:
    assert len(VECTORS) == 24


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_request_is_signed_as_the_public_sdk_signs_it(vector: dict[str, Any]) -> None:
    request = signed(vector)
    for name in ("Authorization", "Date", "X-BackendAI-Version"):
        assert request.headers[name] == vector["output"]["headers"][name]
    assert request.url.raw_path.decode() == vector["derived"]["request_target"]
    assert request.headers["host"] == vector["derived"]["host"]


def test_the_parameters_of_a_media_type_are_not_signed() -> None:
    vector = next(v for v in VECTORS if v["name"] == "post_token_json")
    with_charset = {**vector, "input": vector["input"] | {"content_type": "Application/JSON; charset=utf-8"}}
    assert signed(with_charset).headers["authorization"] == vector["output"]["headers"]["Authorization"]


def test_the_body_takes_no_part_in_the_signature() -> None:
    vector = next(v for v in VECTORS if v["name"] == "post_token_json")
    other = {**vector, "input": vector["input"] | {"body_utf8_or_hex": "another body"}}
    assert signed(other).headers["authorization"] == signed(vector).headers["authorization"]


def test_the_secret_is_in_no_header_and_in_no_repr() -> None:
    vector = VECTORS[0]
    request = signed(vector)
    auth = ClusterAuth("AKIA", "canary-secret", "v9.20250722", datetime.now)
    assert vector["input"]["secret_key"] not in str(request.headers)
    assert "canary-secret" not in repr(auth)
