"""`/mesh/peers`: pairing, sharing, and who is around. Thin: the neighbourhood knows."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, SkipValidation
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from meshlight.domain.backend import Ring
from meshlight.domain.peers import PeersView
from meshlight.gateway.control.openapi import documented_errors

PeerId = Annotated[str, PathParameter(description="The peer's node id.", min_length=1, max_length=64)]


class PairRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to ask: somebody seen (by id), or a host with the port of its pairing door."""

    id: Annotated[str, Meta(max_length=64)] | None = None
    host: Annotated[str, Meta(max_length=253)] | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None


class TermsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a peer may use here; an unset field stays as it is. `share_models: null` is "all of those rings"."""

    name: Annotated[str, Meta(min_length=1, max_length=80)] | UnsetType = UNSET
    share_rings: tuple[Ring, ...] | UnsetType = UNSET
    share_models: tuple[Annotated[str, Meta(max_length=512)], ...] | UnsetType | None = UNSET
    use: tuple[Annotated[str, Meta(max_length=512)], ...] | UnsetType | None = UNSET
    """The only models (globs) that are used from it here; null is all that take over none of this machine's own."""
    max_in_flight: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class VisibilityPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether this machine shows itself, and looks for others; an unset field stays as it is."""

    visible: bool | UnsetType = UNSET
    browse: bool | UnsetType = UNSET


class PeerService(Protocol):
    """Who knows about other Meshlights."""

    def view(self) -> PeersView:
        """Return everything."""

    async def set_visibility(self, *, visible: bool | None, browse: bool | None) -> None:
        """Show this machine or hide it; look for others or don't."""

    async def ask(self, peer_id: str | None, host: str | None, port: int | None) -> None:
        """Ask somebody to pair."""

    async def confirm(self) -> None:
        """Say that the digits are the same on both machines."""

    async def refuse(self) -> None:
        """Say that they are not, or that nobody wants this."""

    async def set_terms(self, peer_id: str, changed: Mapping[str, object]) -> None:
        """Change what a peer may use."""

    async def unpair(self, peer_id: str) -> None:
        """End a pairing, on both sides where the other one can be reached."""


PeerServiceDep = NamedDependency[SkipValidation[PeerService]]


class PeersController(Controller):
    """Other Meshlights."""

    path = "/mesh/peers"
    tags = ["peers"]  # noqa: RUF012 Litestar's own form

    @get("/", summary="Peers, and who is seen", responses=documented_errors())
    async def all(self, neighbours: PeerServiceDep) -> PeersView:
        """Return who is paired, who is seen on the network, and the pairing under way."""
        return neighbours.view()

    @patch("/", summary="Be seen, look around", responses=documented_errors(409, has_body=True))
    async def seen(self, neighbours: PeerServiceDep, data: JSONBody[VisibilityPatch]) -> PeersView:
        """Let others see this machine and ask it to pair, or not; look for others, or not."""
        await neighbours.set_visibility(
            visible=None if isinstance(data.visible, UnsetType) else data.visible,
            browse=None if isinstance(data.browse, UnsetType) else data.browse,
        )
        return neighbours.view()

    @post(
        "/pairing",
        status_code=202,
        summary="Ask to pair",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def ask(self, neighbours: PeerServiceDep, data: JSONBody[PairRequest]) -> PeersView:
        """Ask another Meshlight to pair; answers once both machines show the same digits."""
        await neighbours.ask(data.id, data.host, data.port)
        return neighbours.view()

    @post(
        "/pairing/confirm",
        status_code=200,
        summary="The digits are the same",
        responses=documented_errors(404, 409),
    )
    async def confirm(self, neighbours: PeerServiceDep) -> PeersView:
        """Confirm the pairing under way; it is done when the other side has, too."""
        await neighbours.confirm()
        return neighbours.view()

    @post(
        "/pairing/refuse", status_code=200, summary="The digits differ", responses=documented_errors(404, 409)
    )
    async def refuse(self, neighbours: PeerServiceDep) -> PeersView:
        """End the pairing under way for both."""
        await neighbours.refuse()
        return neighbours.view()

    @patch(
        "/{peer_id:str}",
        summary="Change what a peer may use",
        responses=documented_errors(404, 409, has_body=True),
    )
    async def terms(
        self, neighbours: PeerServiceDep, peer_id: PeerId, data: JSONBody[TermsPatch]
    ) -> PeersView:
        """Change what a peer may use here; it sees the change at once."""
        changed = {key: value for key, value in asdict(data).items() if value is not UNSET}
        await neighbours.set_terms(peer_id, changed)
        return neighbours.view()

    @delete("/{peer_id:str}", status_code=200, summary="Unpair", responses=documented_errors(404, 409))
    async def unpair(self, neighbours: PeerServiceDep, peer_id: PeerId) -> PeersView:
        """End a pairing: neither sees the other's models any more."""
        await neighbours.unpair(peer_id)
        return neighbours.view()
