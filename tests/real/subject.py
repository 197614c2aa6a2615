"""Whom a test speaks to with the openai client: an engine directly, or the same engine through the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from openai import AsyncOpenAI, DefaultAsyncHttpxClient


@dataclass(frozen=True)
class Subject:
    """An OpenAI address with a key and the name of a model there."""

    base_url: str  # ends in /v1
    model: str
    api_key: str = "no-key-needed"

    def client(self) -> AsyncOpenAI:
        """Return the official client, without its own retries, so that each test sees what really happened."""
        return AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.api_key,
            max_retries=0,
            timeout=30.0,
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )
