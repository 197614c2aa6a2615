"""Reads a JSON body of usual fields at once; most bodies have no others."""

from typing import Any, Final

import msgspec
from msgspec import Raw

SMALL: Final = 65_536
"""A body of so many bytes can't hold enough keys to cost much before they are counted."""
DECIDING: Final = {"model": "model", "stream": "stream", "store": "store"}
"""The fields that decide something."""
_USUAL_NAMES: Final = """
model stream store messages system input instructions prompt suffix tools tool_choice temperature top_p top_k min_p
max_tokens max_completion_tokens max_output_tokens n stop stop_sequences seed stream_options response_format format
options keep_alive user metadata reasoning reasoning_effort thinking parallel_tool_calls logprobs top_logprobs include
text template raw images think truncate dimensions encoding_format frequency_penalty presence_penalty logit_bias
service_tier modalities audio chat_template_kwargs cache_prompt previous_response_id prompt_cache_key output_config
context_management safety_identifier verbosity
"""
USUAL: Final = frozenset(_USUAL_NAMES.split())
"""Names that are no other spelling of a deciding one: most bodies have no others, so no name needs a check."""


_UsualBody: Any = msgspec.defstruct(
    "_UsualBody",
    [("model", str | None, None), ("stream", Any, None), ("store", Any, None)]
    + [(name, Raw, Raw()) for name in sorted(USUAL.difference(DECIDING))],
    forbid_unknown_fields=True,
    gc=False,
)
"""A body that has usual fields only."""
_usual = msgspec.json.Decoder(_UsualBody)


def read_usual(body: bytes) -> tuple[str, bool, bool] | None:
    """Return the model, `stream` and `store` of a body that has usual fields only; None for another one."""
    # A name that its quotes enclose only once can't be a key twice, unless a key is written with escapes.
    if (
        len(body) > SMALL
        or b"\\u00" in body
        or (body.count(b'"model"') > 1 or body.count(b'"stream"') > 1 or body.count(b'"store"') > 1)
    ):
        return None
    try:
        found = _usual.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found.model or "", found.stream is True, found.store is True
