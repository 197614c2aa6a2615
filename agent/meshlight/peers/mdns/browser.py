"""Who announces itself on the local network: a list of proposals, none of which is trusted or connected to.

The bounded list of who announces themselves, with the doubtful ones marked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address

from meshlight.domain.clock import CallLater, Timer
from meshlight.domain.peers import Sighting
from meshlight.peers.mdns.adapter import MdnsAdapter, open_mdns
from meshlight.peers.mdns.announcer import Announcer
from meshlight.peers.mdns.interfaces import Interface, find_interfaces
from meshlight.peers.mdns.network_monitor import NetworkMonitor
from meshlight.peers.mdns.records import Announcement, RawService, ReceivedAnnouncement, read

BATCH_S = 0.25
DOUBT_S = 8.0
"""After a change of network, whoever was not heard again within this time is gone."""
BROWSE_AGAIN_S = 300.0
"""An announcement may have been lost while a cable was out: so often all are asked anew."""
MISSED_S = 60.0
"""The same, when some were ignored for want of room and there is room now."""
LOOK_GAP_S = 10.0
MOST_PENDING = 256
"""Instance names of one batch; more of them at once are no honest network's."""
MOST_ASKED = 16
"""Questions to single instances under way at once."""


class DiscoveredPeers:
    """Browses and announces by multicast DNS while either is wanted; without both, no socket is open.

    `entries`, `ignored`, `twin` and `problem` are for people; `on_change` is called when any of them has changed, at
    most four times a second. An entry goes when it says goodbye, or within about two minutes when it falls silent.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        later: CallLater,
        *,
        own_id: str = "",
        is_known: Callable[[str], bool] = lambda _: False,
        wall: Callable[[], float] = time.time,
        find: Callable[[], tuple[Interface, ...]] = find_interfaces,
        open_air: Callable[[Sequence[Interface]], Awaitable[MdnsAdapter | str]] = open_mdns,
        on_loopback: bool = False,
    ) -> None:
        self.own_id = own_id
        """The node id that is left out of the list; `announce` sets it too."""
        self.on_change: Callable[[], None] = lambda: None
        self.duplicate = ""
        """A sentence when another machine announces this one's id; else empty."""
        self._clock = clock
        self._later = later
        self._on_loopback = on_loopback
        self._seen = InstanceTable(clock, is_known)
        self._announcer = Announcer(clock, later)
        self._announcer.changed = self._note
        self._aerial = NetworkMonitor(clock, wall, later, find, open_air)
        self._aerial.opened = self._on_open
        self._aerial.kept = self._on_kept
        self._aerial.closing = self._on_closing
        self._aerial.changed = self._on_problem
        self._is_on = False
        self._browses = False
        self._opened_at = self._browsed_at = float("-inf")
        self._has_doubts = False
        self._has_missed = False
        self._has_news = False
        self._twin_instance = ""
        self._pending: dict[str, bool] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._batch: Timer | None = None

    @property
    def entries(self) -> Mapping[str, Sighting]:
        """Who is seen, by id, at most 64."""
        return self._seen.entries

    @property
    def ignored(self) -> int:
        """How many announcements were not taken: odd ones, and those that had no room."""
        return self._seen.ignored

    @property
    def problem(self) -> str:
        """Why others can't be seen or can't see this machine, and what to do; empty while all is well."""
        return self._aerial.problem or self._announcer.problem

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others reach this machine on the networks in use: IPv4 first, none that needs a zone."""
        found = [ip_address(text) for text in self._aerial.addresses]
        usable = [one for one in found if one.version == 4 or not one.is_link_local]
        return tuple(str(one) for one in sorted(usable, key=lambda one: (one.version, int(one))))

    @property
    def is_announced(self) -> bool:
        """Whether others can see this machine at this moment."""
        return self._aerial.air is not None and bool(self._aerial.air.own)

    async def start(self, *, browse: bool = True) -> None:
        """Look around from now on, and be seen when asked to; with `browse` off only the latter.

        Called again, it only follows `browse`.
        """
        self._is_on = True
        await self.browse(browse)
        self._want()

    async def stop(self) -> None:
        """Say goodbye and leave the network; what was seen is forgotten."""
        self._is_on = False
        await self._aerial.close()
        if self._batch is not None:
            self._batch.cancel()
            self._batch = None
        self._forget()

    async def browse(self, is_wanted: bool) -> None:
        """Look around, or no more: the list is then empty."""
        if is_wanted != self._browses:
            self._browses = is_wanted
            self._want()
            if not is_wanted:
                self._forget()
            if self._aerial.air is not None:
                await self._browse(self._aerial.air)

    def announce(self, told: Announcement | None) -> None:
        """Be seen as this from now on, or with None no more; may be called as often as it changes."""
        if told is not None:
            self.own_id = told.id
        self._announcer.say(told)
        self._want()

    def look(self) -> None:
        """Ask anew who is there, because somebody wants to know; not more than every ten seconds."""
        if self._clock() - self._browsed_at >= LOOK_GAP_S:
            self._browsed_at = float("-inf")
            self._aerial.probe_soon()

    def _want(self) -> None:
        self._aerial.want(self._is_on and (self._browses or self._announcer.wanted is not None))

    async def _on_open(self, air: MdnsAdapter) -> None:
        self._opened_at = self._clock()
        self._has_doubts = True
        self._announcer.use(air)
        await self._browse(air)

    async def _on_kept(self, air: MdnsAdapter) -> None:
        now = self._clock()
        is_settled = now - self._opened_at >= DOUBT_S
        if self._has_doubts and is_settled:
            self._has_doubts = False
            self._note(self._seen.drop_unseen_since(self._opened_at))
        for instance in self._seen.instances:
            raw = air.known(instance)
            if raw is not None:
                self._take(air, raw)
            elif is_settled and len(self._asking) < MOST_ASKED:
                self._ask(air, instance)
        can_take_more = self._has_missed and not self._seen.is_full
        if now - self._browsed_at >= (MISSED_S if can_take_more else BROWSE_AGAIN_S):
            await self._browse(air)

    async def _on_closing(self) -> None:
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()
        self._pending.clear()
        await self._announcer.leave()

    def _on_problem(self) -> None:
        if self._aerial.problem:
            self._forget()
        self._note()

    def _forget(self) -> None:
        self._twin_instance = self.duplicate = ""
        self._note(self._seen.clear())

    async def _browse(self, air: MdnsAdapter) -> None:
        self._browsed_at = self._clock()
        self._has_missed = False
        await air.browse(self._hear if self._browses else None)

    # What is heard is put by for a moment, so that a thousand announcements are one piece of work.

    def _hear(self, instance: str, is_gone: bool) -> None:
        if len(self._pending) < MOST_PENDING or instance in self._pending:
            self._pending[instance] = is_gone
        else:
            self._miss()
        self._arm()

    def _arm(self) -> None:
        if self._batch is None and self._is_on:
            self._batch = self._later(BATCH_S, self._flush)

    def _note(self, has_changed: bool = True) -> None:
        if has_changed:
            self._has_news = True
            self._arm()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        air = self._aerial.air
        if air is not None and self._browses:
            for instance, is_gone in pending.items():
                if is_gone:
                    self._lose(instance)
                elif (raw := air.known(instance)) is not None:
                    self._take(air, raw)
                else:
                    self._ask(air, instance)
        self._batch = None
        has_news, self._has_news = self._has_news, False
        if has_news:
            self.on_change()

    def _take(self, air: MdnsAdapter, raw: RawService) -> None:
        if raw.instance == air.own:
            return
        heard = read(raw, on_loopback=self._on_loopback)
        if heard is None:
            self._lose(raw.instance)
            self._seen.ignore()
            self._note()
        elif heard.id == self.own_id:
            self._meet_duplicate(heard)
        else:
            ignored = self._seen.ignored
            self._note(self._seen.take(heard))
            if self._seen.ignored > ignored:
                self._has_missed = True
                self._note()

    def _miss(self) -> None:
        self._has_missed = True
        self._seen.ignore()
        self._note()

    def _ask(self, air: MdnsAdapter, instance: str) -> None:
        if instance in self._asking or instance == air.own:
            return
        if len(self._asking) >= MOST_ASKED:
            self._miss()
            return
        self._asking[instance] = asyncio.get_running_loop().create_task(self._answer(air, instance))

    async def _answer(self, air: MdnsAdapter, instance: str) -> None:
        raw = await air.ask(instance)
        if self._asking.get(instance) is asyncio.current_task():
            del self._asking[instance]
        if air is self._aerial.air and self._browses:
            if raw is None:
                self._lose(instance)
            else:
                self._take(air, raw)

    def _lose(self, instance: str) -> None:
        self._note(self._seen.drop(instance))
        if instance == self._twin_instance:
            self._twin_instance = self.duplicate = ""
            self._note()

    def _meet_duplicate(self, heard: ReceivedAnnouncement) -> None:
        """Tell of another machine with this one's id; what this one said itself (before a crash) is none."""
        self._note(self._seen.drop(heard.instance))
        if self._aerial.addresses.isdisjoint(heard.addresses) and not self.duplicate:
            self._twin_instance = heard.instance
            self.duplicate = (
                f"Another machine, at {heard.addresses[0]}, announces the identity of this one: its settings may "
                "be a copy of these. Delete the identity on one of the two, so that others can tell them apart."
            )
            self._note()


