"""`GET /mesh/qr`: a deep link as a picture that a phone or another machine's camera reads."""

import io
from typing import Annotated

from litestar import Controller, Response, get
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from meshlight.gateway.deep_link import LONGEST, SCHEME, parse_deep_link
from meshlight.gateway.description import problems

MEDIA_TYPE = "image/svg+xml"
QUIET = 4
"""Light modules around the code, as ISO/IEC 18004 wants them."""
_HEADERS = {
    # A picture of ours holds no script; that one opened by itself may run none is said all the same.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
Text = Annotated[
    str,
    QueryParameter(
        description=f"A {SCHEME}:// link, without secrets.",
        min_length=1,
        max_length=LONGEST,
        examples=[Example(value=f"{SCHEME}://add?kind=ollama&url=http://gpu.lan:11434")],
    ),
]


class QrController(Controller):
    """Pictures of links."""

    path = "/mesh/qr"
    tags = ["page"]  # noqa: RUF012 Litestar's own form

    @get("/", summary="A link as a QR code", media_type=MEDIA_TYPE, responses=problems())
    async def draw(self, text: Text) -> Response[bytes]:
        """Return the QR code (SVG, black on white) of a link that adds a backend; no other text is drawn."""
        return Response(svg(parse_deep_link(text).text), media_type=MEDIA_TYPE, headers=_HEADERS)


def svg(text: str) -> bytes:
    """Draw a text as a QR code that stays readable with 15 % of it covered."""
    import segno  # noqa: PLC0415 -- only who draws pays for it

    drawn = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(drawn, kind="svg", border=QUIET, dark="#000", light="#fff", omitsize=True, xmldecl=False)
    return drawn.getvalue()
