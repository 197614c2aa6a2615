"""The certificates of the peers that this node is paired with, one public file each."""

import logging
import ssl
from pathlib import Path

from meshlight.domain.peers import is_node_id
from meshlight.storage.files import flush_folder, read_capped, write_atomic

LIMIT = 16_384
"""Bytes of a file; a certificate of Meshlight's has about 900."""

log = logging.getLogger(__name__)


class PeerCertificates:
    """The folder `peers` of the state folder: `<node id>.pem` for each peer. All methods block for a moment."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "peers"

    def put(self, node_id: str, pem: bytes) -> None:
        """Store a certificate; raises ValueError if it is not that of the id, OSError if it can't be written."""
        owner, clean = _read(pem)
        if owner != node_id:
            raise ValueError("The certificate is not that of the peer.")
        write_atomic(self._path(node_id), clean, 0o644)

    def remove(self, node_id: str) -> bool:
        """Delete a certificate and return whether there was one; raises OSError if it can't be removed."""
        try:
            self._path(node_id).unlink()
        except FileNotFoundError:
            return False
        flush_folder(self._folder)
        return True

    def all(self) -> dict[str, bytes]:
        """Return the certificates (PEM) by node id; a file with another content than its name says is left out."""
        found = {}
        for path in sorted(self._folder.glob("*.pem")):
            try:
                owner, pem = _read(read_capped(path, LIMIT))
            except (OSError, ValueError):
                owner, pem = "", b""
            if owner == path.stem:
                found[owner] = pem
            else:
                log.warning("%s is not the certificate of the peer that its name says; pair it again.", path)
        return found

    def _path(self, node_id: str) -> Path:
        if not is_node_id(node_id):
            raise ValueError("That is not a node id.")
        return self._folder / f"{node_id}.pem"


def _read(pem: bytes) -> tuple[str, bytes]:
    """Return the node id of the one certificate in a PEM text, and it alone in PEM; raises ValueError."""
    if pem.count(b"-----BEGIN") != 1:
        raise ValueError("It must be exactly one certificate.")
    from meshlight.storage.node_key import node_id_of  # noqa: PLC0415 - 8 MB that only a node with peers needs

    der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    return node_id_of(der), ssl.DER_cert_to_PEM_cert(der).encode()
