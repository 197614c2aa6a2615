"""A mesh with a `BackendAdmin` and its settings in memory."""

from fake_clock import backend
from mesh.fake_backends import FakeBackends, models
from meshlight.domain.config import Config
from meshlight.mesh.backend_admin import BackendAdmin
from meshlight.mesh.backend_form import BackendDraft
from meshlight.mesh.registry import Change

HERE = "http://127.0.0.1:7001"
THERE = "http://127.0.0.1:7002"


class FakeBackendAdmin(FakeBackends):
    """A mesh whose list of backends can be changed; `changes` are those of the registry."""

    def __init__(self, limit: int = 1_000) -> None:
        super().__init__()
        self.backend_admin = BackendAdmin(self.registry, self.connections, self.prober, self.store, limit)
        self.changes: list[Change] = []
        self.registry.listen(self.changes.append)

    def _follow(self, config: Config) -> None:
        self.backend_admin.follow(config)

    def find(self, backend_id: str, url: str) -> None:
        """Have an engine found there."""
        self.put(backend(backend_id, url=url, source="found"), models("m"))

    @property
    def ids(self) -> list[str]:
        return list(self.registry.snapshot.nodes)


def draft(url: str = HERE, **fields: object) -> BackendDraft:
    return BackendDraft(**({"kind": "llamacpp", "url": url} | fields))  # type: ignore[arg-type]
