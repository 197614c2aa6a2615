"""Keeps requests away from routes whose context can't hold them, and says so where none can.

Only a body that is large beside the smallest known context of its routes is looked at. The estimate of its tokens may
be wrong, so a route is left out only where the fewest tokens that such a body can have are more than its context
holds; in between, the order of the routes (`domain/choice.py`) puts those first that seem to hold prompt and answer.
Clouds are never left out: they count exactly, and some accounts have longer contexts than the list says. Nothing of a
request is ever changed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from meshlight.backends.kinds import KINDS
from meshlight.backends.large_work import LARGE, in_thread_if_large
from meshlight.domain.backend import Kind
from meshlight.domain.choice import NO_PROMPT, Prompt
from meshlight.domain.choice_words import why_only
from meshlight.domain.errors import ContextExceeded
from meshlight.domain.kept_ids import ids_of_body
from meshlight.domain.operations import Operation
from meshlight.domain.prompt_size import PromptSize, measure
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import Ranking, explained
from meshlight.domain.snapshot import Node
from meshlight.domain.text import sanitize_line
from meshlight.gateway.inference.context_refusals import is_in_own_words
from meshlight.gateway.inference.failures import FailedAttempt, sends_of
from meshlight.gateway.inference.prompt import FIELDS, answer_tokens
from meshlight.gateway.inference.request import InferenceRequest
from meshlight.mesh.prompt_sizes import PromptSizes

BYTES_PER_TOKEN: Final = 2
"""A body of fewer bytes for each token of a context certainly leaves room in it for an answer."""
SMALL: Final = 4_096
"""Bytes of a body that is never looked at: hardly any model has a context that it fills."""
LEARNED_FROM, LEARNED_UP_TO = 4_096, LARGE
"""Bytes of the bodies from which a model's way of counting is learned: the frame of smaller ones outweighs them, and
larger ones take time."""
CUT_BELOW, CUT_TO = 0.75, 0.9
"""An answer that counts less than this share of the estimate, and at least this share of the context, shows that the
prompt was cut to it."""
ANY_SIZE: Final = 1 << 62
_CERTAIN: Final = 0.8
"""An estimate times this is not too much for a model whose way of counting is known."""
_ROUND, _NEARLY = 1_024, 8
_OWN_CONTEXT: Final = re.compile(rb'(?<!\\)"num_ctx"\s*:')
_SEVERAL_PROMPTS: Final = re.compile(rb'(?<!\\)"prompt"\s*:\s*\[')
_PARAMS: Final[Mapping[Operation, str]] = {
    "chat/completions": "messages",
    "completions": "prompt",
    "responses": "input",
    "messages": "messages",
    "api/chat": "messages",
    "api/generate": "prompt",
    "gemini/generateContent": "contents",
    "gemini/streamGenerateContent": "contents",
}
"""The operations with one prompt, and the field that has it."""
_COUNTED: Final[frozenset[Operation]] = frozenset(
    {"chat/completions", "completions", "responses", "gemini/generateContent", "gemini/streamGenerateContent"}
)
"""Operations whose `usage` counts the whole prompt, also what was in a cache."""
_FIXES: Final[Mapping[Kind, str]] = {
    "ollama": "raise OLLAMA_CONTEXT_LENGTH there (or `num_ctx` in the request's options)",
    "llamacpp": "start llama-server there with a larger `-c`",
    "lmstudio": "load it there with a longer context",
    "vllm": "start vLLM there with a larger `--max-model-len`",
}
CUT: Final = "Prompts cut"
"""The label of the line about a backend that cuts prompts."""


async def measured(inbound: InferenceRequest) -> InferenceRequest:
    """Return a request with a large body with its size and what it names; in a thread, since that takes time."""
    if inbound.operation not in _PARAMS:
        return inbound
    return await in_thread_if_large(len(inbound.body), _measured, inbound)


def _measured(inbound: InferenceRequest) -> InferenceRequest:
    return inbound.changed(size=measure(inbound.body), kept_ids=tuple(ids_of_body(inbound.body)))


class ContextGuard:
    """Compares prompts with the contexts of their routes."""

    def __init__(self, sizes: PromptSizes) -> None:
        self._sizes = sizes

    def room(self, node: Node, model: str) -> int:
        """Return the bytes of body up to which a route needs no look at its context."""
        context = context_of(node, model)
        return ANY_SIZE if context is None else max(BYTES_PER_TOKEN * context, SMALL)

    def check(
        self,
        ranking: Ranking,
        nodes: Mapping[str, Node],
        inbound: InferenceRequest,
        failures: Sequence[FailedAttempt] = (),
    ) -> Ranking:
        """Return the ranking without the routes that can't hold a request; the same object if none is left out.

        A refusal of that kind among `failures` says that smaller contexts, and the same, are asked in vain.
        """
        if len(inbound.body) <= SMALL and not failures:
            return ranking
        refused = max((_refused(failure, ranking, nodes) for failure in failures), default=0)
        contexts = [context_of(nodes[score.backend], score.model) for score in ranking.scores]
        smallest = min((c for c in contexts if c is not None), default=None)
        if smallest is None or (len(inbound.body) <= BYTES_PER_TOKEN * smallest and not refused):
            return ranking
        if not _has_one_prompt(inbound):
            return ranking
        size = inbound.size or measure(inbound.body)
        tokens = self._tokens(ranking.model, size)
        fewest = self._fewest(ranking.model, size)
        kept, left_out = [], []
        for score, context in zip(ranking.scores, contexts, strict=True):
            if (
                context is None
                or score.tier == "excluded"
                or (context > refused and (fewest <= context or _counts_itself(nodes[score.backend])))
            ):
                kept.append(score)
            else:
                left_out.append(score.changed(tier="excluded", why=_why(context, tokens, refused)))
        return replace(ranking, scores=(*kept, *left_out)) if left_out else ranking

    def prompt(self, inbound: InferenceRequest, model: str) -> Prompt:
        """Return the size of a request, for the order of its routes."""
        if not _has_one_prompt(inbound):
            return NO_PROMPT
        size = inbound.size or measure(inbound.body)
        return Prompt(tokens=self._tokens(model, size), answer_tokens=answer_tokens(inbound.body))

    def error(
        self,
        ranking: Ranking,
        nodes: Mapping[str, Node],
        inbound: InferenceRequest,
    ) -> ContextExceeded:
        """Return the error for a request that none of the usable routes of `ranking` holds."""
        usable = [score for score in ranking.scores if score.tier != "excluded"]
        best = max(usable, key=lambda score: context_of(nodes[score.backend], score.model) or 0)
        limit = context_of(nodes[best.backend], best.model) or 0
        size = inbound.size or measure(inbound.body)
        tokens = self._tokens(ranking.model, size)
        if inbound.guest is not None:
            return ContextExceeded(limit, tokens, param=_PARAMS.get(inbound.operation))
        node = nodes[best.backend]
        most = ", the most of all that serve it" if len(usable) > 1 else ""
        hint = f"{_label(best, node)} holds {limit:,} tokens{most}; the prompt has about {tokens:,}. {_fix(node)}"
        return ContextExceeded(limit, tokens, hint, param=_PARAMS.get(inbound.operation))

    def refusal_error(
        self,
        failures: Sequence[FailedAttempt],
        score: RouteScore,
        nodes: Mapping[str, Node],
        inbound: InferenceRequest,
    ) -> ContextExceeded | None:
        """Return the error for a request whose last route refused its length.

        None where the last failure was another one, or the refusal is in words that the client knows already.
        """
        last = failures[-1]
        if last.too_long is None:
            return None
        is_guest = inbound.guest is not None
        if not is_guest and last.refusal is not None and is_in_own_words(last.refusal.body, inbound.path):
            return None
        node = nodes.get(score.backend)
        known = context_of(node, score.model) if node is not None else None
        limit = last.too_long.limit or known or 0
        tokens = last.too_long.tokens or self._tokens(score.model, inbound.size or measure(inbound.body))
        answer = answer_tokens(inbound.body)
        if limit and tokens + answer <= limit:
            tokens, answer = limit + 1, 0  # it was not estimated well, and the engine knows better
        hint = ""
        if node is not None and not is_guest:
            said = f" says: {last.too_long.text.rstrip('.')}." if last.too_long.text else " refused it."
            hint = f"{_label(score, node)}{said} {_fix(node)}"
        return ContextExceeded(
            limit,
            tokens,
            hint,
            answer_tokens=answer,
            param=_PARAMS.get(inbound.operation),
            attempts=sends_of(failures),
        )

    def learn(self, inbound: InferenceRequest, model: str, node: Node, counted: int) -> str:
        """Take in how many tokens a backend counted; return a line for people if it has cut the prompt."""
        if not counted or not LEARNED_FROM <= len(inbound.body) <= LEARNED_UP_TO:
            return ""
        if inbound.operation not in _PARAMS or not _has_one_prompt(inbound):
            return ""
        size = inbound.size or measure(inbound.body)
        if size.pictures:
            return ""
        if node.backend.kind == "ollama":  # it does not always count what was in its cache
            return self._cut(model, node, size, counted)
        if inbound.operation in _COUNTED:
            self._sizes.learn(model, size.tokens, counted)
        return ""

    def _cut(self, model: str, node: Node, size: PromptSize, counted: int) -> str:
        """Return a line for people if a count shows that Ollama cut the prompt to its context."""
        tokens = self._tokens(model, size)
        if counted >= CUT_BELOW * tokens:
            return ""
        detail, context = node.details.get(model), context_of(node, model)
        if detail is not None and detail.loaded and context is not None:
            is_cut = CUT_TO * context <= counted <= context
        else:  # loaded for this request: its context is not known yet, but is a round number
            is_cut = counted >= _ROUND and -counted % _ROUND <= _NEARLY
        if not is_cut:
            return ""
        return (
            f"{sanitize_line(model)}: a prompt of about {tokens:,} tokens was cut to {counted:,} without a word. "
            "Raise OLLAMA_CONTEXT_LENGTH there, or `num_ctx` in the request's options."
        )

    def _tokens(self, model: str, size: PromptSize) -> int:
        return self._sizes.tokens(model, size.tokens)

    def _fewest(self, model: str, size: PromptSize) -> int:
        """Return the fewest tokens possible; less still where the model is known to count little."""
        return min(size.fewest, round(self._tokens(model, size) * _CERTAIN))


def without_small(ranking: Ranking, nodes: Mapping[str, Node], tokens: int) -> Ranking:
    """Return the ranking for a request of exactly so many tokens, without the routes whose context can't hold them.

    For explaining a choice: a real request is left out only where its size is certain. The same object if none is.
    """
    kept, left_out = [], []
    for score in ranking.scores:
        node = nodes[score.backend]
        context = context_of(node, score.model)
        if score.tier == "excluded" or context is None or tokens <= context or _counts_itself(node):
            kept.append(score)
        else:
            why = f"It holds {context:,} tokens, the request needs {tokens:,}."
            left_out.append(score.changed(tier="excluded", why=why))
    if not left_out:
        return ranking
    checked = explained(replace(ranking, scores=(*kept, *left_out)), nodes, Prompt(tokens=tokens))
    first, *others = checked.scores
    if first.tier == "ready" and not any(score.tier == "ready" for score in others):
        why = why_only(first.facts)
        checked = replace(
            checked, scores=(first.changed(why=f"{why[:1].upper()}{why[1:]}."), *checked.scores[1:])
        )
    return checked


def fix_for_length(ranking: Ranking, nodes: Mapping[str, Node]) -> str:
    """Return what helps where none of the usable routes of a ranking (there is one at least) holds a request."""
    usable = [score for score in ranking.scores if score.tier != "excluded"]
    best = max(usable, key=lambda score: context_of(nodes[score.backend], score.model) or 0)
    node = nodes[best.backend]
    return f"{_label(best, node)} holds the most, {context_of(node, best.model) or 0:,} tokens. {_fix(node)}"


def context_of(node: Node, model: str) -> int | None:
    """Return the tokens of a model's context at a backend, as far as it tells."""
    detail = node.details.get(model)
    if detail is None and model in node.names:
        detail = node.details.get(node.names[model])
    return None if detail is None else detail.context


