"""The requests that `meshlight demo` sends to itself, so that there is something to see: a round that repeats.

In each round, conversations stay where they began, a model that two machines have goes to the one that has it in
memory, more requests come to one machine than it has slots, another machine takes what a full one can't, a prompt is
so long that one machine alone holds it, and one backend fails.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from meshlight.domain.api_types import Identity
from meshlight.domain.config import Runtime
from meshlight.domain.private_variables import KEY, OWN_VARIABLES
from meshlight.domain.proof import CHALLENGE_BYTES, is_proof

if TYPE_CHECKING:
    import httpx

LONG_PROMPT = "word " * 40_000
"""Some 40,000 tokens: more than any simulated engine holds but one."""
ROUND_S = 42.0
"""The service has looked again at what the engines have in memory before the next round begins."""
ONE_SLOT = "mlx-community/Qwen3-4B-4bit"
TIMEOUT_S = 120.0


class Wish(Struct, frozen=True, kw_only=True):
    """One request of a round."""

    at_s: float
    app: str
    """The User-Agent of the program that sends it."""
    model: str
    words: str = "Say hello."
    """The first words of its conversation: the same of one app is the same conversation."""
    turn: int = 0
    """How many answers its conversation has had."""
    tokens: int = 60


CHAT, CODE, AGENT = "Open WebUI/0.6", "aider/0.86", "claude-cli/2.0"
ROUND = (
    Wish(at_s=0.0, app=CHAT, model="llama-3.2-3b"),
    # Two machines have it, one of them in memory.
    Wish(at_s=1.0, app=AGENT, model="qwen3-8b"),
    Wish(at_s=3.0, app=CODE, model="qwen3-8b", words="Refactor."),
    Wish(at_s=4.0, app=CHAT, model="llama-3.2-3b", turn=1),
    # The one machine that has this model has one slot.
    *(
        Wish(at_s=6.0 + n / 2, app=app, model=ONE_SLOT, words=f"LOOP {n}", tokens=200)
        for n, app in enumerate((CODE, AGENT, AGENT, CHAT))
    ),
    Wish(at_s=8.0, app=AGENT, model="qwen3-8b", turn=1),
    Wish(at_s=10.0, app=CHAT, model="llama-3.2-3b", turn=2),
    # It is loaded where it was asked for by name: so it is in memory at both for the rest of the round.
    Wish(at_s=12.0, app=CODE, model="demo-llama-cpp/qwen3-8b"),
    # The one that has it in memory fails, the other one loads it.
    Wish(at_s=14.0, app=CODE, model="gemma3:4b"),
    Wish(at_s=16.0, app=CHAT, model="qwen3-32b"),
    Wish(at_s=17.0, app=CODE, model="llama-3.3-70b"),
    # All slots of one machine, for a while: what it has in memory goes to the other one.
    *(
        Wish(at_s=18.0 + n / 4, app=app, model="mistral-small-24b", words=f"LOOP {n}", tokens=600)
        for n, app in enumerate((CODE, AGENT, CHAT, AGENT))
    ),
    Wish(at_s=20.0, app=CHAT, model="qwen3-8b", words="Summarize."),
    Wish(at_s=22.0, app=AGENT, model="claude-haiku-4-5"),
    Wish(at_s=24.0, app=CHAT, model="gpt-5-mini"),
    Wish(at_s=28.0, app=CODE, model="qwen3-8b", words=LONG_PROMPT, tokens=200),
    Wish(at_s=31.0, app=CHAT, model="llama-3.2-3b", turn=3),
)


async def send_requests(runtime_file: Path, cool: Callable[[], None]) -> None:
    """Send rounds of requests to the service of this file, until it is cancelled.

    `cool` is called after each: it puts the engines' memories back as they were.
    """
    async with asyncio.TaskGroup() as running:
        for number in count():
            slept_s = 0.0
            for wish in ROUND:
                await asyncio.sleep(wish.at_s - slept_s)
                slept_s = wish.at_s
                running.create_task(_send(runtime_file, wish, number))
            cool()
            await asyncio.sleep(ROUND_S - slept_s)


def messages(wish: Wish, number: int) -> list[dict[str, str]]:
    """Return the messages of a conversation of a round up to the turn of this request."""

    def turns() -> Iterator[dict[str, str]]:
        yield {"role": "user", "content": f"{wish.words} (Conversation {number}.)"}
        for _ in range(wish.turn):
            yield {"role": "assistant", "content": "Hello."}
            yield {"role": "user", "content": "Go on."}

    return list(turns())


async def _send(runtime_file: Path, wish: Wish, number: int) -> None:
    import httpx  # noqa: PLC0415 -- only the demo that runs needs it

    # A service that ends, or answers with an error, is what a demo may show.
    with suppress(httpx.HTTPError, OSError, ValueError, msgspec.MsgspecError):
        runtime, key = await asyncio.to_thread(_read, runtime_file)
        # One connection, so that the service that has proven itself is the one that is shown the key.
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=runtime.url, limits=limits, timeout=TIMEOUT_S, trust_env=False
        ) as client:
            await _prove(client, runtime, key)
            head = {"authorization": f"Bearer {key}", "user-agent": wish.app}
            body = {
                "model": wish.model,
                "messages": messages(wish, number),
                "max_tokens": wish.tokens,
                "stream": True,
            }
            async with client.stream("POST", "/v1/chat/completions", json=body, headers=head) as response:
                async for _ in response.aiter_raw():
                    pass


def _read(runtime_file: Path) -> tuple[Runtime, str]:
    """Return where the service is, which may have been started anew, and the key that it takes."""
    runtime = msgspec.json.decode(runtime_file.read_bytes(), type=Runtime)
    return runtime, OWN_VARIABLES.get(KEY, "").strip() or Path(runtime.key_file).read_text("ascii").strip()


async def _prove(client: "httpx.AsyncClient", runtime: Runtime, key: str) -> None:
    """Raise ValueError if the service does not know the key, before it is told."""
    challenge = secrets.token_hex(CHALLENGE_BYTES)
    answer = await client.get("/healthz", params={"challenge": challenge})
    proof = msgspec.json.decode(answer.content, type=Identity).proof
    if not isinstance(proof, str) or not is_proof(proof, key, challenge, runtime.instance):
        raise ValueError("another service")
