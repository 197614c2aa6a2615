"""The kinds that the fake service offers: the real ones, three of them in words that only the tests know."""

from typing import Any

from meshlight.backends.base import Field
from meshlight.backends.kinds import KINDS
from meshlight.gateway.control.kinds import KindView, kind_view

_URL = Field(name="url", label="Address", required=True, placeholder="https://cluster.example.com")
_PLAYED = (
    KindView(
        kind="continuum",
        label="Continuum Router",
        about="a router with backends of its own",
        group="router",
        ring="company",
        port=None,
        default_url="",
        fields=(_URL, Field(name="api_key", label="API key", is_secret=True)),
    ),
    KindView(
        kind="cluster",
        label="Cluster",
        about="a cluster manager, with requests signed by a pair of keys",
        group="cluster",
        ring="company",
        port=None,
        default_url="",
        fields=(
            _URL,
            Field(
                name="access_key",
                label="Access key",
                required=True,
                placeholder="AKIA…",
                hint="The public half of your pair of keys.",
            ),
            Field(name="api_key", label="Secret key", required=True, is_secret=True),
            Field(name="ca_file", label="Certificate authority", placeholder="/etc/ssl/our-ca.pem"),
            Field(
                name="follow_clock",
                label="Follow its clock",
                default="true",
                hint="Sign by the cluster's clock when this machine's is off.",
            ),
        ),
    ),
    KindView(
        kind="openai",
        label="OpenAI",
        about="GPT models by OpenAI's own API",
        group="cloud",
        ring="cloud",
        port=None,
        default_url="https://api.openai.com",
        fields=(
            Field(name="url", label="Address"),
            Field(
                name="api_key",
                label="API key",
                required=True,
                is_secret=True,
                hint="Made at platform.openai.com/api-keys.",
            ),
        ),
    ),
)
KINDS_HERE = (
    *(kind_view(kind) for name, kind in KINDS.items() if name not in {played.kind for played in _PLAYED}),
    *_PLAYED,
)

NO_KEY = {
    "message": "The key of Ollama was given for another address. Give the key for the new address.",
    "code": "bad_request",
    "param": "api_key",
    "hint": "Give the key for the new address.",
}
"""How a backend at a host that is called `keyed` is refused without a key."""


def culprit_of(sent: dict[str, Any]) -> dict[str, Any] | None:
    """Refuse the host `refuse`, and the key `wrong`."""
    if "refuse" in sent.get("url", ""):
        return {
            "message": "Connection refused at refuse:1. Is Ollama running?",
            "code": "check_failed",
            "param": "url",
            "hint": "Is Ollama running?",
        }
    if sent.get("api_key") == "wrong":
        return {
            "message": "It refuses the API key (401). Copy the key once more.",
            "code": "check_failed",
            "param": "api_key",
            "hint": "Copy the key once more.",
        }
    return None
