"""`/mesh/models`: this machine's own models, named in bodies and queries, since ids have slashes in them."""

from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter, SkipValidation
from msgspec.structs import replace

from meshlight.domain.backend import is_model_id
from meshlight.domain.config import Config, LocalModelSettings
from meshlight.domain.errors import BadRequest, Conflict
from meshlight.domain.local_views import (
    DownloadView,
    EngineLog,
    LocalModelPatch,
    LocalModelView,
    LocalView,
    ModelNamed,
    PullRequest,
    RepositoryView,
)
from meshlight.gateway.control.openapi import documented_errors
from meshlight.gateway.control.settings import SettingsDep
from meshlight.local_models.interfaces import LocalModels

PULLED_NAME_MAX = 256
"""Characters of what is downloaded, such as `owner/repo:QUANT`."""
CONTEXT_MIN, CONTEXT_MAX = 256, 1 << 27
IDLE_MAX_S = 31_536_000.0
CHANGED_MAX = 1_000
"""Models with settings of their own in the configuration; more have to be written into the file."""

_LOAD_IS_OVER = "It is loaded, or after `wait` the load has failed: `state` says which."

LocalModelsDep = NamedDependency[SkipValidation[LocalModels | None]]
ModelName = Annotated[
    str, QueryParameter(description="The model's id, or a further name of it.", min_length=1, max_length=1024)
]
RepositoryName = Annotated[
    str,
    QueryParameter(description="A repository, `owner/repo`.", min_length=3, max_length=PULLED_NAME_MAX),
]
DownloadId = Annotated[
    str, PathParameter(description="The download's id, as in the list.", min_length=1, max_length=64)
]


class LocalModelsController(Controller):
    """This machine's own models, their engines and their downloads."""

    path = "/mesh/models"
    tags = ["local models"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="This machine's models", responses=documented_errors())
    async def all(self, local_models: LocalModelsDep) -> LocalView:
        """Return this machine's models, what runs them, memory, stores and downloads; `enabled` may be false."""
        if local_models is None:
            return LocalView(enabled=False)
        await local_models.look()
        return local_models.view()

    @get("/log", summary="An engine's last lines", responses=documented_errors(404, 409))
    async def log(self, local_models: LocalModelsDep, model: ModelName) -> EngineLog:
        """Return the last lines that a model's engine wrote."""
        local = enabled(local_models)
        return local.log(local.model(model).id)

    @get("/repository", summary="What a repository offers", responses=documented_errors(404, 409, 422))
    async def repository(self, local_models: LocalModelsDep, name: RepositoryName) -> RepositoryView:
        """Return the models of a repository of the hub, with their sizes, and whether each fits here."""
        return await enabled(local_models).downloads.repository(checked_pull(name))

    @post(
        "/load",
        status_code=202,
        summary="Load a model",
        responses=documented_errors(404, 409, has_body=True)
        | {200: ResponseSpec(LocalModelView, generate_examples=False, description=_LOAD_IS_OVER)},
    )
    async def load(
        self, local_models: LocalModelsDep, data: JSONBody[ModelNamed]
    ) -> Response[LocalModelView]:
        """Start a model's engine; with `wait`, answer when it is loaded, or the load has failed."""
        local = enabled(local_models)
        view = await local.load(local.model(data.model).id, wait=data.wait)
        return Response(view, status_code=200 if data.wait or view.state == "ready" else 202)

    @post(
        "/unload",
        status_code=200,
        summary="Unload a model",
        responses=documented_errors(404, 409, has_body=True),
    )
    async def unload(self, local_models: LocalModelsDep, data: JSONBody[ModelNamed]) -> LocalModelView:
        """End a model's engine, and answer when its memory is free; refused while it answers, unless `force`d."""
        local = enabled(local_models)
        return await local.unload(local.model(data.model).id, force=data.force)

    @post(
        "/pull",
        status_code=202,
        summary="Download a model",
        responses=documented_errors(404, 409, 422, has_body=True),
    )
    async def pull(self, local_models: LocalModelsDep, data: JSONBody[PullRequest]) -> DownloadView:
        """Begin to download `starter` or `owner/repo:QUANT`; events tell how far it is."""
        return await enabled(local_models).downloads.pull(checked_pull(data.name))

    @patch("/", summary="Change a model's settings", responses=documented_errors(404, 409, has_body=True))
    async def change(
        self, local_models: LocalModelsDep, settings: SettingsDep, data: JSONBody[LocalModelPatch]
    ) -> LocalModelView:
        """Change how a model is kept; an `idle_s` below 0 and a `context` of 0 mean "as for all models" again."""
        local = enabled(local_models)
        checked_patch(data)
        model = local.model(data.model).id
        await settings.change(lambda old: with_model_settings(old, model, data))
        return local.model(model)

    @delete("/", summary="Delete a model's files", responses=documented_errors(404, 409))
    async def remove(self, local_models: LocalModelsDep, model: ModelName) -> None:
        """Delete a model that lies in our own folder; the files of other programs are never touched."""
        local = enabled(local_models)
        await local.delete(local.model(model).id)

    @post(
        "/downloads/{download_id:str}/pause",
        status_code=200,
        summary="Pause a download",
        responses=documented_errors(404, 409),
    )
    async def pause(self, local_models: LocalModelsDep, download_id: DownloadId) -> DownloadView:
        """Pause a download; what is here of it stays."""
        return await enabled(local_models).downloads.pause(download_id)

    @post(
        "/downloads/{download_id:str}/resume",
        status_code=200,
        summary="Go on with a download",
        responses=documented_errors(404, 409),
    )
    async def resume(self, local_models: LocalModelsDep, download_id: DownloadId) -> DownloadView:
        """Go on with a download where it stopped."""
        return await enabled(local_models).downloads.resume(download_id)

    @delete(
        "/downloads/{download_id:str}", summary="Cancel a download", responses=documented_errors(404, 409)
    )
    async def cancel(self, local_models: LocalModelsDep, download_id: DownloadId) -> None:
        """Cancel a download, and delete what is here of it."""
        await enabled(local_models).downloads.cancel(download_id)