MOST = 64
MOST_OF_ONE_ID = 4
"""Instance names under which one id is followed: enough to tell of a conflict, too few to fill the list."""
UNSEEN_S = 60.0
"""Who was not confirmed for this long gives way to a newcomer when the list is full."""


class _Instance:
    """One instance name; instants are seconds of the list's clock."""

    __slots__ = ("heard", "seen_at", "since")

    def __init__(self, heard: ReceivedAnnouncement, now: float) -> None:
        self.heard = heard
        self.since = now
        self.seen_at = now


class InstanceTable:
    """Holds at most 64 announcements, and makes one entry of all that tell the same id.

    A full list takes a newcomer only in the place of one that was long unseen, or, for an id that `is_known`
    (a paired one), in the place of the latest stranger; others are counted in `ignored`.
    """

    def __init__(self, clock: Callable[[], float], is_known: Callable[[str], bool]) -> None:
        self._clock = clock
        self._is_known = is_known
        self._ones: dict[str, _Instance] = {}
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

    def take(self, heard: ReceivedAnnouncement) -> bool:
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
            self._ones[key] = _Instance(heard, now)
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

    def _make_room(self, heard: ReceivedAnnouncement) -> bool:
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
        groups: dict[str, list[_Instance]] = {}
        for one in self._ones.values():
            groups.setdefault(one.heard.id, []).append(one)
        old, self.entries = self.entries, {node_id: _entry(ones) for node_id, ones in groups.items()}
        return self.entries != old


def _entry(ones: list[_Instance]) -> Sighting:
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


def _is_one_machine(heard: ReceivedAnnouncement, other: ReceivedAnnouncement) -> bool:
    return heard.host.lower() == other.host.lower() or not set(heard.addresses).isdisjoint(other.addresses)


def _conflict(other: ReceivedAnnouncement) -> str:
    return (
        f"Another machine, at {other.addresses[0]}, announces the same identity. One may be a copy of the other's "
        "settings, or pretend: pair only after you have compared the six digits on both screens."
    )


def _key(instance: str) -> str:
    return instance.lower()
