"""A manager of local models whose engine is whatever server a test runs."""

from local_models.fake_parts import FakeDownloads
from meshlight.backends.base import ModelRoute, Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import RouteUnavailable
from meshlight.domain.health import Answered
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import EngineLog, LocalModelView, LocalView
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream


class StubManager:
    """Has the model `m`, at `url`; refuses with `refusal` and explains a lost connection with `lost`, if set.

    `urls_again` are where its engine is when it is started again, one after the other.
    """

    def __init__(self, url: str = "http://127.0.0.1:1", *, served_as: str = "m") -> None:
        self.upstream = Upstream(parse_address(url))
        self.served_as = served_as
        self.downloads = FakeDownloads()
        self.urls_again: list[str] = []
        self.refusal: Reason | None = None
        self.lost: Reason | None = None
        self.demands: list[Demand] = []
        self.ended: list[str] = []
        self.did: list[str] = []
        self.running: ModelRoute | None = None
        """The route that is there without waiting."""

    def start(self) -> None:
        self.did.append("start")

    def follow(self, settings: LocalSettings) -> None:
        self.did.append(f"follow {settings.runner}")

    async def close(self) -> None:
        self.did.append("close")
        self.upstream.close()

    def view(self) -> LocalView:
        return LocalView(models=(self.model("m"),))

    async def look(self) -> None:
        self.did.append("look")

    def model(self, name: str) -> LocalModelView:
        return LocalModelView(id=name, state="ready")

    def probe(self) -> Probe:
        return Probe(
            fact=Answered(), models=("m",), details={"m": ModelDetail(loaded=True)}, names={"n": "m"}
        )

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        del model
        self.demands.append(demand)
        if self.refusal is not None:
            raise RouteUnavailable(self.refusal)
        return self.running or ModelRoute(
            self.upstream, ((b"authorization", b"Bearer engine-key"),), self.served_as
        )

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        del model
        if self.running is not None:
            self.demands.append(demand)
        return self.running

    def run(self) -> None:
        """Have the engine run from now on."""
        self.running = ModelRoute(self.upstream, ((b"authorization", b"Bearer engine-key"),), self.served_as)

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        del model
        assert upstream is self.upstream
        if self.urls_again:
            self.upstream.close()
            self.upstream = Upstream(parse_address(self.urls_again.pop(0)))
        return self.lost

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        self.did.append(f"load {model} {wait}")
        return self.model(model)

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        self.did.append(f"unload {model} {force}")
        return self.model(model)

    def log(self, model: str) -> EngineLog:
        return EngineLog(model=model)

    def request_ended(self, model: str) -> None:
        self.ended.append(model)

    async def delete(self, model: str) -> None:
        self.did.append(f"delete {model}")

    async def refresh(self) -> None:
        self.did.append("refresh")
