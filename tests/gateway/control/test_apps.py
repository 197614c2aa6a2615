"""`/mesh/apps`: texts with the key for those who may have it, and which apps have called."""

import json

import pytest

from gateway.bad_requests import error_of
from node import Node


async def test_each_app_has_a_text_and_the_answer_is_not_stored(node: Node) -> None:
    answer = await node.http.get("/mesh/apps")
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert (said["url"], said["key"], said["model"]) == (f"{node.url}/v1", node.key, "llama-3.2-3b")
    assert said["models"] == ["llama-3.2-3b"]
    assert {one["model"] for one in said["apps"]} == {"llama-3.2-3b"}
    curl = next(one for one in said["apps"] if one["id"] == "curl")
    assert node.key in curl["text"]
    assert {one["called_s"] for one in said["apps"]} == {None}


async def test_without_a_key_nobody_reads_it(node: Node) -> None:
    assert (await node.http.get("/mesh/apps", headers={"authorization": ""})).status_code == 401
    foreign = {"origin": "http://elsewhere.example", "sec-fetch-site": "cross-site"}
    assert (await node.http.get("/mesh/apps", headers=foreign)).status_code == 403


async def test_a_model_that_is_not_there_is_said_to_be_missing(node: Node) -> None:
    error = await error_of(node, "GET", "/mesh/apps?model=nope", 404)
    assert "nope" in error["message"]


@pytest.mark.parametrize("asked", ["llama-3.2-3b", "llama.cpp/llama-3.2-3b"])
async def test_the_model_that_is_asked_for_stands_in_every_text(node: Node, asked: str) -> None:
    name = next(iter((await node.http.get("/mesh/snapshot")).json()["backends"]))["name"]
    asked = asked.replace("llama.cpp", name)
    said = (await node.http.get("/mesh/apps", params={"model": asked})).json()
    assert {one["model"] for one in said["apps"]} == {asked}


async def test_a_call_is_told_by_the_next_traffic_event_once_somebody_waits(node: Node) -> None:
    async def call(agent: str) -> None:
        body = {"model": "llama-3.2-3b", "messages": [{"role": "user", "content": "hi"}]}
        await node.http.post("/v1/chat/completions", json=body, headers={"user-agent": agent})

    await call("claude-cli/2.1.197")
    said = (await node.http.get("/mesh/apps")).json()["apps"]
    assert [one["id"] for one in said if one["called_s"] is not None] == []
    async with node.http.stream("GET", "/mesh/events") as events:
        lines = events.aiter_lines()
        async for line in lines:
            if line.startswith("data:"):
                break  # the snapshot
        await call("claude-cli/2.1.197")
        async for line in lines:
            if line.startswith("data:") and "apps" in (said := json.loads(line[5:])):
                break
    assert said["apps"] == ["claude"]
    said = (await node.http.get("/mesh/apps")).json()["apps"]
    assert [one["id"] for one in said if one["called_s"] is not None] == ["claude"]
