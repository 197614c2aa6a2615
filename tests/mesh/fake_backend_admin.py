"""A room with a roster, whose list lies on a shelf in memory."""

from fake_clock import backend
from mesh.fake_backends import Room, models
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import ConfigError
from meshlight.mesh.backend_admin import BackendAdmin
from meshlight.mesh.backend_form import BackendDraft
from meshlight.mesh.registry import Change

HERE = "http://127.0.0.1:7001"
THERE = "http://127.0.0.1:7002"


class Shelf:
    """Keeps the list in memory, and tells what was done in which order."""

    def __init__(self, room: "FakeBackendAdmin") -> None:
        self._room = room
        self.backends: dict[str, Backend] = {}
        self.ignored: list[str] = []
        self.broken: ConfigError | None = None

    async def put_backend(self, backend: Backend) -> None:
        if self.broken is not None:
            raise self.broken
        self.backends[backend.id] = backend
        self._follow()

    async def remove_backend(self, backend_id: str) -> None:
        del self.backends[backend_id]
        self._room.purse.kept.pop(backend_id, None)
        self._follow()

    async def put_secret(self, backend_id: str, secret: str, origin: str) -> None:
        self._room.purse.kept[backend_id] = secret
        self._room.purse.origins[backend_id] = origin

    async def remove_secret(self, backend_id: str) -> None:
        del self._room.purse.kept[backend_id]

    async def ignore(self, url: str) -> None:
        self.ignored.append(url)
        self._follow()

    @property
    def config(self) -> Config:
        ignored = DiscoverySettings(ignored=tuple(self.ignored))
        return Config(backends=tuple(self.backends.values()), discovery=ignored)

    def _follow(self) -> None:
        """As the keeper does: what was written is followed before anybody goes on."""
        self._room.backend_admin.follow(self.config)


class FakeBackendAdmin(Room):
    """A room with a roster."""

    def __init__(self, most: int = 1_000) -> None:
        super().__init__()
        self.store = Shelf(self)
        self.backend_admin = BackendAdmin(self.registry, self.links, self.prober, self.store, most)
        self.changes: list[Change] = []
        self.registry.listen(self.changes.append)

    def find(self, backend_id: str, url: str) -> None:
        """Have an engine found there."""
        self.put(backend(backend_id, url=url, source="found"), models("m"))

    @property
    def ids(self) -> list[str]:
        return list(self.registry.snapshot.nodes)


def draft(url: str = HERE, **fields: object) -> BackendDraft:
    return BackendDraft(**({"kind": "llamacpp", "url": url} | fields))  # type: ignore[arg-type]
