"""Which certificates can be pinned: those of nodes, and no others."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshlight.peers.tls import CERTIFICATE_MAX, read_certificate
from peers.node_identities import impostor, node

ANNA = node()


def test_a_nodes_certificate_tells_whose_it_is() -> None:
    read = read_certificate(ANNA.certificate_der)
    assert read.node_id == ANNA.node_id
    assert read.der == ANNA.certificate_der
    assert read.pem == ANNA.certificate_pem


def test_only_its_owner_signs_for_it() -> None:
    read = read_certificate(ANNA.certificate_der)
    assert read.signed(b"text", ANNA.sign(b"text"))
    assert not read.signed(b"text", ANNA.sign(b"another text"))
    assert not read.signed(b"text", node().sign(b"text"))
    assert not read.signed(b"text", b"")
    assert not read.signed(b"text", b"\x00" * 200)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"garbage",
        b"\x30" * 100,
        ANNA.certificate_der[:-1],
        ANNA.certificate_der + b"\x00",
        b"\x30" * (CERTIFICATE_MAX + 1),
        impostor(is_authority=True).certificate_der,
        impostor(curve=ec.SECP384R1()).certificate_der,
        impostor(signed_by=impostor()).certificate_der,
    ],
    ids=[
        "empty",
        "garbage",
        "no DER",
        "cut",
        "longer",
        "huge",
        "authority",
        "another curve",
        "signed by another",
    ],
)
def test_anything_else_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(der)


def test_a_changed_certificate_is_refused() -> None:
    for place in range(0, len(ANNA.certificate_der), 7):
        changed = bytearray(ANNA.certificate_der)
        changed[place] ^= 1
        try:
            read = read_certificate(bytes(changed))
        except ValueError:
            continue
        pytest.fail(f"Byte {place} may be changed: {read.node_id}")
