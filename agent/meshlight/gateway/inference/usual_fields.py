"""The usual fields of a JSON body, and what decodes those that have no others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

DECIDING: Final = {"model": "model", "stream": "stream", "store": "store"}
"""The fields that decide something."""
_FREQUENT_NAMES: Final = """
model messages stream max_tokens temperature stream_options tools tool_choice store top_p system input instructions
max_completion_tokens max_output_tokens n stop seed response_format user
"""
_OTHER_NAMES: Final = """
prompt suffix top_k min_p stop_sequences format options keep_alive metadata reasoning reasoning_effort thinking
parallel_tool_calls logprobs top_logprobs include text template raw images think truncate dimensions encoding_format
frequency_penalty presence_penalty logit_bias service_tier modalities audio chat_template_kwargs cache_prompt
previous_response_id prompt_cache_key output_config context_management safety_identifier verbosity
"""
_FREQUENT: Final = _FREQUENT_NAMES.split()
USUAL: Final = frozenset((*_FREQUENT, *_OTHER_NAMES.split()))
"""Names that are no other spelling of a deciding one: most bodies have no others, so no name needs a check."""
ABSENT: Final = Raw()
"""The value of a field that is not there."""


_TYPES: Final[Mapping[str, tuple[Any, Any]]] = {
    "model": (str | None, None),
    "stream": (Any, ABSENT),
    "store": (Any, ABSENT),
}


def _decoder(names: Sequence[str]) -> Any:
    """Return what decodes a body that has no fields but these; each of them costs something even if it is absent.

    It looks for a name from where it found the last one, so the most frequent ones come first.
    """
    fields = [(name, *_TYPES.get(name, (Raw, ABSENT))) for name in names]
    body: Any = msgspec.defstruct("_Body", fields, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(body)


FREQUENT_BODIES: Final = _decoder(_FREQUENT)
"""Decodes a body that has frequent fields only."""
USUAL_BODIES: Final = _decoder([*_FREQUENT, *_OTHER_NAMES.split()])
"""Decodes a body that has usual fields only."""