def enabled(local_models: LocalModels | None) -> LocalModels:
    """Return this machine's models; raises Conflict when they are switched off."""
    if local_models is None or not local_models.view().enabled:
        raise Conflict(
            "This machine's own models are switched off.",
            "Set `enabled = true` under [local] in the configuration.",
        )
    return local_models


def checked_pull(name: str) -> str:
    """Return what is to be downloaded; raises BadRequest for what can be no such name."""
    if len(name) > PULLED_NAME_MAX or not is_model_id(name):
        raise BadRequest(
            "That is no name of a model to download.", "Give owner/repo:QUANT, or starter.", "name"
        )
    return name


def checked_patch(patch_: LocalModelPatch) -> None:
    """Raise BadRequest for a value that no model's setting may have."""
    context, idle_s = patch_.context, patch_.idle_s
    if context is not None and context != 0 and not CONTEXT_MIN <= context <= CONTEXT_MAX:
        raise BadRequest(
            f"context must be from {CONTEXT_MIN} to {CONTEXT_MAX} tokens.",
            "0 means as for all models.",
            "context",
        )
    if idle_s is not None and idle_s > IDLE_MAX_S:
        raise BadRequest(f"idle_s must be at most {IDLE_MAX_S:.0f}.", "0 means never.", "idle_s")


def with_model_settings(config: Config, model: str, patch_: LocalModelPatch) -> Config:
    """Return the configuration with the settings of a model changed; raises Conflict when there are too many."""
    models = config.local.models
    old = next((entry for entry in models if entry.id == model), None)
    new = _patched(old or LocalModelSettings(id=model), patch_)
    if old is not None:
        models = tuple(new if entry is old else entry for entry in models)
    elif new != LocalModelSettings(id=model):
        if len(models) >= CHANGED_MAX:
            raise Conflict(
                f"{CHANGED_MAX} models have settings of their own already.",
                "Remove some from the configuration.",
            )
        models = (*models, new)
    return replace(config, local=replace(config.local, models=models))


def _patched(old: LocalModelSettings, patch_: LocalModelPatch) -> LocalModelSettings:
    return replace(
        old,
        keep=old.keep if patch_.keep is None else patch_.keep,
        hidden=old.hidden if patch_.hidden is None else patch_.hidden,
        context=old.context if patch_.context is None else patch_.context or None,
        idle_s=old.idle_s if patch_.idle_s is None else patch_.idle_s if patch_.idle_s >= 0 else None,
    )
