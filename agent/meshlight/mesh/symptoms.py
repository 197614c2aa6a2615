"""Who is told of single requests that go wrong."""


class Symptoms:
    """Is told of what goes wrong with single requests; this one ignores it."""

    def failed(self, backend: str, model: str) -> None:
        """Note an answer of 5xx, one that broke off, or none in time."""

    def left(self, backend: str, model: str, after_s: float) -> None:
        """Note a client that left before the first byte; without a backend, it waited for a slot."""

    def prompt(self, backend: str, model: str, body: bytes, counted: int) -> None:
        """Note how many tokens a backend counted in the prompt of a request."""
