"""`/mesh/welcome` and `/mesh/demo`: the first run, and the simulated backends that it may show."""

from typing import Protocol

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import UNSET, Struct, UnsetType

from meshlight.domain.welcome import Step, WelcomeView
from meshlight.gateway.control.openapi import documented_errors


class Welcome(Protocol):
    """The first run: how far the user has come, and the demo."""

    def view(self) -> WelcomeView:
        """Return it as page and terminal show it."""

    def finish(self, step: Step) -> None:
        """Keep that a step was done."""

    def show(self, *, on: bool) -> None:
        """Keep whether it is shown by itself; shown again, it begins at its first step."""

    async def start_demo(self) -> None:
        """Start the demo, if it does not run; raises MeshlightError."""

    async def stop_demo(self) -> None:
        """End the demo, if it runs."""


class WelcomePatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user has done: a step, or finished or skipped all of it."""

    done: Step | UnsetType = UNSET
    is_over: bool | UnsetType = UNSET


WelcomeDep = NamedDependency[SkipValidation[Welcome]]


class WelcomeController(Controller):
    """The first run."""

    path = "/mesh"
    tags = ["first run"]  # noqa: RUF012 Litestar's own pattern

    @get("/welcome", summary="The first run", responses=documented_errors())
    async def read(self, welcome: WelcomeDep) -> WelcomeView:
        """Return how far the user has come, and the clouds whose keys are recognised."""
        return welcome.view()

    @patch("/welcome", summary="Go on in the first run", responses=documented_errors(has_body=True))
    async def change(self, welcome: WelcomeDep, data: JSONBody[WelcomePatch]) -> WelcomeView:
        """Keep that a step was done, or that the first run is over; `is_over: false` begins it again."""
        if not isinstance(data.done, UnsetType):
            welcome.finish(data.done)
        if not isinstance(data.is_over, UnsetType):
            welcome.show(on=not data.is_over)
        return welcome.view()

    @post("/demo", status_code=200, summary="Start the demo", responses=documented_errors())
    async def start(self, welcome: WelcomeDep) -> WelcomeView:
        """List simulated backends, marked `demo`, until the demo or the service ends."""
        await welcome.start_demo()
        return welcome.view()

    @delete("/demo", status_code=200, summary="End the demo", responses=documented_errors())
    async def stop(self, welcome: WelcomeDep) -> WelcomeView:
        """Take the simulated backends off the list and end their process."""
        await welcome.stop_demo()
        return welcome.view()
