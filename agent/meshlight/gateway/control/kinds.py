"""`GET /mesh/kinds`: the kinds of backend that can be added, and the fields of each."""

from litestar import Controller, get
from msgspec import Struct

from meshlight.backends.base import BackendKind, Field, Group
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind, Ring
from meshlight.gateway.control.openapi import documented_errors


class KindView(Struct, frozen=True, kw_only=True):
    """One kind as people choose it; `fields` are those of the request that adds a backend."""

    kind: Kind
    label: str
    about: str
    group: Group
    ring: Ring | None
    """The ring of every backend of this kind; null if its address decides."""
    port: int | None
    """The usual port on this machine."""
    default_url: str
    """The default address; empty if the user must give one."""
    fields: tuple[Field, ...]


class KindList(Struct, frozen=True):
    """Every kind."""

    kinds: tuple[KindView, ...]


class KindsController(Controller):
    """The kinds of backend."""

    path = "/mesh/kinds"
    tags = ["backends"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="Kinds of backend", responses=documented_errors())
    async def all(self) -> KindList:
        """Return the kinds of backend, with the fields of each; a peer has none: it is paired."""
        return KindList(tuple(map(kind_view, KINDS.values())))


def kind_view(kind: BackendKind) -> KindView:
    """Show one kind."""
    return KindView(
        kind=kind.kind,
        label=kind.label,
        about=kind.about,
        group=kind.group,
        ring=kind.default_ring,
        port=kind.usual_ports[0] if kind.usual_ports else None,
        default_url=kind.default_url,
        fields=kind.fields,
    )
