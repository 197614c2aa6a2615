"""Reads a multipart form (RFC 7578) strictly, in one pass: one that two parsers could read differently is refused.

Names are in plain quotes, each delimiter is on a line of its own, each part has a small head with one disposition.
That is what every HTTP library sends.
"""

import re

from meshlight.domain.errors import BadRequest, UnsupportedMediaType
from meshlight.gateway.inference.json_body import field_repeated, fold

TYPE_MAX = 256
"""Bytes of a content type."""
PARTS_MAX = 256
HEAD_MAX = 4_096
"""Bytes of one part's head."""
_DECIDING = frozenset({"model", "stream", "store"})

_BOUNDARY = re.compile(
    rb"multipart/form-data[ \t]*;[ \t]*boundary="
    rb"(?:\"([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])\"|([0-9A-Za-z'()+_,./:=?-]{1,70}))"
    rb"[ \t]*(?:;[ \t]*charset=\"?utf-8\"?[ \t]*)?",
    re.IGNORECASE,
)
_DISPOSITION = re.compile(
    rb"form-data((?:[ \t]*;[ \t]*(?:name|filename|filename\*)=(?:\"[^\"\\]*+\"|[^\"\\;=\s]++))++)[ \t]*;?[ \t]*",
    re.IGNORECASE,
)
_PARAMETER = re.compile(rb";[ \t]*([a-z*]+)=(\"[^\"]*+\"|[^\";\s]++)", re.IGNORECASE)
_PLAIN = re.compile(rb"text/plain(?:[ \t]*;[ \t]*charset=\"?(?:utf-8|us-ascii)\"?)?", re.IGNORECASE)
_PLAIN_ENCODINGS = frozenset({b"7bit", b"8bit", b"binary"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HINT = "Let the HTTP library make the form."


def is_form(content_type: bytes) -> bool:
    """Whether a body is announced as a form; raises UnsupportedMediaType for another kind of multipart."""
    if content_type[:10].lower() != b"multipart/":
        return False
    if content_type.partition(b";")[0].strip().lower() != b"multipart/form-data":
        raise UnsupportedMediaType("A body of several parts is only accepted as multipart/form-data.", _HINT)
    return True


def model_span(body: bytes, content_type: bytes) -> tuple[int, int]:
    """Return start and end of the value of the form's one field `model`.

    Raises BadRequest when there is none, or when the form is not plain enough to be read in one way only.
    """
    found = _BOUNDARY.fullmatch(content_type) if len(content_type) <= TYPE_MAX else None
    if found is None:
        raise BadRequest(
            "The multipart body has no usable boundary.", "Let the HTTP library set content-type."
        )
    names: set[str] = set()
    span: tuple[int, int] | None = None
    for head, start, end in _parts(body, b"--" + (found[1] or found[2])):
        name, is_file = _field(head)
        meant = fold(name)
        if meant not in _DECIDING:
            if name == "_charset_":
                raise _unclear("it changes its character set within")
            continue
        if meant != name or is_file:
            raise BadRequest(
                f"The form has a part {name[:40]!r} that some servers read as the field {meant!r} and others do not.",
                f"Call it {meant!r}, without a file name.",
                meant,
            )
        if name in names:
            raise field_repeated(name)
        names.add(name)
        if name == "model":
            _check_plain(head)
            span = start, end
    if span is None:
        raise BadRequest("The form names no model.", "Add a field called model.", param="model")
    return span


def _parts(body: bytes, delimiter: bytes) -> list[tuple[dict[bytes, bytes], int, int]]:
    """Return each part's head, and start and end of its content."""
    parts: list[tuple[dict[bytes, bytes], int, int]] = []
    position = 2 if body[:2] == b"\r\n" else 0
    if not body.startswith(delimiter, position):
        raise _unclear("it does not begin with its boundary")
    while True:
        position += len(delimiter)
        after = body[position : position + 4]
        if after[:2] == b"--":
            if after[2:] and body[position + 2 :] != b"\r\n":
                raise _unclear("something follows its end")
            return parts
        if after[:2] != b"\r\n":
            raise _unclear("its boundary is within a part")
        if len(parts) == PARTS_MAX:
            raise _unclear(f"it has over {PARTS_MAX} parts")
        following = body.find(delimiter, position)
        if following == -1:
            raise _unclear("its end is missing")
        head_end = body.find(b"\r\n\r\n", position, min(following, position + HEAD_MAX))
        if head_end == -1:
            raise _unclear("a part has no head, or one that is too long")
        if following < head_end + 6 or body[following - 2 : following] != b"\r\n":
            raise _unclear("its boundary is within a part")
        parts.append((_head(body[position + 2 : head_end]), head_end + 4, following - 2))
        position = following


def _head(raw: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in raw.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not _NAME.fullmatch(name) or name in fields:
            raise _unclear("a part's head is malformed, or repeats a field")
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise _unclear("a part's head is malformed")
        fields[name] = value.strip(b" \t")
    return fields


def _field(head: dict[bytes, bytes]) -> tuple[str, bool]:
    """Return the name of a part, and whether it is a file."""
    found = _DISPOSITION.fullmatch(head.get(b"content-disposition", b""))
    if found is None:
        raise _unclear("a part's content-disposition is not plain")
    given: dict[bytes, bytes] = {}
    for match in _PARAMETER.finditer(found[1]):
        key = match[1].lower()
        if key in given:
            raise _unclear("a part's content-disposition repeats a parameter")
        given[key] = match[2]
    name = given.get(b"name", b"")
    if not name.startswith(b'"'):
        raise _unclear("a part has no name in quotes")
    if head.get(b"content-transfer-encoding", b"binary").lower() not in _PLAIN_ENCODINGS:
        raise _unclear("a part is encoded")
    return name[1:-1].decode("utf-8", "replace"), len(given) > 1


def _check_plain(head: dict[bytes, bytes]) -> None:
    kind = head.get(b"content-type")
    if kind is not None and not _PLAIN.fullmatch(kind):
        raise _unclear("its model is not plain text")


def _unclear(what: str) -> BadRequest:
    return BadRequest(f"The form can't be read with certainty: {what}.", _HINT)
