"""This machine's own models as they are now, kept up to date by the events of the service."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from meshlight.domain.events import LocalEvent
from meshlight.domain.local_views import LocalModelView, LocalView


class LocalMirror:
    """The service's view, to which each `local` event is applied; `clock` returns monotonic seconds.

    An event says nothing of models that did not change, so their idle times are counted on here.
    """

    def __init__(self, view: LocalView, clock: Callable[[], float] = time.monotonic) -> None:
        self.view = view
        self._clock = clock
        self._at = clock()

    def apply(self, event: LocalEvent) -> LocalView:
        """Return the view after an event."""
        now = self._clock()
        passed_s, self._at = now - self._at, now
        models = {model.id: _later(model, passed_s) for model in self.view.models}
        models |= {model.id: model for model in event.models}
        for gone in event.removed:
            models.pop(gone, None)
        self.view = replace(
            self.view, models=tuple(models.values()), memory=event.memory, downloads=event.downloads
        )
        return self.view


def _later(model: LocalModelView, passed_s: float) -> LocalModelView:
    if model.idle_s is None and model.expires_in_s is None:
        return model
    return replace(
        model,
        idle_s=None if model.idle_s is None else model.idle_s + passed_s,
        expires_in_s=None if model.expires_in_s is None else max(model.expires_in_s - passed_s, 0.0),
    )
