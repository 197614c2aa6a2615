"""Heads of answers that were read before: an answer that begins like another one needs no parser.

A backend's heads differ in the length of the body, and in their date once a second; those of streams have no length.
What is remembered has been read by the parser, and stands in the usual form: one header a line, and nothing about the
connection. All else is parsed.
"""

from collections.abc import Sequence
from typing import Final

from meshlight.http_client.digits import number_at

HEAD_BYTES: Final = 4_096
"""A longer head is not remembered."""
_HEADS_MAX: Final = 64
_TRIES: Final = 32
"""After so many heads that never came again, only each 64th is remembered: they have ids or times in them."""
_RARELY: Final = 64
_LENGTH: Final = b"ength: "
"""What stands before the length of a body, in whatever case its name begins."""
_LENGTH_LINE: Final = b"\r\ncontent-length: "
_DIGITS_MAX: Final = 6
END: Final = b"\r\n\r\n"
"""The end of a head."""
_ZERO: Final = ord("0")
_STATUS: Final = b"HTTP/1.1 200 "
_ODD: Final = frozenset({b"transfer-encoding", b"connection", b"proxy-connection", b"trailer", b"upgrade"})
"""Headers of which the parser makes more than a line: the framing, or whether the connection stays open."""
_OPEN: Final = (b"connection", b"keep-alive")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class HeadShape:
    """What a head has before and after the length of its body."""

    __slots__ = ("_after", "_before")

    def __init__(self, known_as: bytes) -> None:
        """`known_as` is the head as `without_length` returns it."""
        begins = known_as.find(_LENGTH) + len(_LENGTH)
        self._before = known_as[:begins]
        self._after = known_as[begins:] + END

    def body(self, data: bytes) -> tuple[int, int]:
        """Return where the body begins if `data` begins with such a head, and its length; else two zeros."""
        begins = len(self._before)
        if not data.startswith(self._before):
            return 0, 0
        length, ends = number_at(data, begins, _DIGITS_MAX)
        start = ends + len(self._after)
        if not length or data[ends:start] != self._after or data[begins] == _ZERO:
            return 0, 0
        return start, length


class KnownHead:
    """The head of an answer with status 200, whose body has a known length or comes in chunks.

    `place` is where the length is among its headers; if the body comes in chunks, it is negative, and `shape` None.
    """

    __slots__ = ("_headers", "_place", "made", "shape")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], place: int, shape: HeadShape | None) -> None:
        self._headers = list(headers)
        self._place = place
        self.shape = shape
        self.made: dict[str, object] = {}
        """What readers have made of it, by what they use it for."""

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.shape is None

    def headers(self, length: int) -> list[tuple[bytes, bytes]]:
        """Return its headers, with this length of the body if it has one."""
        headers = self._headers.copy()
        if self._place >= 0:
            headers[self._place] = (b"content-length", b"%d" % length)
        return headers


class KnownHeads:
    """The heads of one backend."""

    __slots__ = ("_heads", "_last", "_left", "_of_chunks", "_seen")

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self._of_chunks: dict[bytes, KnownHead] = {}
        """Those of bodies in chunks."""
        self._last: KnownHead | None = None
        """The one with a length that came last, which mostly comes again."""
        self._left = _TRIES
        self._seen = 0

    def find(self, data: bytes) -> tuple[KnownHead, int, int] | None:
        """Return the known head that `data` begins with, where the body begins, and its length.

        The length is negative for a body in chunks.
        """
        last = self._last
        if last is not None and last.shape is not None:
            start, length = last.shape.body(data)
            if start:
                return last, start, length
        end = data.find(END, 0, HEAD_BYTES)
        if end > 0 and (head := self._of_chunks.get(data[:end])) is not None:
            self._left = _TRIES
            return head, end + len(END), -1
        found = without_length(data, end)
        if found is None:
            return None
        head = self._heads.get(found[0])
        if head is None:
            return None
        self._left = _TRIES
        self._last = head
        return head, end + len(END), found[1]

    def learn(self, data: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Remember the head that `data` begins with, which the parser has read as `headers`, if it is a usual one."""
        self._seen += 1
        if self._left <= 0 and self._seen % _RARELY:
            return
        end = data.find(END, 0, HEAD_BYTES)
        if end < 0 or not data.startswith(_STATUS):
            return
        usual = [(name, value.lower()) for name, value in headers]
        names = [header[0] for header in usual if header not in (_OPEN, _CHUNKED)]
        lengths, chunkings = names.count(b"content-length"), usual.count(_CHUNKED)
        if not _ODD.isdisjoint(names) or lengths + chunkings != 1:
            return
        if chunkings:
            if _lines(data[:end]) == list(headers):
                self._remember(self._of_chunks, data[:end], KnownHead(headers, -1, None))
            return
        found = without_length(data, end)
        if found is not None and is_read_as(data[:end], headers):
            place = [name for name, _ in headers].index(b"content-length")
            self._remember(self._heads, found[0], KnownHead(headers, place, HeadShape(found[0])))

    def _remember(self, heads: dict[bytes, KnownHead], known_as: bytes, head: KnownHead) -> None:
        self._left -= 1
        if len(heads) >= _HEADS_MAX:
            heads.clear()
        heads[known_as] = head


def without_length(data: bytes, end: int) -> tuple[bytes, int] | None:
    """Return a head without the length of its body, and that; None where it stands in no usual way.

    `end` is where the last line of the head ends; negative or over `HEAD_BYTES` for a head that is not whole.
    """
    if not 0 < end < HEAD_BYTES:
        return None
    begins = data.find(_LENGTH, 0, end) + len(_LENGTH)
    if begins < len(_LENGTH):
        return None
    ends = data.find(b"\r", begins, end + 1)
    digits = data[begins:ends]
    if not digits.isdigit() or digits[0] == _ZERO or len(digits) > _DIGITS_MAX:
        return None
    return data[:begins] + data[ends:end], int(digits)


def is_read_as(head: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the lines of a head are what a parser made of it, and the body's length is where it is looked for."""
    if _lines(head) != list(headers):
        return False
    return head[: head.find(_LENGTH) + len(_LENGTH)].lower().endswith(_LENGTH_LINE)


def _lines(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a head in the usual form."""
    read = []
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        read.append((name.lower(), value.strip(b" \t")))
    return read
