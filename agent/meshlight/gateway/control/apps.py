"""`GET /mesh/apps`: how client apps use Meshlight, as texts to paste, and which of them have called."""

import sys
from collections.abc import Callable
from typing import Annotated

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from meshlight.domain.app_models import ModelPick, chat_models, has_claude, pick_model
from meshlight.domain.app_recipes import Access, AppList, AppView, recipe_for
from meshlight.domain.client_apps import APPS, ClientApp
from meshlight.domain.shell_lines import Shell
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.control.openapi import documented_errors
from meshlight.gateway.inference.request import check_name
from meshlight.gateway.inference.route_errors import no_such_model
from meshlight.mesh.app_calls import AppCalls

_NO_MODEL = "MODEL"
"""Stands in a text where the mesh has no chat model yet."""


class AppTexts:
    """Makes the texts for the service at `url`; `snapshot` returns the mesh now, `key` the local key."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], calls: AppCalls, url: str, key: Callable[[], str]
    ) -> None:
        self._snapshot = snapshot
        self._calls = calls
        self._url = url
        self._key = key
        self._shell: Shell = "powershell" if sys.platform == "win32" else "sh"

    def view(self, asked: str) -> AppList:
        """Return all apps with a model each: the one asked for, or the best for the app; and notice their calls.

        Raises BadRequest for an invalid name, NoSuchModel if no backend has the model.
        """
        check_name(asked)
        snapshot = self._snapshot()
        overall = pick_model(snapshot, asked, context=APPS["codex"].context, needs_tools=True)
        if asked and overall is not None and overall.is_missing:
            raise no_such_model(snapshot, asked)
        self._calls.watch()
        return AppList(
            url=f"{self._url}/v1",
            key=self._key(),
            model="" if overall is None else overall.model,
            why="No model for chat is here yet." if overall is None else overall.why,
            models=chat_models(snapshot),
            apps=tuple(self._one(app, asked) for app in APPS.values()),
        )

    def _one(self, app: ClientApp, asked: str) -> AppView:
        snapshot = self._snapshot()
        pick = pick_model(snapshot, asked, context=app.context, needs_tools=app.needs_tools)
        model = "" if pick is None else pick.model
        access = Access(
            url=self._url,
            key=self._key(),
            model=model or _NO_MODEL,
            context=None if pick is None else pick.context,
            has_claude=has_claude(snapshot),
        )
        recipe = recipe_for(app, access, self._shell)
        return AppView(
            id=app.id,
            name=app.name,
            model=model,
            context=access.context,
            place=recipe.place,
            text=recipe.text,
            docs=app.docs,
            note=" ".join(text for text in (app.note, _too_small(app, pick)) if text),
            fits=app.fits,
            unconfirmed=app.unconfirmed,
            launch=f"meshlight launch {app.id}" if app.program else "",
            is_recognised=bool(app.user_agents),
            shared_client=app.shared_client,
            called_s=self._calls.ages_s().get(app.id),
        )


def _too_small(app: ClientApp, pick: ModelPick | None) -> str:
    if pick is None or pick.context is None or pick.context >= app.context:
        return ""
    return f"{pick.model} has {pick.context:,} tokens of context; {app.name} wants {app.context:,} or more."


AppTextsDep = NamedDependency[AppTexts]
AskedModel = Annotated[
    str,
    QueryParameter(description="A model, an alias, or backend/model; empty for the best.", max_length=1024),
]


class AppsController(Controller):
    """The client apps."""

    path = "/mesh/apps"
    tags = ["apps"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="How apps use Meshlight", responses=documented_errors(404))
    async def all(self, app_texts: AppTextsDep, model: AskedModel = "") -> Response[AppList]:
        """Return a text for each client app that sets it up, with base URL, key and model.

        For half an hour after that, requests of these apps are noticed: `called_s` here and `apps` in the `traffic`
        events say whose. The answer holds the local key and must not be stored.
        """
        return Response(app_texts.view(model), headers={"cache-control": "no-store"})
