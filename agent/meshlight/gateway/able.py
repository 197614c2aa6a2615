"""Leaves out the routes to backends that have no such path at all."""

from collections.abc import Mapping

from msgspec.structs import replace

from meshlight.backends.kind import Face, path_of
from meshlight.backends.kinds import KINDS
from meshlight.domain.routing import Ranking, Verdict
from meshlight.domain.snapshot import Node
from meshlight.gateway.translation.table import is_reachable


def able(ranking: Ranking, face: Face, nodes: Mapping[str, Node]) -> Ranking:
    """Return the ranking with every route excluded, with the reason, whose kind of backend lacks this face."""
    deaf = {
        v.backend for v in ranking.verdicts if not is_reachable(face, KINDS[nodes[v.backend].backend.kind])
    }
    if not deaf:
        return ranking
    verdicts = tuple(_exclude(v, face, nodes) if v.backend in deaf else v for v in ranking.verdicts)
    return replace(ranking, verdicts=verdicts)


def _exclude(verdict: Verdict, face: Face, nodes: Mapping[str, Node]) -> Verdict:
    if verdict.tier == "excluded":
        return verdict
    label = KINDS[nodes[verdict.backend].backend.kind].label
    return replace(verdict, tier="excluded", why=f"{label} has no {path_of(face)}.")
