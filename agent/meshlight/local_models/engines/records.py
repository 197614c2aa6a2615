"""What was learnt about models by loading them: how long it takes, and how much memory they really need."""

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.local_models import LocalModel

log = logging.getLogger(__name__)

BYTES_MAX = 1 << 20
MODELS_MAX = 1_000
CONTEXTS_MAX = 16


class RecordStore(Protocol):
    """Keeps the records over a restart."""

    def read(self) -> bytes:
        """Return what was written last; empty when nothing was, or it can't be read."""

    def write(self, data: bytes) -> None:
        """Store this in the place of what was there, without waiting for the disk."""


class _ModelRecord(Struct):
    size_bytes: int
    """Of the model when it was measured; another size is another model."""
    load_s: float = 0.0
    needs: dict[int, int] = {}
    """Context in tokens → bytes."""


class Records:
    """The records of all models, read once, at first use."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._loaded: dict[str, _ModelRecord] | None = None

    def load_s(self, model: LocalModel) -> float | None:
        """Return how long the last load of a model took; None if it was never loaded."""
        found = self._find(model)
        return found.load_s if found is not None and found.load_s > 0 else None

    def need_bytes(self, model: LocalModel, context: int) -> int:
        """Return what a model was measured to need with a context; 0 if it never was."""
        found = self._find(model)
        return 0 if found is None else max(0, found.needs.get(context, 0))

    def keep_load(self, model: LocalModel, load_s: float) -> None:
        """Keep how long a load took."""
        self._change(model, lambda record: setattr(record, "load_s", load_s))

    def keep_need(self, model: LocalModel, context: int, need_bytes: int) -> None:
        """Keep what a model was measured to need with a context."""

        def change(record: _ModelRecord) -> None:
            record.needs.pop(context, None)
            record.needs[context] = need_bytes
            while len(record.needs) > CONTEXTS_MAX:
                del record.needs[next(iter(record.needs))]

        self._change(model, change)

    def _find(self, model: LocalModel) -> _ModelRecord | None:
        found = self._all().get(model.id)
        return found if found is not None and found.size_bytes == model.size_bytes else None

    def _change(self, model: LocalModel, change: Callable[[_ModelRecord], None]) -> None:
        records = self._all()
        record = self._find(model) or _ModelRecord(model.size_bytes)
        change(record)
        records.pop(model.id, None)  # so that it is the newest
        records[model.id] = record
        while len(records) > MODELS_MAX:
            del records[next(iter(records))]
        self._store.write(msgspec.json.encode(records))

    def _all(self) -> dict[str, _ModelRecord]:
        if self._loaded is None:
            self._loaded = {}
            data = self._store.read()
            if data and len(data) <= BYTES_MAX:
                known = decode_or_none(data, dict[str, _ModelRecord])
                if known is None:
                    log.warning("What was learnt about loading models can't be read, and is learnt again.")
                else:
                    self._loaded = known
        return self._loaded
