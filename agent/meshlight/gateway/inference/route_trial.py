"""One request at one route."""

from meshlight.domain.route_score import RouteScore
from meshlight.gateway.inference.choice import Choice
from meshlight.gateway.inference.request import InferenceRequest
from meshlight.mesh.backend_connections import BackendConnection
from meshlight.mesh.traffic import Ticket


class RouteTrial:
    """One request at one route, from its reservation until `Relay.close`."""

    __slots__ = ("choice", "inbound", "is_cold", "link", "score", "started_at", "ticket")

    def __init__(
        self,
        inbound: InferenceRequest,
        score: RouteScore,
        choice: Choice | None,
        link: BackendConnection,
        ticket: Ticket,
        started_at: float,
        *,
        is_cold: bool,
    ) -> None:
        self.inbound = inbound
        self.score = score
        self.choice = choice
        self.link = link
        self.ticket = ticket
        self.started_at = started_at
        self.is_cold = is_cold
