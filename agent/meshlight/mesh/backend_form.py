"""What a request to add or change a backend contains, and the checks that need nothing but the request."""

import re
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from meshlight.backends.base import BackendKind
from meshlight.backends.field_checks import check_field
from meshlight.domain.backend import NAMED_MODELS_MAX, SLOTS_MAX, Kind, Ring, is_model_id
from meshlight.domain.errors import BadRequest
from meshlight.domain.proxy import PROXY_MAX
from meshlight.http_client.address import URL_MAX

NAME_MAX = 80
ACCESS_KEY_MAX = 256
NAMED_IN_DRAFT = ("url", "api_key", "access_key", "ca_file", "proxy")
"""The text fields that a kind may require."""

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Url = Annotated[str, Meta(min_length=1, max_length=URL_MAX)]
ApiKey = Annotated[str, Meta(max_length=16_384)]
AccessKey = Annotated[str, Meta(max_length=ACCESS_KEY_MAX)]
File = Annotated[str, Meta(max_length=4_096)]
ProxySetting = Annotated[str, Meta(max_length=PROXY_MAX)]
Models = (
    Annotated[tuple[str, ...], Meta(max_length=NAMED_MODELS_MAX)] | Annotated[str, Meta(max_length=65_536)]
)
"""A list, or one text with commas or line breaks between the ids, as a form has it."""
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
SlotCount = Annotated[int, Meta(ge=1, le=SLOTS_MAX)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class BackendDraft(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backend to add.

    Without a URL it is at its kind's usual address. `save_anyway` adds it even if it does not answer now; one that is
    added switched off is not probed.
    """

    kind: Kind
    url: Url | None = None
    name: Name | None = None
    api_key: ApiKey | None = None
    access_key: AccessKey = ""
    ca_file: File = ""
    proxy: ProxySetting = ""
    models: Models = ()
    follow_clock: bool = True
    ring: Ring | None = None
    enabled: bool = True
    save_anyway: bool = False
    priority: Priority = 0
    slots: SlotCount | None = None
    first_byte_s: Seconds = 300.0
    idle_s: Seconds = 300.0


class BackendPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a backend; an unset field stays as it is, an empty key removes the key."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    api_key: ApiKey | UnsetType = UNSET
    access_key: AccessKey | UnsetType = UNSET
    ca_file: File | UnsetType = UNSET
    proxy: ProxySetting | UnsetType = UNSET
    models: Models | UnsetType = UNSET
    follow_clock: bool | UnsetType = UNSET
    ring: Ring | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    slots: SlotCount | UnsetType | None = UNSET
    first_byte_s: Seconds | UnsetType = UNSET
    idle_s: Seconds | UnsetType = UNSET
    save_anyway: bool = False


def completed(draft: BackendDraft, kind: BackendKind) -> dict[str, str]:
    """Return the text of each field that a kind may require, with the kind's defaults for those left out.

    Raises BadRequest, which names the field, for one that is missing or not allowed.
    """
    texts = {name: (getattr(draft, name) or "").strip() for name in NAMED_IN_DRAFT}
    texts |= {f.name: f.default for f in kind.fields if f.default and texts.get(f.name) == ""}
    texts["url"] = texts["url"] or kind.default_url
    for name, text in texts.items():
        check_field(name, text, kind)
    return texts


def checked_models(models: Models, kind: BackendKind) -> tuple[str, ...]:
    """Return the ids of models that were named by hand, each once; BadRequest for what can't be one."""
    names = re.split(r"[,\n]", models) if isinstance(models, str) else models
    ids = tuple(dict.fromkeys(name for given in names if (name := given.strip())))
    if ids and not kind.takes_models:
        raise BadRequest(f"The models of a {kind.label} can't be named by hand.", "Leave them out.", "models")
    if len(ids) > NAMED_MODELS_MAX:
        raise BadRequest(f"More than {NAMED_MODELS_MAX} models are named.", "Name fewer.", "models")
    for name in ids:
        if not is_model_id(name):
            raise BadRequest(
                "The name of a model has control characters, or is too long.", "Copy it once more.", "models"
            )
    return ids


def checked_name(text: str) -> str:
    """Return a name without the blanks around it; BadRequest for one that is not printable."""
    name = text.strip()
    if not name or not name.isprintable():
        raise BadRequest(
            "The name has no printable characters, or others too.", "Choose another name.", "name"
        )
    return name
