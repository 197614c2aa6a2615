"""Other Meshlights as the service would show them, for the tests of what people get to see."""

from typing import Any

from meshlight.domain.peers import PairingView, PeersView, PeerView, SightingView, short_id

HERE = "3fa941c0" + "0" * 56
BO = "77aa0011" + "b" * 56
EVA = "1a2b3c4d" + "e" * 56


def peer(name: str = "Bo", id_: str = BO, **changes: Any) -> PeerView:
    fields: dict[str, Any] = {
        "id": id_,
        "short": short_id(id_),
        "name": name,
        "url": "https://192.168.1.20:6375",
        "backend": f"peer-{id_[:8]}",
        "share_rings": ("machine",),
        "share_models": None,
        "max_in_flight": 4,
        "paused": False,
        "in_flight": 0,
        "sees_models": ("qwen3:4b", "gemma3:4b"),
    }
    return PeerView(**(fields | changes))


def sighting(name: str = "Eva", id_: str = EVA, **changes: Any) -> SightingView:
    fields: dict[str, Any] = {
        "id": id_,
        "short": short_id(id_),
        "name": name,
        "host": "eva.local",
        "addresses": ("192.168.1.7",),
        "port": 6375,
        "service": "meshlight",
        "backends": 2,
        "models": 5,
        "is_paired": False,
        "can_pair": True,
        "conflict": "",
    }
    return SightingView(**(fields | changes))


def pairing(state: str = "comparing", role: str = "asking", **changes: Any) -> PairingView:
    fields: dict[str, Any] = {
        "role": role,
        "state": state,
        "name": "Eva",
        "id": EVA,
        "digits": "123456",
        "why": "",
        "left_s": 55.0,
    }
    return PairingView(**(fields | changes))


def around(**changes: Any) -> PeersView:
    fields: dict[str, Any] = {
        "node_id": HERE,
        "short": short_id(HERE),
        "name": "desk",
        "visible": False,
        "browse": True,
        "port": 0,
        "door": 6376 if changes.get("visible") else 0,
        "addresses": ("192.168.1.5", "fd00::5"),
        "problem": "",
        "peers": (),
        "seen": (),
        "pairing": None,
    }
    return PeersView(**(fields | changes))
