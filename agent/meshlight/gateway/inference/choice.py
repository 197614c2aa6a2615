"""A route that was chosen among several."""

from typing import Final

from meshlight.domain.choice import NO_PROMPT, Prompt
from meshlight.domain.route_score import RouteScore
from meshlight.gateway.inference.prompt import Reading

AFTER_FAILURE: Final = "the first choice failed"
"""Why another attempt goes where it goes."""


class Choice:
    """A route that was chosen among several, and what the choice depended on."""

    __slots__ = ("prompt", "reading", "score", "why")

    def __init__(
        self, score: RouteScore, reading: Reading, prompt: Prompt = NO_PROMPT, why: str = ""
    ) -> None:
        self.score = score
        self.reading = reading
        self.prompt = prompt
        self.why = why
        """The deciding word, for people."""

    def header(self, *, is_first: bool) -> tuple[bytes, bytes]:
        """Return the header that says why the route of the first attempt was chosen, or that of another one."""
        why = self.why if is_first else AFTER_FAILURE
        return b"x-meshlight-why", why.encode("ascii", "replace")
