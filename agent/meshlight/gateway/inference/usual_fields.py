"""The usual fields of a JSON body, and what decodes those that have no others."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

DECIDING: Final = {"model": "model", "stream": "stream", "store": "store"}
"""The fields that decide something."""
# The most frequent ones first: the decoder looks for each name from where it found the last one.
_USUAL_NAMES: Final = """
model messages stream max_tokens temperature stream_options tools tool_choice store top_p system input instructions
prompt suffix top_k min_p max_completion_tokens max_output_tokens n stop stop_sequences seed response_format format
options keep_alive user metadata reasoning reasoning_effort thinking parallel_tool_calls logprobs top_logprobs include
text template raw images think truncate dimensions encoding_format frequency_penalty presence_penalty logit_bias
service_tier modalities audio chat_template_kwargs cache_prompt previous_response_id prompt_cache_key output_config
context_management safety_identifier verbosity
"""
_NAMES: Final = _USUAL_NAMES.split()
USUAL: Final = frozenset(_NAMES)
"""Names that are no other spelling of a deciding one: most bodies have no others, so no name needs a check."""


_TYPES: Final[Mapping[str, tuple[Any, Any]]] = {
    "model": (str | None, None),
    "stream": (Any, None),
    "store": (Any, None),
}
_UsualBody: Any = msgspec.defstruct(
    "_UsualBody",
    [(name, *_TYPES.get(name, (Raw, Raw()))) for name in _NAMES],
    forbid_unknown_fields=True,
    gc=False,
)
"""A body that has usual fields only."""
USUAL_BODIES: Final = msgspec.json.Decoder(_UsualBody)
