"""`/mesh/keys`: the local key, and further keys for single apps."""

from typing import Annotated, Protocol

from litestar import Controller, Request, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, SkipValidation
from msgspec import Meta, Struct

from meshlight.domain.access_keys import NAME_MAX, AppKey, NewAppKey, RevealedKey
from meshlight.gateway.access.sessions import Sessions, read_cookie
from meshlight.gateway.control.openapi import documented_errors

KeyId = Annotated[str, PathParameter(description="The key's id.", min_length=1, max_length=64)]


class KeyName(Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a new key."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]


class KeysView(Struct, frozen=True, kw_only=True):
    """The keys, without the keys themselves."""

    fixed_by: str
    """The variable that gives the local key, which can't be replaced here then; empty for a key of our own."""
    keys: tuple[AppKey, ...]


class AccessKeys(Protocol):
    """The keys by which programs use this service."""

    @property
    def fixed_by(self) -> str:
        """The variable that gives the local key; empty for a key of our own."""

    def list(self) -> tuple[AppKey, ...]:
        """Return the further keys."""

    def reveal(self) -> str:
        """Return the local key."""

    async def replace(self) -> str:
        """Make a new local key and return it; the old one is refused from now on. Raises Conflict, SecretError."""

    async def add(self, name: str) -> NewAppKey:
        """Make a further key. Raises Conflict, SecretError."""

    async def remove(self, key_id: str) -> None:
        """Revoke a further key; NotFound."""


KeysDep = NamedDependency[SkipValidation[AccessKeys]]
SessionsDep = NamedDependency[SkipValidation[Sessions]]


class KeysController(Controller):
    """The keys of this service."""

    path = "/mesh/keys"
    tags = ["settings"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="The keys for apps", responses=documented_errors())
    async def all(self, access_keys: KeysDep) -> KeysView:
        """Return the further keys; the keys themselves are stored as hashes and are never shown again."""
        return KeysView(fixed_by=access_keys.fixed_by, keys=access_keys.list())

    @post("/local", status_code=200, summary="Show the local key", responses=documented_errors())
    async def reveal(self, access_keys: KeysDep) -> RevealedKey:
        """Return the local key, to copy it into an app. It is no GET, so that nothing keeps the answer."""
        return RevealedKey(key=access_keys.reveal())

    @post(
        "/local/replace", status_code=200, summary="Replace the local key", responses=documented_errors(409)
    )
    async def replace(
        self, access_keys: KeysDep, sessions: SessionsDep, request: Request[object, object, State]
    ) -> RevealedKey:
        """Make a new local key: programs with the old one are refused from now on, and other pages are locked."""
        key = await access_keys.replace()
        sessions.close_others(read_cookie(request.headers.get("cookie", "").encode("latin-1")) or "")
        return RevealedKey(key=key)

    @post("/", summary="Make a key for an app", responses=documented_errors(409, has_body=True))
    async def add(self, access_keys: KeysDep, data: JSONBody[KeyName]) -> NewAppKey:
        """Make a key that opens inference only, and return it: it is shown this once."""
        return await access_keys.add(data.name)

    @delete("/{key_id:str}", summary="Revoke a key", responses=documented_errors(404, 409))
    async def remove(self, access_keys: KeysDep, key_id: KeyId) -> None:
        """Revoke a key: it is refused from now on."""
        await access_keys.remove(key_id)
