"""The table of kinds: a new kind is a module of its own and one line here."""

from collections.abc import Mapping

from meshlight.backends.backend_ai.kind import Cluster
from meshlight.backends.base import BackendKind
from meshlight.backends.clouds.anthropic import Anthropic
from meshlight.backends.clouds.gemini import Gemini
from meshlight.backends.clouds.openai import OpenAI
from meshlight.backends.engines.continuum import Continuum
from meshlight.backends.engines.llamacpp import LlamaCpp
from meshlight.backends.engines.lmstudio import LmStudio
from meshlight.backends.engines.mlx import Mlx
from meshlight.backends.engines.ollama import Ollama
from meshlight.backends.engines.openai_compatible import OpenAICompatible
from meshlight.backends.engines.vllm import Vllm
from meshlight.backends.peer import PeerKind
from meshlight.domain.backend import Kind, Ring
from meshlight.domain.errors import BadRequest
from meshlight.http_client.address import parse_address, ring_of

_ALL: tuple[BackendKind, ...] = (
    LlamaCpp(),
    Ollama(),
    Vllm(),
    Mlx(),
    LmStudio(),
    Continuum(),
    Cluster(),
    OpenAI(),
    Anthropic(),
    Gemini(),
    PeerKind(),
    OpenAICompatible(),  # last: what it recognises, a kind above may know better
)

KINDS: Mapping[Kind, BackendKind] = {kind.kind: kind for kind in _ALL}
"""All kinds, in the order in which a stranger is tried."""


def kind_of(kind: str) -> BackendKind:
    """Return the kind of that word.

    Raises BadRequest when there is none.
    """
    for known, found in KINDS.items():
        if known == kind:
            return found
    raise BadRequest(
        f"There is no kind {kind!r} of backend.", f"Use one of {', '.join(KINDS)}.", param="kind"
    )


def ring_for(kind: Kind, url: str) -> Ring:
    """Return the ring that nobody has to say, by kind and place.

    Raises BadAddress for a URL that can't be a backend's.
    """
    known = kind_of(kind)
    ring = ring_of(parse_address(url))
    if known.default_ring is not None:
        return known.default_ring
    # Who runs a router of their own far away reaches the company's by it, not a cloud's.
    return "company" if ring == "cloud" and known.group == "router" else ring
