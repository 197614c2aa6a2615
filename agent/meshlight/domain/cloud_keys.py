"""The clouds that a pasted API key is recognised for: by the letters with which their keys begin.

Sources of the beginnings: the providers' own pages of keys, and the public rules by which leaked keys are recognised
(gitleaks: `cmd/generate/config/rules`, trufflehog: `pkg/detectors`). Sources of the addresses: beside each.
Only a beginning that no other provider uses is in the table. A plain `sk-…` may be anybody's:
only the one with OpenAI's mark inside is OpenAI's, for any other the user says whose it is.
"""

from msgspec import Struct

from meshlight.domain.backend import Kind

_OPENAI_MARK = "T3BlbkFJ"
"""In the middle of each key that OpenAI has made (base64 of its name)."""


class Provider(Struct, frozen=True, kw_only=True):
    """One cloud: how it is added as a backend, and where its keys are made."""

    label: str
    kind: Kind = "openai-compatible"
    url: str
    """The base address of its API, as its documentation names it."""
    key_page: str
    """Where a person makes a key; without `https://`."""
    prefixes: tuple[str, ...] = ()
    """What its keys begin with, and no other provider's; empty if nothing tells them apart."""

    @property
    def host(self) -> str:
        """The only host that its key is sent to."""
        return self.url.removeprefix("https://").partition("/")[0]


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        label="OpenAI",
        kind="openai",
        url="https://api.openai.com",  # platform.openai.com/docs/api-reference
        key_page="platform.openai.com/api-keys",
        prefixes=("sk-proj-", "sk-svcacct-"),
    ),
    Provider(
        label="Anthropic",
        kind="anthropic",
        url="https://api.anthropic.com",  # platform.claude.com/docs/en/api/overview
        key_page="platform.claude.com/settings/keys",
        prefixes=("sk-ant-",),
    ),
    Provider(
        label="Google Gemini",
        kind="gemini",
        url="https://generativelanguage.googleapis.com",  # ai.google.dev/gemini-api/docs/api-key
        key_page="aistudio.google.com/apikey",
        prefixes=("AIza",),
    ),
    Provider(
        label="OpenRouter",
        url="https://openrouter.ai/api/v1",  # openrouter.ai/docs/quickstart
        key_page="openrouter.ai/settings/keys",
        prefixes=("sk-or-",),
    ),
    Provider(
        label="Groq",
        url="https://api.groq.com/openai/v1",  # console.groq.com/docs/openai
        key_page="console.groq.com/keys",
        prefixes=("gsk_",),
    ),
    Provider(
        label="xAI",
        url="https://api.x.ai/v1",  # docs.x.ai/docs/overview
        key_page="console.x.ai",
        prefixes=("xai-",),
    ),
    Provider(
        label="Hugging Face",
        url="https://router.huggingface.co/v1",  # huggingface.co/docs/inference-providers
        key_page="huggingface.co/settings/tokens",
        prefixes=("hf_",),
    ),
    Provider(
        label="NVIDIA",
        url="https://integrate.api.nvidia.com/v1",  # docs.api.nvidia.com/nim/reference/llm-apis
        key_page="build.nvidia.com/settings/api-keys",
        prefixes=("nvapi-",),
    ),
    Provider(
        label="Cerebras",
        url="https://api.cerebras.ai/v1",  # inference-docs.cerebras.ai/resources/openai
        key_page="cloud.cerebras.ai",
        prefixes=("csk-",),
    ),
    Provider(
        label="Together AI",
        url="https://api.together.xyz/v1",  # docs.together.ai/docs/openai-api-compatibility
        key_page="api.together.ai/settings/api-keys",
        prefixes=("tgp_",),
    ),
    Provider(
        label="Fireworks AI",
        url="https://api.fireworks.ai/inference/v1",  # docs.fireworks.ai/tools-sdks/openai-compatibility
        key_page="app.fireworks.ai/settings/users/api-keys",
        prefixes=("fw_",),
    ),
    Provider(
        label="Mistral",
        url="https://api.mistral.ai/v1",  # docs.mistral.ai/api
        key_page="console.mistral.ai/api-keys",
    ),
    Provider(
        label="DeepSeek",
        url="https://api.deepseek.com/v1",  # api-docs.deepseek.com
        key_page="platform.deepseek.com/api_keys",
    ),
)
KEY_PAGES: dict[Kind, str] = {one.kind: one.key_page for one in PROVIDERS if one.kind != "openai-compatible"}
"""Where a key for a kind of cloud is made."""
_HOSTS = frozenset(one.host for one in PROVIDERS)


def provider_of(key: str) -> Provider | None:
    """Return whose key this is by its beginning; None if that does not tell."""
    key = key.strip()
    for one in PROVIDERS:
        if key.startswith(one.prefixes):
            return one
    if key.startswith("sk-") and _OPENAI_MARK in key:
        return PROVIDERS[0]
    return None


def provider_called(text: str) -> Provider | None:
    """Return the provider of this label, ignoring case."""
    wanted = text.strip().casefold()
    return next((one for one in PROVIDERS if one.label.casefold() == wanted), None)


def is_provider(host: str) -> bool:
    """Whether a host is the address of one of these clouds, which nobody has typed wrongly."""
    return host in _HOSTS
