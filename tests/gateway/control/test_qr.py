"""A link as a picture: drawn for our own links only, and holding nothing that could run."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.bad_requests import error_of
from meshlight.gateway.control.qr import svg
from meshlight.simulator.engine import SimulatedEngine
from node import Node

LINK = "meshlight://add?kind=ollama&url=http://gpu.lan:11434"


def test_the_picture_is_one_path_on_a_white_ground_and_the_longest_link_fits() -> None:
    for text in (LINK, LINK + "x" * (500 - len(LINK))):
        root = ET.fromstring(svg(text))  # noqa: S314 - we made it
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert {child.tag.rpartition("}")[2] for child in root.iter()} == {"svg", "path"}
        assert root.get("viewBox")
        assert root.get("width") is None


async def test_a_link_is_drawn_and_nothing_else_is(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "study") as engine, Node(tmp_path, [engine]) as node:
        drawn = await node.http.get("/mesh/qr", params={"text": LINK})
        assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
        assert drawn.headers["content-security-policy"].startswith("default-src 'none'")
        assert drawn.headers["x-content-type-options"] == "nosniff"
        assert drawn.content == svg(LINK.replace(":11434", "%3A11434").replace("http://", "http%3A%2F%2F"))
        for text in (
            "https://evil.example",
            "meshlight://add?kind=ollama&url=http://x&api_key=sk",
            "x" * 501,
            "",
        ):
            error = await error_of(node, "GET", f"/mesh/qr?text={text.replace('&', '%26')}", 400)
            assert error["message"]
        unkeyed = await node.http.get("/mesh/qr", params={"text": LINK}, headers={"authorization": ""})
        assert unkeyed.status_code == 401


@pytest.mark.parametrize("text", ["a", "b"])
def test_the_same_text_is_the_same_picture(text: str) -> None:
    assert svg(text) == svg(text)
