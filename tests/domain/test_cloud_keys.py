"""Whose key it is."""

import pytest

from meshlight.backends.kinds import KINDS
from meshlight.domain.cloud_keys import KEY_PAGES, PROVIDERS, is_provider, provider_of
from meshlight.http_client.address import parse_address


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("sk-proj-abc", "OpenAI"),
        ("sk-abcT3BlbkFJdef", "OpenAI"),
        ("sk-ant-api03-abc", "Anthropic"),
        ("AIzaSyAbc", "Google Gemini"),
        ("sk-or-v1-abc", "OpenRouter"),
        (" gsk_abc\n", "Groq"),
        ("xai-abc", "xAI"),
        ("hf_abc", "Hugging Face"),
        ("nvapi-abc", "NVIDIA"),
        ("csk-abc", "Cerebras"),
    ],
)
def test_its_beginning_tells(key: str, label: str) -> None:
    found = provider_of(key)
    assert found is not None
    assert found.label == label


@pytest.mark.parametrize("key", ["", "sk-", "sk-0123456789abcdef", "0123456789abcdef", "ask-ant-"])
def test_a_beginning_that_several_use_tells_nothing(key: str) -> None:
    assert provider_of(key) is None


def test_no_beginning_is_that_of_two_and_each_address_can_be_added() -> None:
    prefixes = [prefix for one in PROVIDERS for prefix in one.prefixes]
    assert not any(a is not b and a.startswith(b) for a in prefixes for b in prefixes)
    for one in PROVIDERS:
        address = parse_address(one.url)
        assert (address.scheme, address.host) == ("https", one.host)
        assert (
            f"https://{one.host}{address.target('/v1/models')}" == f"{one.url.removesuffix('/v1')}/v1/models"
        )
        assert is_provider(one.host)
        assert one.kind == "openai-compatible" or parse_address(KINDS[one.kind].default_url) == address
    assert KEY_PAGES.keys() == {name for name, kind in KINDS.items() if kind.group == "cloud"}
