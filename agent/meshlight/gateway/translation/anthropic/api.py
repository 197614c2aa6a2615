"""Anthropic's Messages API by way of chat completions, for backends that speak nothing else.

What becomes of a request, after the API references of both sides, llama.cpp's and vLLM's own translations, and what
Claude Code is known to send:

- `system` and system messages before the first turn become one system message, blocks as paragraphs of it. Claude
  Code's block `x-anthropic-billing-header: …` is no part of a prompt. A system message inside the conversation
  (beta mid-conversation-system) becomes a marked part of the user's turn, as most chat templates take none there;
  with `clear_at: next_user_message` it goes only until the next user turn.
- Turns keep their order; neighbours of one role become one message. Texts are joined as paragraphs. Results of tools
  come before the user's text, as `tool` messages; their images follow in the user's message, the only one that may
  hold them; `is_error` becomes the word "Error:". Documents of text and search results become text.
- `thinking` blocks go on as `reasoning_content`; `redacted_thinking` only Anthropic can read, so it stays behind.
  What a backend wants back with its thoughts and calls is in the ids and signatures that it gave (`keepsake`).
- `tools` become functions with their schemas as they stand; `defer_loading` is only about when Anthropic shows
  them: all are shown. Tools that Anthropic runs or defines (web search, bash, …) are refused.
- `thinking` is a wish that an engine may not be able to meet: `enabled` and `disabled` become
  `chat_template_kwargs.enable_thinking`, which llama.cpp, vLLM, SGLang and newer mlx_lm hand to the chat template;
  `budget_tokens` becomes llama.cpp's `thinking_budget_tokens`; `adaptive` and `between_tools` leave it to the model.
  `display: omitted` is met. `output_config.effort` becomes `reasoning_effort`, at most "high".
- `stop_sequences`, `temperature`, `top_p`, `top_k`, `tool_choice`, `metadata.user_id` and a JSON schema as format
  have counterparts. An assistant's turn at the end is handed on; whether it is continued is the engine's affair.
- Passed over, because they change nothing of what the answer says: `cache_control`, `citations` on texts,
  `signature`, `betas`, `service_tier`, `speed`, `diagnostics`, `fallbacks`, `fallback_credit_token`,
  `billing_policy`, `user_profile_id`, `workspace_id`, `task_budget`, `input_examples`, `eager_input_streaming`,
  `caller`, `toolset_name`; and `context_management` and `compaction`, which would let Anthropic's service drop
  parts of a long conversation: here all of it is sent.
- `container`, `mcp_servers`, `thread` and `inference_geo` are refused by name, and so is a block of a type that
  nobody here knows: without them the answer would be another. A field that nobody here knows is left out, and named
  in the answer's header `x-meshlight-dropped`.

With `extensions=False`, for OpenAI's own service, which refuses fields it does not know: `thinking` blocks and the
wish to think stay behind, so does `top_k`, which the header names, a `user_id` of more than 64 characters is left
out, and the limit is called `max_completion_tokens`. What a server turns out not to take stays behind too
(`declined`).

And of an answer: reasoning becomes a `thinking` block that nobody has signed; a call whose arguments are no JSON
object is a broken answer, unless the limit cut it off, when a stream passes it as it is and a whole message leaves
it out; `content_filter` becomes `refusal`; `stop_sequence` is the reason only where the engine names the sequence
(vLLM, SGLang), otherwise it is `end_turn`; the count of cached tokens moves out of `input_tokens`.
"""

from msgspec.json import Encoder

from meshlight.gateway.translation.anthropic.request import chat_request, limit_name, read_request, sampling
from meshlight.gateway.translation.anthropic.response import MessagesTranslator, TokenCountTranslator
from meshlight.gateway.translation.anthropic.stream_builder import AnswerOptions
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.tool_calls import BackendTraits
from meshlight.gateway.translation.unknown_fields import Dropped

_encode = Encoder().encode


def translate_messages(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False
) -> TranslatedRequest:
    """Translate a body of `messages`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend takes fields which are not OpenAI's, `signs` that it is Gemini, which signs
    thoughts and wants to see that again. Raises Untranslatable and BadRequest.
    """
    dropped = Dropped()
    request = read_request(body, dropped)
    chat = chat_request(request, model, BackendTraits(extensions, signs), dropped) | sampling(
        request, dropped, extensions=extensions
    )
    options = AnswerOptions(
        request.model,
        is_stream=request.stream is True,
        stop_sequences=request.stop_sequences or (),
        hides_thinking=request.thinking is not None and request.thinking.display == "omitted",
    )
    return TranslatedRequest("chat/completions", _encode(chat), MessagesTranslator(options), dropped.names())


def translate_count(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False
) -> TranslatedRequest:
    """Translate a body of `messages/count_tokens`: the backend reads the prompt and answers with one token.

    Raises Untranslatable and BadRequest.
    """
    dropped = Dropped()
    chat = chat_request(read_request(body, dropped), model, BackendTraits(extensions, signs), dropped)
    chat[limit_name(extensions=extensions)] = 1
    return TranslatedRequest("chat/completions", _encode(chat), TokenCountTranslator(), dropped.names())
