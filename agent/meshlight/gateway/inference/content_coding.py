"""Decompresses a request body (RFC 9110, section 8.4), never to more than a body may have."""

import asyncio
import zlib
from collections.abc import Iterator

from meshlight.domain.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from meshlight.http_client.client import Headers

_PIECE = 262_144
"""Bytes of a body that are decompressed in one turn of the event loop."""
_ZSTD_STEP = 256
"""Bytes of zstd that are decompressed at a time: each four of them may stand for 128 kB."""
_ZSTD_WINDOW = 1 << 23
"""The largest window that a receiver has to support (RFC 9659)."""
_HINT = "Send it uncompressed, or in gzip or zstd."


def coding_of(headers: Headers) -> str:
    """Return "gzip", "zstd" or "" for none; raises UnsupportedMediaType for any other coding."""
    named = b",".join(value for name, value in headers if name == b"content-encoding")
    codings = [
        coding for word in named.split(b",") if (coding := word.strip().lower()) not in {b"", b"identity"}
    ]
    if not codings:
        return ""
    if len(codings) == 1 and codings[0] in {b"gzip", b"x-gzip"}:
        return "gzip"
    if codings == [b"zstd"]:
        return "zstd"
    raise UnsupportedMediaType(
        f"A request body in content-encoding {named[:40].decode('latin-1')!r} can't be read here.", _HINT
    )


async def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Return the decompressed body; the event loop runs other tasks meanwhile.

    Raises BadRequest when it is broken, PayloadTooLarge over `limit` bytes.
    """
    pieces: list[bytes] = []
    size = done = 0
    for piece in _gunzip(body) if coding == "gzip" else _unzstd(body):
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
        if size - done >= _PIECE:
            done = size
            await asyncio.sleep(0)
    return b"".join(pieces)


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body over the limit."""
    return PayloadTooLarge(f"The request body is over {limit >> 20} MB.", "Send less, or split the request.")


def _gunzip(body: bytes) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits=31)
    rest = body
    try:
        while not decompressor.eof:
            piece = decompressor.decompress(rest, _PIECE)
            rest = decompressor.unconsumed_tail
            if not piece and not rest and not decompressor.eof:
                raise _broken("gzip")
            yield piece
    except zlib.error:
        raise _broken("gzip") from None
    if decompressor.unused_data:
        raise _broken("gzip")


def _unzstd(body: bytes) -> Iterator[bytes]:
    try:
        import zstandard  # noqa: PLC0415 - few clients compress requests, and it costs every start 5 ms
    except ImportError:
        raise UnsupportedMediaType(
            "A request body in zstd can't be read here: zstandard is not installed."
        ) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    try:
        for start in range(0, len(body), _ZSTD_STEP):
            if decompressor.eof:
                raise _broken("zstd")
            yield decompressor.decompress(body[start : start + _ZSTD_STEP])
    except zstandard.ZstdError:
        raise _broken("zstd") from None
    if not decompressor.eof or decompressor.unused_data:
        raise _broken("zstd")


def _broken(coding: str) -> BadRequest:
    return BadRequest(
        f"The request body is not complete in {coding}.", "Check what compresses it, or send it uncompressed."
    )
