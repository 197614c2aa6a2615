"""Other Meshlights as the fake service plays them: who is found and paired, and the answers at `/mesh/peers`."""

from typing import Any

from msgspec import convert
from msgspec.structs import asdict, replace

from meshlight.domain.peers import PairingView, PeersView, PeerView, SightingView, short_id
from web.live_mesh import NOBODY, LiveMesh

ME = "ab12cd34" + "0" * 56
BO = "3fa941c0" + "1" * 56
CLEO = "77e0b1d2" + "2" * 56
NASTY = "You <b>are</b>\u202e"
"""A name that means no good."""


def sighting(ident: str = CLEO, **changed: Any) -> SightingView:
    """Return somebody who is seen: Cleo, unless told otherwise."""
    usual = SightingView(
        id=ident,
        short=short_id(ident),
        name="cleo-laptop",
        host="cleo.local",
        addresses=("192.168.1.30",),
        port=6375,
        service="meshlight",
        backends=2,
        models=5,
        is_paired=False,
        can_pair=True,
        conflict="",
    )
    return replace(usual, **changed)


def peer(ident: str = BO, **changed: Any) -> PeerView:
    """Return a peer: Bo, used here as the sample mesh's `peer-3`, unless told otherwise."""
    usual = PeerView(
        id=ident,
        short=short_id(ident),
        name="studio-mac",
        url="https://192.168.1.20:6375",
        backend="peer-3",
        share_rings=("machine",),
        share_models=None,
        max_in_flight=4,
        paused=False,
        in_flight=0,
        sees_models=("llama-3.2-3b", "qwen3-32b"),
    )
    return replace(usual, **changed)


def pairing(state: str = "comparing", role: str = "asked", **changed: Any) -> PairingView:
    """Return a pairing with Bo."""
    usual: dict[str, Any] = {"name": "bo-desk", "id": BO, "digits": "204917", "why": "", "left_s": 42.0}
    return convert({"role": role, "state": state, **usual, **changed}, PairingView)


def simulated(**changed: Any) -> PeersView:
    """Return a house with a peer, two who are seen, and this machine visible."""
    seen = (
        sighting(),
        sighting(BO, name="studio-mac", host="studio.local", is_paired=True, can_pair=False),
        sighting(
            "bago:1", short="", name="gpu-box", host="gpu.local", addresses=("fe80::1", "192.168.1.40"),
            port=8090, service="bago", can_pair=False, backends=0,
        ),
    )  # fmt: skip
    usual = replace(
        NOBODY,
        node_id=ME,
        short=short_id(ME),
        visible=True,
        port=6375,
        door=6376,
        addresses=("192.168.1.10",),
        peers=(peer(),),
        seen=seen,
    )
    return replace(usual, **changed)


def peers_answer(mesh: LiveMesh, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
    """Answer as the service does, and tell every page; nobody answers at the host `nobody`."""
    now = mesh.peers
    if parts == ["pairing"]:
        if sent.get("host") == "nobody":
            hint = "Let that machine be seen."
            title = "Nobody takes requests to pair at nobody:6376."
            return 409, {"error": {"message": f"{title} {hint}", "code": "pairing", "hint": hint}}
        mesh.meet(pairing=pairing(role="asking"))
    elif parts[:1] == ["pairing"] and now.pairing:
        over = {"state": "over", "why": "The pairing with bo-desk was refused here."}
        mesh.meet(pairing=replace(now.pairing, **({"state": "confirmed"} if parts[1] == "confirm" else over)))
    elif not parts:
        mesh.meet(**{"door": 6376 if sent.get("visible", now.visible) else 0, **sent})
    elif method == "DELETE":
        mesh.meet(peers=tuple(p for p in now.peers if p.id != parts[0]))
    else:
        for pattern in sent.get("use") or ():
            mesh.use(pattern, next(p.backend or "" for p in now.peers if p.id == parts[0]))
        changed = tuple(convert(asdict(p) | sent, type(p)) if p.id == parts[0] else p for p in now.peers)
        mesh.meet(peers=changed)
    return 200, mesh.peers
