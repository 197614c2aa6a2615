"""Conversations at two real llama-servers: they stay where their prompt is in the cache, and slots are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from meshlight.domain.backend import Kind
from node import Node
from real.engines import Engine, llama_server, running_llama
from real.tiny_gguf import write_gguf

pytestmark = pytest.mark.real

MODEL = "shared"
TURNS = 12


@dataclass
class Listed:
    """A backend of a node."""

    name: str
    engine: Engine
    kind: Kind = "llamacpp"

    @property
    def url(self) -> str:
        return self.engine.url


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Listed]]:
    """East has four slots, west two."""
    llama_server()  # skips before anything is made
    folder = tmp_path_factory.mktemp("choice")
    with ExitStack() as stack:
        yield [
            Listed(
                name,
                stack.enter_context(
                    running_llama(write_gguf(folder / f"{name}.gguf", name), MODEL, slots=slots, threads=1)
                ),
            )
            for name, slots in (("east", 4), ("west", 2))
        ]


async def test_four_conversations_move_at_most_twice_and_find_their_prompt_in_the_cache(
    tmp_path: Path, two: list[Listed]
) -> None:
    async with Node(tmp_path, two) as node:
        places: dict[str, list[str]] = {name: [] for name in ("one", "two", "three", "four")}
        said = {name: [{"role": "user", "content": f"{name}: tell me a story"}] for name in places}
        cached = 0
        for _ in range(TURNS):
            for name, went in places.items():
                answer = await node.chat(MODEL, messages=said[name], max_tokens=8, cache_prompt=True)
                assert answer.status_code == 200, answer.text
                went.append(answer.headers["x-meshlight-backend"])
                timings = answer.json()["timings"]
                cached += bool(timings["cache_n"])
                text = answer.json()["choices"][0]["message"]["content"]
                said[name] += [{"role": "assistant", "content": text}, {"role": "user", "content": "go on"}]
        moves = sum(a != b for went in places.values() for a, b in pairwise(went))
        assert moves <= 2
        assert cached >= (TURNS - 1) * len(places) - 2
        routes = (await node.http.get(f"/mesh/route?model={MODEL}")).json()["routes"]
        assert {r["backend"]: (r["slots"], r["loaded"]) for r in routes} == {
            "east": (4, True),
            "west": (2, True),
        }
        assert all(r["expected_s"] is not None for r in routes)
