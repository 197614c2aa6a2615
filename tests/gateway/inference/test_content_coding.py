"""A compressed request is decompressed up to the size that a body may have, and a broken one is refused."""

import gzip
import tracemalloc

import pytest
import zstandard

from meshlight.domain.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from meshlight.gateway.inference.content_coding import coding_of, decompress

BODY = b'{"model": "m", "x": "' + bytes(range(32, 127)) * 5_000 + b'"}'
LIMIT = 1 << 20
PACK = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor(level=3).compress}
BOTH = pytest.mark.parametrize("coding", PACK)


def streamed(body: bytes) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()  # says no size in its head
    return packer.compress(body) + packer.flush()


@BOTH
@pytest.mark.parametrize("body", [b"", b"{}", BODY])
async def test_a_packed_body_is_read_as_it_was(coding: str, body: bytes) -> None:
    assert await decompress(PACK[coding](body), coding, LIMIT) == body


async def test_a_stream_of_zstd_that_does_not_say_its_size_is_read_too() -> None:
    assert await decompress(streamed(BODY), "zstd", LIMIT) == BODY


@BOTH
async def test_a_bomb_is_unpacked_no_further_than_the_limit(coding: str) -> None:
    bomb = PACK[coding](bytes(300 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge, match="1 MB"):
            await decompress(bomb, coding, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


@BOTH
@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:-5],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed + b"more",
        lambda packed: packed + packed,
        lambda packed: b"" if packed else packed,
        lambda packed: b"{}" + packed,
    ],
)
async def test_a_body_that_is_not_whole_is_refused(coding: str, spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(BadRequest, match=coding):
        await decompress(spoil(PACK[coding](BODY)), coding, LIMIT)


async def test_a_window_larger_than_senders_may_use_is_refused() -> None:
    large = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=large).compressobj()
    with pytest.raises(BadRequest, match="zstd"):
        await decompress(packer.compress(bytes(9 << 20)) + packer.flush(), "zstd", 64 << 20)


@pytest.mark.parametrize("named", [b"", b"identity", b"Identity, identity", b" , "])
def test_a_body_that_is_not_packed_says_so_or_nothing(named: bytes) -> None:
    assert coding_of([(b"content-encoding", named)]) == ""


@pytest.mark.parametrize(("named", "coding"), [(b"GZIP", "gzip"), (b"x-gzip", "gzip"), (b"zstd", "zstd")])
def test_the_codings_that_are_taken(named: bytes, coding: str) -> None:
    assert coding_of([(b"content-encoding", b"identity"), (b"content-encoding", named)]) == coding


@pytest.mark.parametrize("named", [b"br", b"deflate", b"gzip, gzip", b"zstd,gzip", b"aes128gcm"])
def test_other_codings_are_refused_with_those_that_are_taken(named: bytes) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        coding_of([(b"content-encoding", named)])
    assert "gzip or zstd" in caught.value.hint
    with pytest.raises(UnsupportedMediaType):
        coding_of([(b"content-encoding", b"gzip"), (b"content-encoding", b"zstd")])
