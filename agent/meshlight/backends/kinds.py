"""The table of kinds; `base.py` says how to add one."""

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
from meshlight.backends.this_machine import ThisMachine
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
    ThisMachine(),
    OpenAICompatible(),  # last: what it detects may be of a kind above
)

KINDS: Mapping[Kind, BackendKind] = {kind.kind: kind for kind in _ALL}
"""All kinds, in the order in which an unknown server is tried."""


def kind_of(kind: str) -> BackendKind:
    """Return the kind of that name; raises BadRequest if there is none."""
    for name, found in KINDS.items():
        if name == kind:
            return found
    raise BadRequest(
        f"There is no kind {kind!r} of backend.", f"Use one of {', '.join(KINDS)}.", param="kind"
    )


def ring_for(kind: Kind, url: str) -> Ring:
    """Return the ring of a backend for which none is set, by its kind and address.

    Raises BadAddress for a URL that can't be a backend's.
    """
    known = kind_of(kind)
    ring = ring_of(parse_address(url))
    if known.default_ring is not None:
        return known.default_ring
    # A router at a distant address is the company's own, not a cloud.
    return "company" if ring == "cloud" and known.group == "router" else ring
