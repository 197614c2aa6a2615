"""How an answer of chat completions ended, by the words that servers have for it."""

from meshlight.domain.errors import Untranslated

CUT = frozenset({"length", "max_tokens"})
REFUSED = frozenset({"content_filter", "refusal", "safety"})
_FAILED = frozenset({"error", "abort", "insufficient_system_resource"})
"""OpenRouter's, vLLM's and DeepSeek's words for an answer that was given up."""


def check_ending(reason: str, *, has_begun: bool, is_told: bool) -> None:
    """Raise Untranslated where an answer that ended for this `finish_reason` is not whole.

    `is_told` says that its end was told in another way: `[DONE]` came, or the answer is one whole JSON object. Small
    servers leave the reason out, and need not say it then.
    """
    if not has_begun:
        raise Untranslated("It sent no answer.")
    if not reason and not is_told:
        raise Untranslated("Its answer ends in the middle: it does not say why it stopped.")
    if reason in _FAILED:
        raise Untranslated(f"It gave the answer up in the middle ({reason}).")
