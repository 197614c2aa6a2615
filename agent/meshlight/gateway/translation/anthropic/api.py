"""Translates Anthropic's Messages API to chat completions, for backends that have nothing else.

The translation of a request, by the API references of both sides, llama.cpp's and vLLM's own translations, and what
Claude Code sends:

- `system` and system messages before the first turn become one system message, blocks as paragraphs of it. Claude
  Code's block `x-anthropic-billing-header: …` is left out. A system message inside the conversation (beta
  mid-conversation-system) becomes a marked part of the user's turn, as most chat templates allow none there; with
  `clear_at: next_user_message` it is sent only until the next user turn.
- Turns keep their order; consecutive turns of one role become one message. Texts are joined as paragraphs. Results of
  tools come before the user's text, as `tool` messages; their images follow in the user's message, the only one that
  may have images; `is_error` becomes the word "Error:". Documents of text and search results become text.
- `thinking` blocks become `reasoning_content`; only Anthropic can read `redacted_thinking`, which is left out. State
  that a backend wants back is in the ids and signatures of its thoughts and calls (`carried_state`).
- `tools` become functions with unchanged schemas; `defer_loading` only says when Anthropic shows them: all are shown.
  Tools that Anthropic runs or defines (web search, bash, …) are refused.
- `thinking` is a request that an engine may not be able to follow: `enabled` and `disabled` become
  `chat_template_kwargs.enable_thinking`, which llama.cpp, vLLM, SGLang and newer mlx_lm pass to the chat template;
  `budget_tokens` becomes llama.cpp's `thinking_budget_tokens`; `adaptive` and `between_tools` leave it to the model.
  `display: omitted` is followed. `output_config.effort` becomes `reasoning_effort`, at most "high".
- `stop_sequences`, `temperature`, `top_p`, `top_k`, `tool_choice`, `metadata.user_id` and a JSON schema as format
  have counterparts. An assistant's turn at the end is passed on; whether it is continued depends on the engine.
- Ignored, because they do not change the content of the answer: `cache_control`, `citations` on texts, `signature`,
  `betas`, `service_tier`, `speed`, `diagnostics`, `fallbacks`, `fallback_credit_token`, `billing_policy`,
  `user_profile_id`, `workspace_id`, `task_budget`, `input_examples`, `eager_input_streaming`, `caller`,
  `toolset_name`; and `context_management` and `compaction`, which allow Anthropic's service to drop parts of a long
  conversation: here all of it is sent.
- `container`, `mcp_servers`, `thread` and `inference_geo` are refused, and so is a block of an unknown type: without
  them the answer would be different. An unknown field is left out, and named in the answer's header
  `x-meshlight-dropped`.

With `extensions=False`, for OpenAI's own service, which refuses unknown fields: `thinking` and `thinking` blocks are
left out, `top_k` too (the header names it), and a `user_id` of more than 64 characters; the limit is called
`max_completion_tokens`. Fields that a server turns out to refuse are left out too (`refused_fields`).

The translation of an answer: reasoning becomes an unsigned `thinking` block; a call whose arguments are not a JSON
object is a broken answer, unless the limit cut it off: then a stream passes it on, and a complete message leaves it
out; `content_filter` becomes `refusal`; `stop_sequence` is the reason only if the engine names the sequence (vLLM,
SGLang), otherwise it is `end_turn`; the count of cached tokens moves out of `input_tokens`.
"""

from typing import Final

from msgspec.json import Encoder

from meshlight.gateway.translation.anthropic.request import (
    add_sampling,
    chat_request,
    limit_name,
    read_request,
)
from meshlight.gateway.translation.anthropic.response import MessagesTranslator
from meshlight.gateway.translation.anthropic.stream_builder import AnswerOptions
from meshlight.gateway.translation.anthropic.token_count import TokenCountTranslator
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.tool_calls import BackendTraits
from meshlight.gateway.translation.unknown_fields import Dropped

_encode: Final = Encoder().encode


def translate_messages(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False
) -> TranslatedRequest:
    """Translate a body of `messages`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend accepts fields that are not OpenAI's, `signs` that it is Gemini, which signs
    thoughts and demands the signatures back. Raises Untranslatable and BadRequest.
    """
    dropped = Dropped()
    request = read_request(body, dropped)
    chat = chat_request(request, model, BackendTraits(extensions, signs), dropped)
    add_sampling(chat, request, dropped, extensions=extensions)
    thinking = request.thinking
    options = AnswerOptions(
        request.model,
        is_stream=request.stream is True,
        stop_sequences=request.stop_sequences or (),
        hides_thinking=thinking is not None and thinking.display == "omitted",
    )
    return TranslatedRequest("chat/completions", _encode(chat), MessagesTranslator(options), dropped.names())


def translate_count(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False
) -> TranslatedRequest:
    """Translate a body of `messages/count_tokens`: the backend processes the prompt and answers with one token.

    Raises Untranslatable and BadRequest.
    """
    dropped = Dropped()
    chat = chat_request(read_request(body, dropped), model, BackendTraits(extensions, signs), dropped)
    chat[limit_name(extensions=extensions)] = 1
    return TranslatedRequest("chat/completions", _encode(chat), TokenCountTranslator(), dropped.names())
