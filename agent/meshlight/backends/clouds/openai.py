"""OpenAI itself."""

from meshlight.backends.clouds.base import Cloud
from meshlight.domain.operations import OPENAI_OPERATIONS, Operation


class OpenAI(Cloud):
    """The API that all others imitate; it has no `rerank`.

    Source: platform.openai.com/docs/api-reference.
    """

    kind = "openai"
    label = "OpenAI"
    about = "OpenAI's own API, with a key of your account"
    default_url = "https://api.openai.com"
    key_placeholder = "sk-…"
    operations = frozenset[Operation](OPENAI_OPERATIONS) - {"rerank"}
