"""Which URLs lead to one server."""

from msgspec.structs import replace

from meshlight.backends.address import Address, parse_address
from meshlight.domain.errors import BadAddress


def place_of(url: str) -> Address | None:
    """Return where a URL leads, `localhost` being 127.0.0.1; None for a URL that can't be a backend's."""
    try:
        address = parse_address(url)
    except BadAddress:
        return None
    is_named = address.host == "localhost" and not address.socket
    return replace(address, host="127.0.0.1") if is_named else address
