"""A request that offers an upgrade, read as if it offered none."""

from meshlight.gateway.server.client_connection import without_upgrade


def test_only_the_offer_is_taken_out() -> None:
    headers = [
        (b"host", b"a"),
        (b"connection", b"Upgrade , close, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAE"),
        (b"content-length", b"3"),
    ]

    assert without_upgrade("POST", b"/x?y", headers) == (
        b"POST /x?y HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\n"
    )
    assert b"connection" not in without_upgrade("GET", b"/", [(b"connection", b"upgrade")])