def _has_one_prompt(inbound: InferenceRequest) -> bool:
    """Whether all that a body holds goes into one context, whose size the request leaves to the engine."""
    if inbound.operation not in _PARAMS:
        return False
    body = inbound.body
    ends = body if len(body) <= 2 * FIELDS else body[:FIELDS] + body[-FIELDS:]
    if inbound.operation == "completions" and _SEVERAL_PROMPTS.search(ends):
        return False
    return not (inbound.operation.startswith("api/") and _OWN_CONTEXT.search(ends))


def _counts_itself(node: Node) -> bool:
    """Whether a backend refuses what is too long by an exact count, and may hold more than it lists for some."""
    return KINDS[node.backend.kind].group == "cloud"


def _refused(failure: FailedAttempt, ranking: Ranking, nodes: Mapping[str, Node]) -> int:
    """Return the context that a refusal showed to be too small; 0 for another failure."""
    if failure.too_long is None:
        return 0
    node = nodes.get(failure.backend.id)
    known = context_of(node, ranking.model) if node is not None else None
    return failure.too_long.limit or known or 0


def _why(context: int, tokens: int, refused: int) -> str:
    if context <= refused:
        return f"It holds {context:,} tokens, and {refused:,} were too few elsewhere."
    return f"It holds {context:,} tokens, the prompt has about {tokens:,}."


def _label(score: RouteScore, node: Node) -> str:
    return f"{sanitize_line(score.model)} at {sanitize_line(node.backend.name)}"


def _fix(node: Node) -> str:
    fix = _FIXES.get(node.backend.kind)
    return f"Shorten the prompt, or {fix or 'use a model with a longer context'}."
