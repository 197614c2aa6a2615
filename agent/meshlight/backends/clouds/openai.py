"""OpenAI itself."""

from meshlight.backends.cloud import Cloud
from meshlight.backends.kind import OPENAI_FACES, Face


class OpenAI(Cloud):
    """Its API is the one that all others imitate; it has no `rerank`.

    Source: platform.openai.com/docs/api-reference.
    """

    kind = "openai"
    label = "OpenAI"
    about = "OpenAI's own API, with a key of your account"
    default_url = "https://api.openai.com"
    key_placeholder = "sk-…"
    faces = frozenset[Face](OPENAI_FACES) - {"rerank"}
