"""The bounded list of who announces themselves, with the doubtful ones marked."""

from collections.abc import Callable, Mapping

from meshlight.domain.peer import Sighting
from meshlight.mesh.txt import Heard

MOST = 64
MOST_OF_ONE_ID = 4
"""Instance names under which one id is followed: enough to tell of a conflict, too few to fill the list."""
UNSEEN_S = 60.0
"""Who was not confirmed for this long gives way to a newcomer when the list is full."""


class _One:
    """One instance name; instants are seconds of the list's clock."""

    __slots__ = ("heard", "seen_at", "since")

    def __init__(self, heard: Heard, now: float) -> None:
        self.heard = heard
        self.since = now
        self.seen_at = now


class Seen:
    """Holds at most 64 announcements, and makes one entry of all that tell the same id.

    A full list takes a newcomer only in the place of one that was long unseen, or, for an id that `is_known`
    (a paired one), in the place of the latest stranger; others are counted in `ignored`.
    """

    def __init__(self, clock: Callable[[], float], is_known: Callable[[str], bool]) -> None:
        self._clock = clock
        self._is_known = is_known
        self._ones: dict[str, _One] = {}
        self.entries: Mapping[str, Sighting] = {}
        """By id, in the order in which they came."""
        self.ignored = 0

    @property
    def instances(self) -> tuple[str, ...]:
        """The instance names that are followed."""
        return tuple(one.heard.instance for one in self._ones.values())

    @property
    def is_full(self) -> bool:
        """Whether a newcomer would be ignored."""
        return len(self._ones) >= MOST and self._unseen() is None

    def __contains__(self, instance: str) -> bool:
        return _key(instance) in self._ones

    def ignore(self) -> None:
        """Count an announcement that is not looked at."""
        self.ignored += 1

    def take(self, heard: Heard) -> bool:
        """Follow an announcement from now on, or note what it says now; True when an entry changed."""
        key = _key(heard.instance)
        now = self._clock()
        one = self._ones.get(key)
        if one is not None:
            one.seen_at = now
            if one.heard == heard:
                return False
            if one.heard.id != heard.id:
                one.since = now
            one.heard = heard
        elif self._make_room(heard):
            self._ones[key] = _One(heard, now)
        else:
            self.ignore()
            return False
        return self._renew()

    def drop(self, instance: str) -> bool:
        """Follow this one no more; True when an entry changed."""
        return self._ones.pop(_key(instance), None) is not None and self._renew()

    def drop_unseen_since(self, instant: float) -> bool:
        """Drop who was not confirmed since then; True when an entry changed."""
        gone = [key for key, one in self._ones.items() if one.seen_at < instant]
        for key in gone:
            del self._ones[key]
        return bool(gone) and self._renew()

    def clear(self) -> bool:
        """Drop all; True when there was any."""
        self._ones.clear()
        return self._renew()

    def _make_room(self, heard: Heard) -> bool:
        if sum(one.heard.id == heard.id for one in self._ones.values()) >= MOST_OF_ONE_ID:
            return False
        if len(self._ones) < MOST:
            return True
        key = self._unseen()
        if key is None and self._is_known(heard.id):
            strangers = [key for key, one in self._ones.items() if not self._is_known(one.heard.id)]
            key = strangers[-1] if strangers else None
        if key is None:
            return False
        del self._ones[key]
        return True

    def _unseen(self) -> str | None:
        """Return who was unseen for the longest time, if that is long enough to go."""
        if not self._ones:
            return None
        key, one = min(self._ones.items(), key=lambda item: item[1].seen_at)
        return key if self._clock() - one.seen_at >= UNSEEN_S else None

    def _renew(self) -> bool:
        groups: dict[str, list[_One]] = {}
        for one in self._ones.values():
            groups.setdefault(one.heard.id, []).append(one)
        old, self.entries = self.entries, {node_id: _entry(ones) for node_id, ones in groups.items()}
        return self.entries != old


def _entry(ones: list[_One]) -> Sighting:
    """Make one entry of those that tell one id: of the first machine, with the latest it said."""
    mine = [one for one in ones if _is_one_machine(one.heard, ones[0].heard)]
    others = [one.heard for one in ones if not _is_one_machine(one.heard, ones[0].heard)]
    heard = max(mine, key=lambda one: one.since).heard
    return Sighting(
        id=heard.id,
        name=heard.name,
        host=heard.host,
        addresses=heard.addresses,
        port=heard.port,
        door=heard.door,
        backends=heard.backends,
        models=heard.models,
        catalog=heard.catalog,
        service=heard.service,
        since=min(one.since for one in mine),
        conflict=_conflict(others[0]) if others else "",
    )


def _is_one_machine(heard: Heard, other: Heard) -> bool:
    return heard.host.lower() == other.host.lower() or not set(heard.addresses).isdisjoint(other.addresses)


def _conflict(other: Heard) -> str:
    return (
        f"Another machine, at {other.addresses[0]}, announces the same identity. One may be a copy of the other's "
        "settings, or pretend: pair only after you have compared the six digits on both screens."
    )


def _key(instance: str) -> str:
    return instance.lower()
