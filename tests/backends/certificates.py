"""Certificates made on the spot, sound or with one flaw each."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Flaw = Literal["good", "self-signed", "unknown authority", "expired", "not yet", "other host"]
_DAY = timedelta(days=1)


def server_context(flaw: Flaw) -> tuple[ssl.SSLContext, bytes]:
    """Return a server's context with a certificate for 127.0.0.1, and the authority's certificate (PEM)."""
    authority_key, authority_name = ec.generate_private_key(ec.SECP256R1()), _name("Test authority")
    authority = _certificate(authority_name, authority_name, authority_key, authority_key, is_authority=True)
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("Test server")
    begins = {"expired": -3 * _DAY, "not yet": 1 * _DAY}.get(flaw, -1 * _DAY)
    ip = "127.0.0.9" if flaw == "other host" else "127.0.0.1"
    if flaw == "self-signed":
        leaf = _certificate(name, name, key, key, ip=ip)
    else:
        leaf = _certificate(name, authority_name, key, authority_key, begins=begins, ip=ip)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(secret + leaf)
        context.load_cert_chain(file)
    return context, authority


def client_trusting(authority: bytes) -> ssl.SSLContext:
    """Return a client's context that trusts this authority alone."""
    return ssl.create_default_context(cadata=authority.decode("ascii"))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    begins: timedelta = -_DAY,
    ip: str | None = None,
    is_authority: bool = False,
) -> bytes:
    start = datetime.now(UTC) + begins
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + 2 * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if is_authority:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    if ip is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(ip))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
