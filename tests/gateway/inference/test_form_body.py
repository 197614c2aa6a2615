"""A form names one model, and in a way that no parser can read differently."""

import secrets
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest, UnsupportedMediaType
from meshlight.gateway.inference.form_body import HEAD_MAX, PARTS_MAX, is_form, model_span

TYPE = b"multipart/form-data; boundary=xyz"
SMALL = b'Content-Disposition: form-data; name="model"\r\n\r\nsmall'
FILE = (
    b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n\0\xff'
)


def form(*parts: bytes, mark: bytes = b"xyz") -> bytes:
    return b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"


def part(name: bytes, value: bytes = b"big") -> bytes:
    return b"Content-Disposition: form-data; " + name + b"\r\n\r\n" + value


def model(body: bytes, content_type: bytes = TYPE) -> bytes:
    start, end = model_span(body, content_type)
    return body[start:end]


@pytest.mark.parametrize(
    ("content_type", "mark"),
    [
        (TYPE, b"xyz"),
        (b'multipart/form-data; boundary="xyz"', b"xyz"),
        (b"multipart/form-data;boundary=----WebKitFormBoundary7MA4", b"----WebKitFormBoundary7MA4"),
        (b'Multipart/Form-Data ; BOUNDARY="=_a b:c"; charset=utf-8', b"=_a b:c"),
        (
            b"multipart/form-data; boundary=------------------------d74496d66958873e",
            b"-" * 24 + b"d74496d66958873e",
        ),
    ],
)
def test_the_forms_of_http_libraries_are_read(content_type: bytes, mark: bytes) -> None:
    assert is_form(content_type)
    assert model(form(FILE, SMALL, part(b'name="n"'), mark=mark), content_type) == b"small"
    assert model(b"\r\n" + form(SMALL, mark=mark).removesuffix(b"\r\n"), content_type) == b"small"


@pytest.mark.parametrize(
    "head",
    [
        b'content-disposition: form-data; name="model"\r\ncontent-type: text/plain; charset=utf-8\r\n\r\nsmall',
        b'Content-Transfer-Encoding: binary\r\nContent-Disposition: form-data;name="model";\r\n\r\nsmall',
        b'Content-Disposition: form-data; name="model"\r\nContent-Length: 5\r\n\r\nsmall',
    ],
)
def test_what_else_libraries_write_above_a_field_is_taken(head: bytes) -> None:
    assert model(form(head, FILE)) == b"small"


SECOND = {
    "twice": part(b'name="model"'),
    "another case": part(b'name="Model"'),
    "as an array": part(b'name="model[]"'),
    "a blank behind": part(b'name="model "'),
    "unquoted": part(b"name=model"),
    "extended": part(b"name*=utf-8''model"),
    "in pieces": part(b'name*0="mod"; name*1="el"'),
    "two names": part(b'name="x"; name="model"'),
    "two names, another case": part(b'name="x"; NAME="model"'),
    "escaped": part(b'name="mod\\el"'),
    "a quote in the file's name": part(b'filename="a\\"; name="model"'),
    "as a file": part(b'name="model"; filename="m"'),
    "as a file with an extended name": part(b"name=\"model\"; filename*=utf-8''m"),
    "another disposition": b'Content-Disposition: attachment; name="model"\r\n\r\nbig',
    "two dispositions": b'Content-Disposition: form-data; name="x"\r\n' + part(b'name="model"'),
    "a folded line": b'Content-Disposition: form-data;\r\n name="model"\r\n\r\nbig',
    "a bare line feed": b'X: y\nContent-Disposition: form-data; name="model"\r\n\r\nbig',
    "a blank before the colon": b'Content-Disposition : form-data; name="model"\r\n\r\nbig',
    "base64": b"Content-Transfer-Encoding: base64\r\n" + part(b'name="x"'),
    "a charset within": part(b'name="_charset_"', b"utf-16"),
    "no name": b"Content-Type: text/plain\r\n\r\nbig",
    "its delimiter after a line feed": part(b'name="x"', b"a\n--xyz\n" + part(b'name="model"')),
    "its delimiter in a line": part(b'name="x"', b"a--xyz\r\n" + part(b'name="model"')),
    "a delimiter with blanks": part(b'name="x"', b"a\r\n--xyz \r\n" + part(b'name="model"')),
    "another stream": part(b'name="Stream"', b"true"),
    "store twice": part(b'name="store"') + b"\r\n--xyz\r\n" + part(b'name="store"'),
}


