"""What is known of this machine's models after a look at the disks, those that have gone since included."""

import os
from collections.abc import Callable, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from meshlight.domain.local_models import LocalModel, RejectedFile
from meshlight.domain.local_views import StoreView
from meshlight.domain.text import count
from meshlight.local_models.catalog.header_cache import HeaderCache
from meshlight.local_models.catalog.ids import Names
from meshlight.local_models.catalog.scanner import scan
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.catalog.walker import Survey, survey

_NOT_THERE = "Not there: is its drive connected?"


class Known(Struct, frozen=True, kw_only=True):
    """The models, and where they were looked for; replaced as a whole."""

    models: dict[str, LocalModel] = {}
    rejected: tuple[RejectedFile, ...] = ()
    stores: tuple[StoreView, ...] = ()
    names: Names = field(default_factory=lambda: Names({}))
    signature: int = 0
    """Of names, sizes and times in the stores: with the same one, nothing has to be put together again."""


def look(
    places: Sequence[Place], cache: HeaderCache, before: Known, is_stopped: Callable[[], bool] = lambda: False
) -> Known:
    """Look at the disks; returns `before` itself if nothing has changed. Raises Stopped."""
    surveys = survey(places, is_stopped)
    signature = hash(surveys)
    if signature == before.signature:
        return before
    found = scan(surveys, cache.of_file, cache.of_folder, is_stopped)
    cache.save()
    paths: dict[str, int] = {}
    for place, surveyed in enumerate(surveys):
        for folder in surveyed.folders:
            paths[folder.path] = place
            paths.update((file.path, place) for file in folder.files)
    missing = _missing(before, found.models, paths, places)
    taken = {name for model in found.models.values() for name in (model.id, *model.names)}
    models = found.models | {
        model.id: replace(
            model, is_missing=True, names=tuple(name for name in model.names if name not in taken)
        )
        for model in missing
    }
    stores = _stores(surveys, found.models, paths, missing)
    is_same = models == before.models
    return Known(
        models=before.models if is_same else models,
        rejected=found.rejected,
        stores=stores,
        names=before.names if is_same else Names(models),
        signature=signature,
    )


def _missing(
    before: Known, now: dict[str, LocalModel], paths: dict[str, int], places: Sequence[Place]
) -> list[LocalModel]:
    """Return the models that were found before and whose files have gone, from where it is still looked."""
    bases = tuple(folder + os.sep for place in places for folder in place.folders)
    return [
        model
        for model in before.models.values()
        if model.id not in now and model.path not in paths and model.path.startswith(bases)
    ]


def _stores(
    surveys: Sequence[Survey],
    models: dict[str, LocalModel],
    paths: dict[str, int],
    missing: Sequence[LocalModel],
) -> tuple[StoreView, ...]:
    """Return the stores that are there, or should be."""
    counts = [0] * len(surveys)
    for model in models.values():
        counts[paths[model.path]] += 1
    views = []
    for surveyed, number in zip(surveys, counts, strict=True):
        place = surveyed.place
        bases = tuple(folder + os.sep for folder in place.folders)
        gone = sum(model.store == place.store and model.path.startswith(bases) for model in missing)
        note = surveyed.note
        if not surveyed.is_there:
            note = note or (_NOT_THERE if gone or place.is_named else "")
            if not note and place.store != "own":
                continue
        elif gone:
            are = "is" if gone == 1 else "are"
            note = f"{note} {count(gone, 'model')} {are} not there any more.".strip()
        views.append(StoreView(store=place.store, label=place.label, models=number, note=note))
    return tuple(views)
