"""Makes the list of `/mesh/apps`. Imported with the first such request: most services are never asked."""

import sys
from collections.abc import Mapping
from typing import Final

from meshlight.domain.app_models import ModelPick, chat_models, has_claude, pick_model
from meshlight.domain.app_recipes import Access, recipe_for
from meshlight.domain.app_views import AppList, AppView
from meshlight.domain.client_apps import APPS, ClientApp
from meshlight.domain.shell_lines import Shell
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.request import check_name
from meshlight.gateway.inference.route_errors import no_such_model

_NO_MODEL: Final = "MODEL"
"""Stands in a text where the mesh has no chat model yet."""
_SHELL: Final[Shell] = "powershell" if sys.platform == "win32" else "sh"


def app_list(snapshot: Snapshot, asked: str, url: str, key: str, ages_s: Mapping[str, float]) -> AppList:
    """Return all apps of the service at `url`, with a model each: the one asked for, or the best for the app.

    `ages_s` has, by app, how long ago its last request was. Raises BadRequest for an invalid name, ModelNotFound if
    no backend has the model.
    """
    check_name(asked)
    overall = pick_model(snapshot, asked, context=APPS["codex"].context, needs_tools=True)
    if overall is not None and overall.is_missing:
        raise no_such_model(snapshot, asked)
    return AppList(
        url=f"{url}/v1",
        key=key,
        model="" if overall is None else overall.model,
        why="No model for chat is here yet." if overall is None else overall.why,
        models=chat_models(snapshot),
        apps=tuple(_view(app, snapshot, asked, url, key, ages_s.get(app.id)) for app in APPS.values()),
    )


def _view(
    app: ClientApp, snapshot: Snapshot, asked: str, url: str, key: str, called_s: float | None
) -> AppView:
    pick = pick_model(snapshot, asked, context=app.context, needs_tools=app.needs_tools)
    model = "" if pick is None else pick.model
    access = Access(
        url=url,
        key=key,
        model=model or _NO_MODEL,
        context=None if pick is None else pick.context,
        has_claude=not asked and has_claude(snapshot),
    )
    recipe = recipe_for(app, access, _SHELL)
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
        called_s=called_s,
    )


def _too_small(app: ClientApp, pick: ModelPick | None) -> str:
    if pick is None or pick.context is None or pick.context >= app.context:
        return ""
    return f"{pick.model} has {pick.context:,} tokens of context; {app.name} wants {app.context:,} or more."
