"""What the requests of Ollama's API have in common: reading them, and the fields that say how to answer."""

import math
import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from meshlight.backends.quote import clean
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.mistakes import LONGEST, malformed, mistake
from meshlight.gateway.translation.ollama_shape import ChatRequest, GenerateRequest, Options
from meshlight.gateway.translation.pruned import Dropped
from meshlight.gateway.translation.well_formed import decode

T = TypeVar("T")

ELSEWHERE = "Leave it out, or use a model of a backend that is Ollama itself."
_CARRIED = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_OWN: dict[str, tuple[tuple[str, ...], float]] = {
    "top_k": (("top_k",), 0),
    "min_p": (("min_p",), 0),
    "typical_p": (("typical_p",), 1),
    "repeat_penalty": (("repeat_penalty", "repetition_penalty"), 1),
}
"""Options that are not OpenAI's: what engines call them (llama.cpp, then vLLM), and the value that means "off"."""
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "max": "high"}
_NOTHING = frozenset({b"", b"null", b'""'})


def read(body: bytes, decoder: msgspec.json.Decoder[T], shape: type[T]) -> T:
    """Read a body as `shape`; raises BadRequest."""
    try:
        return decode(body, decoder)
    except msgspec.ValidationError as error:
        raise mistake(error, shape) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def untranslatable(param: str, why: str = "") -> Untranslatable:
    """Return the error for a field that has no counterpart."""
    param = clean(param, LONGEST)
    title = f"{param} can't be carried over to OpenAI's API, which is all that this model's backend speaks."
    return Untranslatable(f"{title} {why}".rstrip(), ELSEWHERE, param)


def sampling(options: Options | None, dropped: Dropped, *, limit: str, extensions: bool) -> dict[str, Any]:
    """Return what the options are called elsewhere; `limit` is the name of the bound of the answer.

    Those that OpenAI's own API has not are dropped where there are no `extensions`. Raises BadRequest.
    """
    if options is None:
        return {}
    asked: dict[str, Any] = {
        name: value for name in _CARRIED if (value := getattr(options, name)) is not None
    }
    if options.seed is not None:
        asked["seed"] = _whole("seed", options.seed)
    if options.stop:
        asked["stop"] = options.stop
    if options.num_predict is not None and options.num_predict > 0:
        asked[limit] = _whole("num_predict", options.num_predict)
    for name, (names, off) in _OWN.items():
        value = getattr(options, name)
        if value is None:
            continue
        if not extensions:
            if value != off:
                dropped.add(f"options.{name}")
            continue
        told = _whole(name, value) if name == "top_k" else value
        asked |= dict.fromkeys(names, told)
    if options.repeat_last_n is not None and extensions:
        asked["repeat_last_n"] = _whole("repeat_last_n", options.repeat_last_n)
    return asked


def answer_format(form: Raw) -> dict[str, Any]:
    """Return the form that an answer must have; raises BadRequest."""
    text = bytes(form).strip()
    if text in _NOTHING:
        return {}
    if text == b'"json"':
        return {"response_format": {"type": "json_object"}}
    if not text.startswith(b"{"):
        raise BadRequest('format must be "json" or a JSON schema.', "", "format")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": form}}}


def thinking(think: bool | str | None, *, extensions: bool) -> dict[str, Any]:
    """Return the wish to think; raises BadRequest for a level that Ollama has not."""
    if think is None or think == "":
        return {}
    asked: dict[str, Any] = {}
    if isinstance(think, str):
        if think not in _LEVELS:
            raise BadRequest(
                f"think must be true, false or a level, not {clean(think, 40)!r}.",
                f"Use one of {', '.join(_LEVELS)}.",
                "think",
            )
        asked["reasoning_effort"] = _LEVELS[think]
    if extensions:
        asked["chat_template_kwargs"] = {"enable_thinking": think is not False}
    return asked


def chances(request: ChatRequest | GenerateRequest) -> dict[str, Any]:
    """Return the wish to hear how likely each token was."""
    if not request.logprobs:
        return {}
    return {"logprobs": True} | ({"top_logprobs": request.top_logprobs} if request.top_logprobs else {})


def streaming(request: ChatRequest | GenerateRequest) -> dict[str, Any]:
    """Return the wish for a stream, which Ollama fulfils unless told not to."""
    if request.stream is False:
        return {}
    return {"stream": True, "stream_options": {"include_usage": True}}


def is_unload(keep_alive: float | str | None) -> bool:
    """Whether it says "not at all", in one of the ways in which Go reads a duration."""
    if isinstance(keep_alive, str):
        return re.fullmatch(r"[+-]?0+(\.0*)?(ns|us|µs|ms|s|m|h)?", keep_alive.strip()) is not None
    return keep_alive is not None and keep_alive == 0


def refuse_unload() -> Untranslatable:
    """Return the error for the wish to unload a model."""
    return untranslatable("keep_alive", "Only Ollama can be asked to unload a model.")


def _whole(name: str, value: float) -> int:
    """Return a whole number, which clients may write as 40.0 (Go's JSON knows no other)."""
    if not math.isfinite(value) or value != int(value):
        raise BadRequest(f"options.{name} must be a whole number.", "", f"options.{name}")
    return int(value)
