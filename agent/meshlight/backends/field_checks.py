"""What each text field of a backend may be: the service checks a request by it, and the command line each answer."""

from pathlib import Path

from meshlight.backends.base import BackendKind
from meshlight.domain.errors import BadRequest
from meshlight.domain.proxy import proxy_fault
from meshlight.http_client.address import parse_address


def check_field(name: str, text: str, kind: BackendKind) -> None:
    """Raise BadRequest (for a URL, BadAddress) if a field of this kind does not allow this text."""
    field = next((field for field in kind.fields if field.name == name), None)
    label = _lower(field.label if field is not None else name)
    if not text:
        if name == "url" or (field is not None and field.required):
            hint = f"Give it as {name!r}." if field is None or not field.hint else field.hint
            raise BadRequest(
                f"{kind.label} needs its {label if field is not None else 'address'}.", hint, name
            )
        return
    if name == "access_key" and field is None:
        raise BadRequest(f"{kind.label} has no access key.", "Leave it out.", name)
    if not text.isprintable():
        raise BadRequest(
            f"The {label} has a line break or another control character in it.", "Copy it once more.", name
        )
    if name == "url":
        parse_address(text)
    if name == "proxy" and (fault := proxy_fault(text)):
        hint = "Leave it empty, or give env, none, or a URL such as http://proxy.example:3128."
        raise BadRequest(f"The proxy {fault}.", hint, name)
    if name == "ca_file" and not Path(text).is_absolute():
        raise BadRequest(
            "The file of the authority is not given by its whole path.",
            "Begin with the folder at the root, as in /etc/ssl/our-ca.pem.",
            name,
        )


def _lower(label: str) -> str:
    """Return a label for the middle of a sentence: "API key" stays, "Access key" does not."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]
