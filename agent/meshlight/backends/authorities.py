"""A backend's own authorities: the PEM file that its certificate is checked against."""

import ssl
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

from meshlight.domain.errors import ConnectFailed

SIZE_MAX = 4 << 20
"""The system's own bundle has a quarter of a megabyte."""


def context_for(ca_file: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a PEM file, and no others.

    The file is read anew when it has changed. Raises ConnectFailed (`tls`) when it can't be used.
    """
    try:
        seen = Path(ca_file).stat()
        if not S_ISREG(seen.st_mode) or seen.st_size > SIZE_MAX:
            raise ConnectFailed("tls", f"The CA file {ca_file} is no file of certificates in PEM form.")
        return _context(ca_file, seen.st_mtime_ns, seen.st_size)
    except ssl.SSLError:
        raise ConnectFailed("tls", f"The CA file {ca_file} holds no certificate in PEM form.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConnectFailed("tls", f"The CA file {ca_file} can't be read: {why}.") from None


@lru_cache(64)
def _context(ca_file: str, changed_ns: int, size: int) -> ssl.SSLContext:  # noqa: ARG001 — a changed file is another key
    context = ssl.create_default_context(cafile=ca_file)
    # What a company signs itself often lacks extensions that the strict reading of RFC 5280 wants (Python 3.13 asks
    # for them), and the file may hold an authority in the middle of the chain, or the server's certificate itself.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context
