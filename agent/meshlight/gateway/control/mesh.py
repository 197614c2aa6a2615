"""`/mesh` and `/mesh/backends`: reading and changing the mesh. Handlers only pass requests on."""

from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter
from msgspec import Meta, Struct

from meshlight.domain.api_types import (
    BackendList,
    BackendView,
    CheckReport,
    ModelTestReport,
    RefreshProgress,
    RouteExplanation,
    SnapshotView,
)
from meshlight.domain.backend import MODEL_ID_MAX
from meshlight.domain.findings import FindingList
from meshlight.domain.health import Answered, Loading
from meshlight.gateway.control.explain import explain
from meshlight.gateway.control.openapi import documented_errors
from meshlight.gateway.control.test_request import ANY_MODEL, ModelTester, ModelTestRequest
from meshlight.mesh.backend_admin import BackendAdmin
from meshlight.mesh.backend_form import BackendDraft, BackendPatch
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.findings import Findings
from meshlight.mesh.history import History, Past
from meshlight.mesh.model_loading import ModelLoading
from meshlight.mesh.prober import Prober
from meshlight.mesh.refresh import Refresher
from meshlight.mesh.registry import Registry
from meshlight.mesh.route_memory import RouteMemory
from meshlight.mesh.traffic import Traffic

EventPublisherDep = NamedDependency[EventPublisher]
FindingsDep = NamedDependency[Findings]
HistoryDep = NamedDependency[History]
ProberDep = NamedDependency[Prober]
RefresherDep = NamedDependency[Refresher]
RegistryDep = NamedDependency[Registry]
BackendAdminDep = NamedDependency[BackendAdmin]
TrafficDep = NamedDependency[Traffic]
RouteMemoryDep = NamedDependency[RouteMemory]
ModelTesterDep = NamedDependency[ModelTester]
ModelLoadingDep = NamedDependency[ModelLoading]
BackendId = Annotated[
    str, PathParameter(description="The backend's id, as in the snapshot.", min_length=1, max_length=64)
]
ModelName = Annotated[
    str, QueryParameter(description="A model, an alias, or backend/model.", min_length=1, max_length=1024)
]
PromptTokens = Annotated[
    int, QueryParameter(description="Tokens of the prompt and its answer.", ge=0, le=1_000_000_000)
]


class BackendModel(Struct, frozen=True, forbid_unknown_fields=True):
    """The model of a backend that is to be loaded or unloaded."""

    model: Annotated[str, Meta(min_length=1, max_length=MODEL_ID_MAX)]


class MeshController(Controller):
    """State of the mesh: the snapshot, a refresh, the explanation of a route."""

    path = "/mesh"
    tags = ["mesh"]  # noqa: RUF012 Litestar's own pattern

    @get("/snapshot", summary="The whole mesh", responses=documented_errors())
    async def snapshot(self, publisher: EventPublisherDep) -> SnapshotView:
        """Return the state of the whole mesh; events with a higher `seq` add up to the next one."""
        return publisher.view()

    @get("/history", summary="The last hour", responses=documented_errors())
    async def history(self, history: HistoryDep) -> Past:
        """Return each backend's state and latency over the last hour in steps of 5 s, and its last incidents."""
        return history.past()

    @delete("/history", summary="Forget the past", responses=documented_errors())
    async def clear_history(self, history: HistoryDep) -> None:
        """Forget the last hour of every backend."""
        history.clear()

    @get("/findings", summary="What hurts", responses=documented_errors())
    async def findings(self, findings: FindingsDep) -> FindingList:
        """Look now for what hurts: what was seen, why, and one thing to do; those first that make requests suffer."""
        return FindingList(await findings.now())

    @post(
        "/refresh",
        status_code=202,
        summary="Check every backend now",
        responses=documented_errors()
        | {200: ResponseSpec(RefreshProgress, generate_examples=False, description="It is over.")},
    )
    async def refresh(
        self, refresher: RefresherDep, wait: FromQuery[bool] = False
    ) -> Response[RefreshProgress]:
        """Start a check of every enabled backend, or join the running one; with `wait`, answer when it is over."""
        progress = refresher.start()
        if wait:
            return Response(await refresher.wait(), status_code=200)
        return Response(progress, status_code=202)

    @get("/route", summary="Explain a route", responses=documented_errors(404, 503))
    async def route(
        self,
        registry: RegistryDep,
        traffic: TrafficDep,
        route_memory: RouteMemoryDep,
        model: ModelName,
        tokens: PromptTokens = 0,
    ) -> RouteExplanation:
        """Return which backend would answer for a model now, and the ranked list with reasons.

        With `tokens`, for a request that needs so many tokens of context.
        """
        return explain(registry, traffic, model, route_memory, tokens)

    @post(
        "/test",
        status_code=200,
        summary="Send a few real requests",
        responses=documented_errors(404, has_body=True),
    )
    async def test(
        self, model_tester: ModelTesterDep, data: JSONBody[ModelTestRequest] = ANY_MODEL
    ) -> ModelTestReport:
        """Send a few small requests through the gateway; return who answered, and how fast."""
        return await model_tester.run(data)


