"""`GET /mesh/apps`: how client apps use Meshlight, as texts to paste, and which of them have called."""

from typing import Annotated

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from meshlight.domain.app_views import AppList
from meshlight.gateway.control.app_text_source import AppTexts
from meshlight.gateway.control.openapi import documented_errors

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
