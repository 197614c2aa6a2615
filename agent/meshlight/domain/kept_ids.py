"""Ids that mean something to one backend alone: of responses, conversations, containers, files.

They are found by the names of their fields, without decoding the JSON a second time: what is inside a string has
escaped quotes.
"""

import re
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

SCANNED_MAX = 4 << 20
"""Bytes at either end of a request that are searched, and of an answer."""
IDS_MAX = 64
"""Ids of one request or answer; more are ignored."""
NAMES_MAX = 1_000
"""Names of which an id is sought."""
ID_MAX = 200
_WHAT = {
    b"previous_response_id": "response",
    b"conversation": "conversation",
    b"container": "container",
    b"container_id": "container",
    b"file_id": "file",
    b"file_ids": "file",
}
_NAMES = re.compile(rb'"(?:previous_response_id|conversation|container|container_id|file_ids?)"')
_QUICK = (b'"previous_response_id"', b'"conversation"', b'"container', b'"file_id')
"""What any of these names begins with: most bodies have none, and this is how that is found out at once."""
_SHAPE = rb"(?:resp|conv|cntr|container|file|assistant)[_-]"
"""How the ids of providers begin. Tools have fields of these names too: `{"container": "web"}` is none of them."""
_ID = re.compile(rb'"(%b[^"\\]{1,%d})"' % (_SHAPE, ID_MAX))
# White space is bounded: from each of many names, a long run of it would be searched again.
_ONE = re.compile(
    rb'\s{0,8}:\s{0,8}(?:"(%b[^"\\]{1,%d})"|\{[^\\]{0,600}?"id"\s{0,8}:\s{0,8}"(%b[^"\\]{1,%d})")'
    % (_SHAPE, ID_MAX, _SHAPE, ID_MAX)
)
_MANY = re.compile(rb"\s{0,8}:\s{0,8}\[([^\]]{0,8192})\]")


class KeptId(Struct, frozen=True):
    """One id in a request: what it names, and in which field."""

    what: str
    field: str
    id: bytes


def ids_of_body(body: bytes) -> Iterator[KeptId]:
    """Yield the ids in a body; those in the middle of a huge one are not looked for."""
    for part in (body,) if len(body) <= 2 * SCANNED_MAX else (body[:SCANNED_MAX], body[-SCANNED_MAX:]):
        yield from find_ids(part)


def has_no_id(text: bytes) -> bool:
    """Whether a piece of JSON certainly has no id, found out at once."""
    # Not by `in`, which takes bytes for a number first, and that takes longer than the search.
    for name in _QUICK:  # noqa: SIM110 - a generator would cost more than the searches
        if text.find(name) != -1:
            return False
    return True


def find_ids(text: bytes) -> Iterator[KeptId]:
    """Yield the ids in a piece of JSON."""
    if has_no_id(text):
        return
    count = 0
    for name in islice(_NAMES.finditer(text), NAMES_MAX):
        if text[name.start() - 1 : name.start()] == b"\\":
            continue
        field = name[0][1:-1]
        if field == b"file_ids":
            many = _MANY.match(text, name.end())
            ids = _ID.findall(many[1]) if many else []
        else:
            one = _ONE.match(text, name.end())
            ids = [one[1] or one[2]] if one else []
        for found in ids:
            count += 1
            if count > IDS_MAX:
                return
            yield KeptId(_WHAT[field], field.decode(), found)