class BackendsController(Controller):
    """The list of backends."""

    path = "/mesh/backends"
    tags = ["backends"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="Every backend", responses=documented_errors())
    async def all(self, publisher: EventPublisherDep) -> BackendList:
        """Return every backend, configured or discovered."""
        return BackendList(publisher.view().backends)

    @post("/", summary="Add a backend", responses=documented_errors(409, 422, has_body=True))
    async def add(
        self, backend_admin: BackendAdminDep, publisher: EventPublisherDep, data: JSONBody[BackendDraft]
    ) -> BackendView:
        """Connect to a backend and save it if it answers correctly. Its key goes to the keyring."""
        backend = await backend_admin.add(data)
        return publisher.backend(backend.id)

    @get("/{backend_id:str}", summary="One backend", responses=documented_errors(404))
    async def one(self, publisher: EventPublisherDep, backend_id: BackendId) -> BackendView:
        """Return one backend."""
        return publisher.backend(backend_id)

    @patch(
        "/{backend_id:str}",
        summary="Change a backend",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def change(
        self,
        backend_admin: BackendAdminDep,
        publisher: EventPublisherDep,
        backend_id: BackendId,
        data: JSONBody[BackendPatch],
    ) -> BackendView:
        """Change a backend; a new address or key is tried before it is saved."""
        backend = await backend_admin.change(backend_id, data)
        return publisher.backend(backend.id)

    @delete("/{backend_id:str}", summary="Remove a backend", responses=documented_errors(404, 409))
    async def remove(self, backend_admin: BackendAdminDep, backend_id: BackendId) -> None:
        """Remove a backend and its secrets; a discovered engine is not listed again."""
        await backend_admin.remove(backend_id)

    @post(
        "/{backend_id:str}/check",
        status_code=200,
        summary="Check one backend now",
        responses=documented_errors(404),
    )
    async def check(
        self, prober: ProberDep, publisher: EventPublisherDep, backend_id: BackendId
    ) -> CheckReport:
        """Probe one backend now and return the result."""
        publisher.backend(backend_id)
        probe = await prober.check(backend_id)
        fact, view = probe.fact, publisher.backend(backend_id)
        reason = None if isinstance(fact, Answered) else fact.reason
        return CheckReport(
            ok=isinstance(fact, Answered | Loading),
            text=reason.text if reason else "Answers as it should.",
            fix=reason.fix if reason else "",
            health=view.health,
            latency_ms=view.latency_ms,
            models=view.models if probe.models is None else probe.models,
            note=probe.note,
        )

    @post(
        "/{backend_id:str}/enable",
        status_code=200,
        summary="Switch a backend on",
        responses=documented_errors(404, 409),
    )
    async def enable(
        self, backend_admin: BackendAdminDep, publisher: EventPublisherDep, backend_id: BackendId
    ) -> BackendView:
        """Switch a backend on."""
        return publisher.backend((await backend_admin.switch(backend_id, enabled=True)).id)

    @post(
        "/{backend_id:str}/disable",
        status_code=200,
        summary="Switch a backend off",
        responses=documented_errors(404, 409),
    )
    async def disable(
        self, backend_admin: BackendAdminDep, publisher: EventPublisherDep, backend_id: BackendId
    ) -> BackendView:
        """Switch a backend off; it stays listed, and off after a restart."""
        return publisher.backend((await backend_admin.switch(backend_id, enabled=False)).id)

    @post(
        "/{backend_id:str}/models/load",
        status_code=200,
        summary="Load a backend's model",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def load(
        self,
        model_loading: ModelLoadingDep,
        publisher: EventPublisherDep,
        backend_id: BackendId,
        data: JSONBody[BackendModel],
    ) -> BackendView:
        """Have a backend load a model, where it can be asked to (`can_load`); a large one takes minutes."""
        await model_loading.load(backend_id, data.model)
        return publisher.backend(backend_id)

    @post(
        "/{backend_id:str}/models/unload",
        status_code=200,
        summary="Unload a backend's model",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def unload(
        self,
        model_loading: ModelLoadingDep,
        publisher: EventPublisherDep,
        backend_id: BackendId,
        data: JSONBody[BackendModel],
    ) -> BackendView:
        """Have a backend unload a model; refused while requests of the mesh run on it."""
        await model_loading.unload(backend_id, data.model)
        return publisher.backend(backend_id)