@pytest.mark.parametrize("which", SECOND)
@pytest.mark.parametrize("is_first", [False, True])
def test_a_second_model_in_any_spelling_is_refused(which: str, is_first: bool) -> None:
    parts = (SECOND[which], SMALL) if is_first else (SMALL, SECOND[which])
    with pytest.raises(BadRequest):
        model(form(*parts))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"model":"small"}',
        b"preamble\r\n" + form(SMALL),
        form(SMALL) + form(part(b'name="model"')),
        form(SMALL) + b"epilogue",
        form(SMALL).removesuffix(b"--xyz--\r\n"),
        form(SMALL).replace(b"\r\n", b"\n"),
        form(SMALL, b"no head at all"),
        form(SMALL, b"X: " + b"a" * HEAD_MAX + b"\r\n" + part(b'name="x"')),
        form(SMALL, *[part(b'name="x"')] * PARTS_MAX),
    ],
)
def test_a_form_that_is_not_plain_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="with certainty"):
        model(body)


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=xyz; boundary=abc",
        b"multipart/form-data; boundary*=utf-8''xyz",
        b"multipart/form-data; boundary=xyz; x=y",
        b'multipart/form-data; x="; boundary=abc"; boundary=xyz',
        b"multipart/form-data, multipart/form-data; boundary=xyz",
        b"multipart/form-data; boundary=" + b"x" * 71,
        b"multipart/form-data;" + b" " * 100_000 + b"boundary=xyz",
    ],
)
def test_a_boundary_that_can_be_read_in_two_ways_is_none(content_type: bytes) -> None:
    with pytest.raises((BadRequest, UnsupportedMediaType)):
        _ = is_form(content_type) and model(form(SMALL), content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"--xyz\r\n" * 7_000_000,
        b"--xyz" * 12_000_000,
        form(SMALL, part(b'name="x"', b"-" * 60_000_000)),
        form(SMALL, part(b'name="x"', b"\r\n--xy" * 9_000_000)),
        b"--xyz\r\nContent-Disposition: form-data" + b"; name=" * 8_000_000,
        form(SMALL, b"Content-Disposition: form-data" + b'; name="a"' * 400 + b"x\r\n\r\n"),
        form(b"Content-Disposition: form-data; name=" + b" " * 4_000 + b"x\r\n\r\n"),
    ],
)
def test_no_form_costs_more_than_a_look_at_each_of_its_bytes(body: bytes) -> None:
    observed = 0

    class Counted(bytes):
        """Bytes that add up how far they are searched."""

        def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
            nonlocal observed
            found = super().find(sub, start, len(self) if end is None else end)
            observed += (
                len(self) if found == -1 and end is None else end or 0 if found == -1 else found
            ) - start
            return found

    with suppress(BadRequest):
        model_span(Counted(body), TYPE)
    assert observed <= 3 * len(body) + PARTS_MAX * HEAD_MAX


@given(st.binary(max_size=200), st.text(min_size=1, max_size=20))
def test_whatever_a_file_holds_the_model_is_found(content: bytes, name: str) -> None:
    mark = secrets.token_hex(16).encode()
    file = FILE + content
    value = name.encode("utf-8", "replace")
    body = form(file, part(b'name="model"', value), mark=mark)
    assert model(body, b"multipart/form-data; boundary=" + mark) == value
