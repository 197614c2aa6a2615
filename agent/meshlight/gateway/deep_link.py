"""`meshlight://add?…`: a link that fills in the dialog for a new backend. It adds nothing and carries no secret."""

from typing import NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec import Struct

from meshlight.backends.address import parse_address
from meshlight.backends.kind import BackendKind
from meshlight.backends.kinds import kind_of
from meshlight.domain.errors import BadRequest
from meshlight.mesh.draft import ACCESS_KEY_MAX, NAME_MAX, check_field, checked_name

SCHEME = "meshlight"
LONGEST = 500
"""Characters of a link: more is not readable in a QR code, and nobody's address."""
_FIELDS = ("kind", "url", "name", "access_key")
_SECRETS = frozenset(
    {"api_key", "apikey", "key", "secret", "secret_key", "token", "access_token", "password", "authorization"}
)
_SHAPE = "A link looks like 'meshlight://add?kind=ollama&url=http://gpu.lan:11434'."


class DeepLink(Struct, frozen=True, kw_only=True):
    """A link that was found to be good: its kind is known, its address can be a backend's."""

    kind: str
    url: str = ""
    name: str = ""
    access_key: str = ""

    @property
    def fragment(self) -> str:
        """What follows the `#` in the page's address; a fragment is never sent, so it is in no log."""
        said = {name: value for name in _FIELDS if (value := getattr(self, name))}
        return f"add?{urlencode(said, quote_via=quote)}"

    @property
    def text(self) -> str:
        """The link in the one way in which it is written."""
        return f"{SCHEME}://{self.fragment}"


def parse_deep_link(text: str) -> DeepLink:
    """Read a link that may come from anybody; BadRequest says what is wrong with it."""
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
    if parts.scheme != SCHEME or parts.netloc != "add" or parts.path not in {"", "/"} or parts.fragment:
        _refuse("Only links that begin with meshlight://add? are followed.")
    said: dict[str, str] = {}
    for name, value in pairs:
        if name.lower().replace("-", "_") in _SECRETS:
            # What it says is not repeated: it may be a real one.
            _refuse(
                "The link carries a secret, and links are kept in histories and logs.",
                "Leave it out; the dialog asks for it.",
                name[:40],
            )
        if name not in _FIELDS or name in said:
            what = "twice" if name in said else "which no link may"
            _refuse(f"The link says {name[:40]!r} {what}.", f"It may say {', '.join(_FIELDS)}, each once.")
        said[name] = value
    return _checked(said)


def _checked(said: dict[str, str]) -> DeepLink:
    if not said.get("kind"):
        _refuse("The link does not say which kind of backend it is.", param="kind")
    kind: BackendKind = kind_of(said["kind"])
    url = parse_address(said["url"]).url if said.get("url") else kind.default_url
    access_key = said.get("access_key", "").strip()
    check_field("url", url, kind)
    if len(access_key) > ACCESS_KEY_MAX:
        _refuse(f"The access key is longer than {ACCESS_KEY_MAX} characters.", param="access_key")
    if access_key:
        check_field("access_key", access_key, kind)
    name = checked_name(said["name"])[:NAME_MAX] if said.get("name") else ""
    return DeepLink(kind=kind.kind, url=url, name=name, access_key=access_key)


def _refuse(title: str, hint: str = _SHAPE, param: str | None = None) -> NoReturn:
    raise BadRequest(title, hint, param)
