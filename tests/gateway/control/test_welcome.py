"""The first run and its demo, at the real service."""

from gateway.bad_requests import error_of
from node import Node


async def test_steps_are_kept_and_it_can_be_ended_and_begun_again(node: Node) -> None:
    view = (await node.http.get("/mesh/welcome")).json()
    assert view["is_over"], "something was set up before"
    view = (await node.http.patch("/mesh/welcome", json={"is_over": False})).json()
    assert (view["is_over"], view["done"], view["login_asked"]) == (False, [], False)
    await node.http.patch("/mesh/welcome", json={"done": "question"})
    view = (await node.http.patch("/mesh/welcome", json={"done": "login"})).json()
    assert (view["is_over"], view["done"], view["login_asked"]) == (True, ["question", "login"], True)
    view = (await node.http.patch("/mesh/welcome", json={"is_over": False})).json()
    assert (view["done"], view["login_asked"]) == ([], True), "the start at login is asked once"
    assert {one["host"] for one in view["providers"]} > {"api.openai.com", "api.anthropic.com"}
    await error_of(node, "PATCH", "/mesh/welcome", 400, json={"done": "all"})


async def test_the_demo_answers_beside_what_is_there_and_leaves_nothing(node: Node) -> None:
    before = (await node.http.get("/mesh/backends")).json()
    started = (await node.http.post("/mesh/demo")).json()
    assert started["has_demo"]
    demo = [
        one for one in (await node.http.get("/mesh/backends")).json()["backends"] if one["source"] == "demo"
    ]
    assert {one["ring"] for one in demo} == {"machine", "company", "cloud"}
    answer = await node.chat("demo-frontier")
    assert answer.headers["x-meshlight-backend"] == "demo-openai"
    assert "This is a demo" in answer.json()["choices"][0]["message"]["content"]
    for method, verb in (("DELETE", ""), ("POST", "/disable")):
        error = await error_of(node, method, f"/mesh/backends/demo-openai{verb}", 409)
        assert "End the demo" in error["hint"]
    await node.http.patch("/mesh/settings", json={"name": "Lab"})  # a change of the configuration leaves it
    assert (await node.http.get("/mesh/backends/demo-openai")).status_code == 200
    ended = (await node.http.delete("/mesh/demo")).json()
    assert not ended["has_demo"]
    after = (await node.http.get("/mesh/backends")).json()["backends"]
    assert [one["id"] for one in after] == [one["id"] for one in before["backends"]]
    assert "demo" not in node.config_file.read_text()
