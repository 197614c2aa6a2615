"""Nodes with keys of their own, and certificates that no node would make."""

import datetime
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from meshlight.domain.peer import node_id
from meshlight.mesh.certificate import _key_in
from meshlight.mesh.tls import KeyHolder
