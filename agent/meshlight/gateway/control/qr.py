"""Deep links, and `GET /mesh/qr`, which draws one as a QR code.

`meshlight://add?…` and `meshlight://pair?…` fill in a dialog of the page. They change nothing by themselves and
contain no secret.
"""

import io
import re
from ipaddress import ip_address
from typing import Annotated, Final, NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from litestar import Controller, Response, get
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import asdict

from meshlight.backends.base import BackendKind
from meshlight.backends.field_checks import check_field
from meshlight.backends.kinds import kind_of
from meshlight.domain.errors import BadRequest
from meshlight.domain.peers import is_node_id
from meshlight.gateway.control.openapi import documented_errors
from meshlight.http_client.address import parse_address
from meshlight.mesh.backend_form import ACCESS_KEY_MAX, NAME_MAX, checked_name

SCHEME = "meshlight"
LONGEST = 500
"""Characters of a link; a longer one would not be readable as a QR code."""
_SECRETS = frozenset(
    {"api_key", "apikey", "key", "secret", "secret_key", "token", "access_token", "password", "authorization"}
)
_SHAPES: Final = {
    "add": "A link looks like 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'.",
    "pair": "A link looks like 'meshlight://pair?host=192.168.1.20&port=6376&id=' and 64 hex digits.",
}
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_PORT = re.compile(r"[1-9][0-9]{0,4}")


class DeepLink(Struct, frozen=True, kw_only=True):
    """A checked link to a new backend: its kind is known, its address is valid."""

    kind: str
    url: str = ""
    name: str = ""
    access_key: str = ""

    @property
    def fragment(self) -> str:
        """The fragment of the page's address; a fragment is never sent, so it is in no log."""
        return _fragment("add", self)

    @property
    def text(self) -> str:
        """The link in its canonical form."""
        return f"{SCHEME}://{self.fragment}"


class PairLink(Struct, frozen=True, kw_only=True):
    """A checked link to another Meshlight: its pairing port, and its node id."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    id: str
    name: str = ""
    """Its name; proves nothing."""

    @property
    def fragment(self) -> str:
        """The fragment of the page's address."""
        return _fragment("pair", self)

    @property
    def text(self) -> str:
        """The link in its canonical form."""
        return f"{SCHEME}://{self.fragment}"


def parse_deep_link(text: str) -> DeepLink | PairLink:
    """Parse an untrusted link; raises BadRequest with the reason."""
    if len(text) > LONGEST:
        _refuse(f"The link is longer than {LONGEST} characters.")
    if not text.isascii() or not text.isprintable() or " " in text:
        _refuse("The link holds a blank, or letters that must be %-escaped.")
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        _refuse("The link can't be read.")
    if parts.scheme != SCHEME or parts.path not in {"", "/"} or parts.fragment or parts.netloc not in _SHAPES:
        _refuse("Only links that begin with meshlight://add? or meshlight://pair? are followed.")
    fields = (DeepLink if parts.netloc == "add" else PairLink).__struct_fields__
    fields_given: dict[str, str] = {}
    for name, value in pairs:
        if name.lower().replace("-", "_") in _SECRETS:
            # Its value is not repeated: it may be a real secret.
            _refuse(
                "The link carries a secret, and links are kept in histories and logs.",
                "Leave it out; the dialog asks for it.",
                name[:40],
            )
        if name not in fields or name in fields_given:
            what = "twice" if name in fields_given else "which no link may"
            _refuse(f"The link says {name[:40]!r} {what}.", f"It may say {', '.join(fields)}, each once.")
        fields_given[name] = value
    return _to_add(fields_given) if parts.netloc == "add" else _to_pair(fields_given)


def parse_host(text: str) -> str | None:
    """Return a host name or IP address in its canonical form; None if it is neither."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(bare)
    except ValueError:
        name = text.lower()
        # A last label of digits is an IPv4 address to some and a name to others: `127.1`, `0x7f.1`.
        is_ambiguous = name.rpartition(".")[2][:1].isdigit()
        return name if _HOST.fullmatch(name) and not is_ambiguous else None
    is_one_machine = not (address.is_multicast or address.is_unspecified or "%" in bare)
    return str(address) if is_one_machine else None


def _to_add(fields_given: dict[str, str]) -> DeepLink:
    if not fields_given.get("kind"):
        _refuse("The link does not say which kind of backend it is.", param="kind")
    kind: BackendKind = kind_of(fields_given["kind"])
    url = parse_address(fields_given["url"]).url if fields_given.get("url") else kind.default_url
    access_key = fields_given.get("access_key", "").strip()
    check_field("url", url, kind)
    if len(access_key) > ACCESS_KEY_MAX:
        _refuse(f"The access key is longer than {ACCESS_KEY_MAX} characters.", param="access_key")
    if access_key:
        check_field("access_key", access_key, kind)
    name = checked_name(fields_given["name"])[:NAME_MAX] if fields_given.get("name") else ""
    return DeepLink(kind=kind.kind, url=url, name=name, access_key=access_key)


def _to_pair(fields_given: dict[str, str]) -> PairLink:
    shape = _SHAPES["pair"]
    host = parse_host(fields_given.get("host", ""))
    if host is None:
        _refuse("The link names no host.", shape, "host")
    port = fields_given.get("port", "")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        _refuse("The link names no port from 1 to 65535.", shape, "port")
    if not is_node_id(fields_given.get("id", "")):
        _refuse("The link names no id of 64 hex digits.", shape, "id")
    name = checked_name(fields_given["name"])[:NAME_MAX] if fields_given.get("name") else ""
    return PairLink(host=host, port=int(port), id=fields_given["id"], name=name)


def _fragment(word: str, link: DeepLink | PairLink) -> str:
    fields_given = {name: value for name, value in asdict(link).items() if value}
    return f"{word}?{urlencode(fields_given, quote_via=quote)}"


def _refuse(title: str, hint: str = _SHAPES["add"], param: str | None = None) -> NoReturn:
    raise BadRequest(title, hint, param)


MEDIA_TYPE = "image/svg+xml"
QUIET = 4
"""Light modules around the code, as ISO/IEC 18004 wants them."""
_HEADERS = {
    # A picture of ours holds no script; that one opened by itself may run none is fields_given all the same.
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
    tags = ["page"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="A link as a QR code", media_type=MEDIA_TYPE, responses=documented_errors())
    async def draw(self, text: Text) -> Response[bytes]:
        """Return the QR code (SVG, black on white) of a link that adds a backend; no other text is drawn."""
        return Response(svg(parse_deep_link(text).text), media_type=MEDIA_TYPE, headers=_HEADERS)


def svg(text: str) -> bytes:
    """Return a text as a QR code in SVG; it stays readable with 15 % of it covered."""
    import segno  # noqa: PLC0415 -- loaded only when a code is drawn

    drawn = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(drawn, kind="svg", border=QUIET, dark="#000", light="#fff", omitsize=True, xmldecl=False)
    return drawn.getvalue()
