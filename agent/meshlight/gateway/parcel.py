"""What one attempt sends, and where: the request as this backend takes it, translated if it must be."""

from msgspec import Struct

from meshlight.backends.kind import Face, Way
from meshlight.backends.upstream import Headers, Upstream
from meshlight.gateway.headers import bare, to_backend
from meshlight.gateway.inbound import Inbound
from meshlight.gateway.translation.back import Back
from meshlight.gateway.translation.declined import left_out
from meshlight.gateway.translation.keepsake import with_own_ids
from meshlight.gateway.translation.ollama_immediate import Immediate
from meshlight.gateway.translation.passed_history import for_passing
from meshlight.gateway.translation.responses_native import for_native
from meshlight.gateway.translation.table import translate
from meshlight.mesh.links import Link

READ_FACES = frozenset[Face]({"messages", "messages/count_tokens", "api/chat", "responses"})
"""Faces whose bodies may be read and changed even where they are passed on in their own protocol."""
_JSON = b"application/json"


class Parcel(Struct, frozen=True):
    """A request ready to be sent; `back` brings the answer home where it was translated."""

    upstream: Upstream
    target: str
    headers: Headers
    body: bytes
    back: Back | None = None
    dropped: tuple[str, ...] = ()
    """What the client sent and the backend does not get."""


def pack(
    inbound: Inbound,
    model: str,
    link: Link,
    way: Way | None,
    node_id: str,
    *,
    translated: bool,
    without: frozenset[str] = frozenset(),
) -> Parcel | Immediate:
    """Make one attempt's request for the route's `model`, or its answer where nobody need be asked.

    `without` are the fields that a translation has to leave out, for this backend has declined them.
    Raises Untranslatable when this backend's protocol has no word for something in it.
    """
    kind, face, back = link.kind, inbound.face, None
    dropped: tuple[str, ...] = ()
    upstream = link.upstream
    if way is not None:
        upstream, model = way.upstream, way.model
    if translated:
        made = translate(face, inbound.body, model, kind, inbound.stored)
        if isinstance(made, Immediate):
            return made
        face, body, back, dropped = made.face, made.body, made.back, made.dropped
        if without:
            body, gone = left_out(body, without)
            dropped = (*dropped, *gone)
        path = f"/v1/{face}"
    else:
        path, body = inbound.target_for(model), for_passing(face, inbound.body_for(model), kind.kind)
        if inbound.stored is not None:
            body = with_own_ids(for_native(body, inbound.stored, takes_text=kind.group != "cloud"))
    lane = link.lane(face)
    auth = lane.auth if way is None else way.auth
    if translated or way is not None:
        headers = bare(_JSON if translated else inbound.content_type, auth)
    else:
        headers = to_backend(inbound.headers, auth, inbound.content_type, is_guest=inbound.guest is not None)
    if lane.defaults:
        present = {name for name, _ in headers}
        headers.extend(pair for pair in lane.defaults if pair[0] not in present)
    if kind.group not in {"cluster", "cloud"} and not link.backend.is_metered:
        visited = ",".join((*inbound.visited, node_id)) if inbound.visited else node_id
        headers.append((b"x-meshlight-via", visited.encode("latin-1", "replace")))
    if lane.moves:
        path = kind.path(face, path)
    return Parcel(upstream, upstream.address.target(path), headers, body, back, dropped)
