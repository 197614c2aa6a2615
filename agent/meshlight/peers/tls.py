"""TLS between nodes: version 1.3, both sides show a certificate, and only pinned ones are taken.

Nothing else vouches for a peer: no authority, no name. A pinned certificate is no authority itself (see
`read_certificate`), so a peer can't make another one.
"""

import logging
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from meshlight.mesh.certificate import Certificate, read_certificate

_ALPN = ["http/1.1"]

log = logging.getLogger(__name__)


class KeyHolder(Protocol):
    """This node's identity, as the store keeps it."""

    @property
    def certificate_pem(self) -> bytes:
        """The certificate that peers have pinned."""

    @property
    def certificate_der(self) -> bytes:
        """The same in DER."""

    @property
    def node_id(self) -> str:
        """The id that follows from the key."""

    def sign(self, data: bytes) -> bytes:
        """Sign with the key (ECDSA with SHA-256, in DER)."""

    def sealed_key(self, password: bytes) -> bytes:
        """Return the key in PEM, encrypted with a password."""


class ServerTls:
    """TLS of a listener whose peers come and go: `context` stays the same while `pin` changes whom it takes.

    OpenSSL asks for the certificates that count in the middle of each handshake, so a connection made after `pin`
    has returned goes by the new ones; those that are open stay open.
    """

    def __init__(self, identity: KeyHolder, pinned: Iterable[bytes]) -> None:
        self._identity = identity
        self.context = server_context(identity, ())
        """For `create_server`; by itself it takes nobody."""
        self.context.sni_callback = self._choose
        self.pin(pinned)

    def pin(self, pinned: Iterable[bytes]) -> None:
        """Take the peers with those certificates (PEM) from now on; one that is no node's is left out."""
        good = {}
        for pem in pinned:
            try:
                good[_read(pem).node_id] = pem
            except ValueError as error:
                log.warning("A peer is not let in: %s Unpair it, and pair it anew.", error)
        self._current = server_context(self._identity, good.values())
        self._ids = frozenset(good)

    def who(self, session: ssl.SSLObject) -> str | None:
        """Return the id of the peer behind a connection; None if it is nobody who is pinned now."""
        found = peer_id(session)
        return found if found in self._ids else None

    def _choose(self, session: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL for each ClientHello, also for one without a server name."""
        del name, context
        session.context = self._current


def server_context(identity: KeyHolder, pinned: Iterable[bytes]) -> ssl.SSLContext:
    """Make a context that takes only clients with one of the certificates (PEM); ValueError for no node's."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _pin(context, pinned)
    _show(context, identity)
    # A resumed session shows no certificate, and would outlive its pairing.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def client_context(identity: KeyHolder, pinned: bytes) -> ssl.SSLContext:
    """Make a context that talks to the one server with this certificate (PEM); ValueError for no node's."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    _pin(context, (pinned,))
    _show(context, identity)
    return context


def door_context(identity: KeyHolder) -> ssl.SSLContext:
    """Make the context of the pairing door: it shows who is here, and takes anybody."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE
    _show(context, identity)
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def asking_context() -> ssl.SSLContext:
    """Make the context for somebody else's pairing door: any certificate will do, to be compared by people."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_id(session: ssl.SSLObject) -> str | None:
    """Return the id of the node whose certificate the other side showed; None if it showed none of a node's.

    TLS has proven that the other side has its key.
    """
    certificate = shown_by(session)
    return None if certificate is None else certificate.node_id


def shown_by(session: ssl.SSLObject) -> Certificate | None:
    """Return the certificate that the other side showed; None if it is none of a node's."""
    try:
        return read_certificate(session.getpeercert(binary_form=True) or b"")
    except ValueError:
        return None


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(_ALPN)
    return context


def _pin(context: ssl.SSLContext, pinned: Iterable[bytes]) -> None:
    """Make the certificates the only ones that are trusted, each for itself alone."""
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    for pem in pinned:
        context.load_verify_locations(cadata=_read(pem).der)


def _read(pem: bytes) -> Certificate:
    """Read a pinned certificate; ValueError if it is no node's."""
    return read_certificate(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))


def _show(context: ssl.SSLContext, identity: KeyHolder) -> None:
    """Show our own certificate.

    Python loads a key from a file only, so it is written, encrypted with a password that only memory knows.
    """
    password = secrets.token_hex(32).encode()
    descriptor, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(identity.sealed_key(password) + identity.certificate_pem)
        context.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink(missing_ok=True)
