"""What is asked of the mesh: conversations of several programs, at random by a seed, the same for every choice."""

import random
from collections.abc import Mapping, Sequence

from msgspec import Struct

BURST_EVERY_S, BURST_S, BURST_RATE = 180.0, 20.0, 4.0
"""Now and then, a script or a meeting starts many conversations at once."""
LONG_SHARE = 0.12
"""Conversations of agents, with long prompts."""
APPS = ("chat", "editor", "agent", "script")


class Model(Struct, frozen=True):
    """One model: how much memory it takes (GB; its speed goes with it), and how popular it is."""

    name: str
    size: float
    share: float


MODELS = (
    Model("small-3b", 3, 0.16),
    Model("chat-8b", 6, 0.34),
    Model("vision-8b", 7, 0.08),
    Model("chat-14b", 10, 0.14),
    Model("coder-14b", 11, 0.12),
    Model("coder-32b", 21, 0.12),
    Model("chat-70b", 42, 0.04),
)


class Turn(Struct, frozen=True):
    """One request of a conversation."""

    prompt: int
    """Tokens of the whole prompt, with all that was said before."""
    answer: int
    """Tokens that the model writes."""
    limit: int
    """Tokens that the request allows the answer to have; 0 if it does not say."""
    think_s: float
    """From the end of the turn before to this one."""
    error: float
    """How far the size of the prompt is off when it is estimated from its bytes: 1.1 for a tenth too much."""


class Conversation(Struct, frozen=True):
    """One conversation."""

    number: int
    app: str
    model: str
    start_s: float
    turns: Sequence[Turn]

    @property
    def mark(self) -> bytes:
        """What `domain/conversation.py` makes of a body."""
        return self.number.to_bytes(8, "big")


def demand(seed: int, requests: int, per_s: float, contexts: Mapping[str, int]) -> list[Conversation]:
    """Return conversations of so many requests altogether; `per_s` is how many of them begin in a second.

    `contexts` has the largest context of each model that is there.
    """
    chance = random.Random(seed)  # noqa: S311 - it is to be the same each time
    models = [model for model in MODELS if model.name in contexts]
    found: list[Conversation] = []
    now, left = 0.0, requests
    while left > 0:
        rate = per_s * (BURST_RATE if now % BURST_EVERY_S > BURST_EVERY_S - BURST_S else 1.0)
        now += chance.expovariate(rate)
        model = chance.choices(models, [model.share for model in models])[0]
        turns = _turns(chance, contexts[model.name])[:left]
        left -= len(turns)
        found.append(Conversation(len(found), chance.choice(APPS), model.name, now, turns))
    return found


def _turns(chance: random.Random, context: int) -> list[Turn]:
    is_long = chance.random() < LONG_SHARE
    prompt = chance.randint(4_000, 24_000) if is_long else chance.randint(50, 1_500)
    prompt = min(prompt, context // 2)
    turns: list[Turn] = []
    for number in range(min(15, 1 + int(chance.expovariate(1 / 4)))):
        prompt += chance.randint(200, 3_000) if is_long else chance.randint(20, 300)
        answer = min(2_000, 20 + int(chance.expovariate(1 / 250)))
        limit = max(answer, 1_024) if chance.random() < 0.3 else 0
        if turns and (prompt + answer + limit) * 1.25 > context:
            break
        think_s = chance.expovariate(1 / (8 if is_long else 25)) if number else 0.0
        turns.append(Turn(prompt, answer, limit, think_s, chance.uniform(0.85, 1.2)))
        prompt += answer
    return turns
