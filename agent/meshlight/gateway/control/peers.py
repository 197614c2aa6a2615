"""`/mesh/peers`: pairing, sharing, and discovered machines. Handlers only pass requests on."""

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
    """The machine to pair with: a discovered one (by id), or a host with its pairing port."""

    id: Annotated[str, Meta(max_length=64)] | None = None
    host: Annotated[str, Meta(max_length=253)] | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None


class TermsPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a peer may use here; an unset field stays unchanged. `share_models: null` means all of those rings."""

    name: Annotated[str, Meta(min_length=1, max_length=80)] | UnsetType = UNSET
    share_rings: tuple[Ring, ...] | UnsetType = UNSET
    share_models: tuple[Annotated[str, Meta(max_length=512)], ...] | UnsetType | None = UNSET
    use: tuple[Annotated[str, Meta(max_length=512)], ...] | UnsetType | None = UNSET
    """The only models (globs) of the peer that are used here; null for all that this machine does not have itself."""
    max_in_flight: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    may_manage: bool | UnsetType = UNSET
    """Whether the peer may load and unload the models that it may use."""


class VisibilityPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether this machine announces itself, and looks for others; an unset field stays unchanged."""

    visible: bool | UnsetType = UNSET
    browse: bool | UnsetType = UNSET


class PeerService(Protocol):
    """Manages other Meshlights."""

    def view(self) -> PeersView:
        """Return the paired and discovered machines, and the pairing under way."""

    async def set_visibility(self, *, visible: bool | None, browse: bool | None) -> None:
        """Announce this machine or not; look for others or not; None leaves it unchanged."""

    async def ask(self, peer_id: str | None, host: str | None, port: int | None) -> None:
        """Start a pairing."""

    async def confirm(self) -> None:
        """Confirm that the digits are the same on both machines."""

    async def refuse(self) -> None:
        """Reject the pairing under way."""

    async def set_terms(self, peer_id: str, changed: Mapping[str, object]) -> None:
        """Change what a peer may use."""

    async def unpair(self, peer_id: str) -> None:
        """End a pairing, on both sides if the other one can be reached."""


PeerServiceDep = NamedDependency[SkipValidation[PeerService]]


class PeersController(Controller):
    """Other Meshlights."""

    path = "/mesh/peers"
    tags = ["peers"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="Paired and discovered machines", responses=documented_errors())
    async def all(self, peers: PeerServiceDep) -> PeersView:
        """Return the paired machines, those discovered on the network, and the pairing under way."""
        return peers.view()

    @patch(
        "/",
        operation_id="MeshPeersSeen",  # generated clients know it by this name
        summary="Change visibility",
        responses=documented_errors(409, has_body=True),
    )
    async def visibility(self, peers: PeerServiceDep, data: JSONBody[VisibilityPatch]) -> PeersView:
        """Announce this machine to others, so that they can pair, or not; look for others, or not."""
        await peers.set_visibility(
            visible=None if isinstance(data.visible, UnsetType) else data.visible,
            browse=None if isinstance(data.browse, UnsetType) else data.browse,
        )
        return peers.view()

    @post(
        "/pairing",
        status_code=202,
        summary="Ask to pair",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def ask(self, peers: PeerServiceDep, data: JSONBody[PairRequest]) -> PeersView:
        """Start a pairing with another Meshlight; answers once both machines show the same digits."""
        await peers.ask(data.id, data.host, data.port)
        return peers.view()

    @post(
        "/pairing/confirm",
        status_code=200,
        summary="The digits are the same",
        responses=documented_errors(404, 409),
    )
    async def confirm(self, peers: PeerServiceDep) -> PeersView:
        """Confirm the pairing under way; it is complete when the other side has confirmed too."""
        await peers.confirm()
        return peers.view()

    @post(
        "/pairing/refuse", status_code=200, summary="The digits differ", responses=documented_errors(404, 409)
    )
    async def refuse(self, peers: PeerServiceDep) -> PeersView:
        """Reject the pairing under way, for both sides."""
        await peers.refuse()
        return peers.view()

    @patch(
        "/{peer_id:str}",
        summary="Change what a peer may use",
        responses=documented_errors(404, 409, has_body=True),
    )
    async def terms(self, peers: PeerServiceDep, peer_id: PeerId, data: JSONBody[TermsPatch]) -> PeersView:
        """Change what a peer may use here; it is notified at once."""
        changed = {key: value for key, value in asdict(data).items() if value is not UNSET}
        await peers.set_terms(peer_id, changed)
        return peers.view()

    @delete("/{peer_id:str}", status_code=200, summary="Unpair", responses=documented_errors(404, 409))
    async def unpair(self, peers: PeerServiceDep, peer_id: PeerId) -> PeersView:
        """End a pairing: neither machine sees the other's models any more."""
        await peers.unpair(peer_id)
        return peers.view()
