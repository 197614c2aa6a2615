"""Discovery by multicast DNS: the bounded list of nodes that announce themselves, and the announcement of this one.

Anybody on the network can announce anything. So the list holds proposals for people to pick from: nothing in it is
trusted, none is connected to by itself, and ids that several machines announce are marked as conflicts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from ipaddress import ip_address

from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.peers import Sighting
from meshlight.peers.mdns.announcer import Announcer
from meshlight.peers.mdns.interfaces import Interface, InterfaceNews, find_interfaces
from meshlight.peers.mdns.multicast_dns import MdnsAdapter
from meshlight.peers.mdns.network_monitor import NetworkMonitor
from meshlight.peers.mdns.records import Announcement, RawService, ReceivedAnnouncement, read

BATCH_S = 0.25
"""How long received announcements are collected, so that a thousand of them are one piece of work."""
CONFIRM_S = 8.0
"""After a change of network, a node that was not received again within this time is dropped."""
BROWSE_PERIOD_S = 300.0
"""How often all are queried anew, since announcements may have been lost while a cable was out."""
MISSED_S = 60.0
"""The same, when some were ignored because the list was full and there is room now."""
PENDING_MAX = 256
"""Instance names in one batch; a real network has fewer at once."""
QUERIES_MAX = 16
"""Queries for single instances that run at once."""


async def open_mdns(interfaces: Sequence[Interface]) -> MdnsAdapter | str:
    """See `adapter.open_mdns`. zeroconf is loaded in a thread: it takes longer than an answer may be held up."""
    await asyncio.to_thread(import_module, f"{__package__}.adapter")
    from meshlight.peers.mdns import adapter  # noqa: PLC0415 - see above

    return await adapter.open_mdns(interfaces)


class DiscoveredPeers:
    """Browses and announces by multicast DNS while either is wanted; without both, no socket is open.

    `entries`, `ignored`, `duplicate` and `problem` are for people; `on_change` is called when any of them has
    changed, at most four times a second. An entry is removed when its node says goodbye, or within about two
    minutes after it falls silent. `is_known` says which ids are paired, `find` lists the interfaces, `news`
    says when that has to be done again, and `regular` is for the timer that runs as long as the network is open.
    """

    def __init__(  # noqa: PLR0913 - it is given its clocks, its system calls and its callbacks
        self,
        clock: Clock,
        later: CallLater,
        *,
        is_known: Callable[[str], bool] = lambda _: False,
        wall: Clock = time.time,
        find: Callable[[], tuple[Interface, ...]] = find_interfaces,
        open_adapter: Callable[[Sequence[Interface]], Awaitable[MdnsAdapter | str]] = open_mdns,
        on_loopback: bool = False,
        on_change: Callable[[], None] = lambda: None,
        regular: CallLater | None = None,
        news: InterfaceNews | None = None,
    ) -> None:
        self.own_id = ""
        """The node id that is left out of the list; `announce` sets it too."""
        self._on_change = on_change
        self.duplicate = ""
        """A sentence for people when another machine announces this one's id; else empty."""
        self._clock = clock
        self._later = later
        self._on_loopback = on_loopback
        self._instances = InstanceTable(clock, is_known)
        self._announcer = Announcer(clock, later, self._on_news)
        self._monitor = NetworkMonitor(
            clock,
            wall,
            regular or later,
            find,
            open_adapter,
            on_open=self._on_open,
            on_keep=self._on_keep,
            on_closing=self._on_closing,
            on_problem=self._on_problem,
            news=news,
        )
        self._is_on = False
        self._browses = False
        self._opened_at = self._browsed_at = float("-inf")
        self._has_unconfirmed = False
        self._has_missed = False
        self._has_news = False
        self._duplicate_instance = ""
        self._pending: dict[str, bool] = {}
        self._queries: dict[str, asyncio.Task[None]] = {}
        self._batch: Timer | None = None

    @property
    def entries(self) -> Mapping[str, Sighting]:
        """Who is discovered, by id, at most 64."""
        return self._instances.entries

    @property
    def ignored(self) -> int:
        """How many announcements were ignored: malformed ones, and those for which there was no room."""
        return self._instances.ignored

    @property
    def problem(self) -> str:
        """Why others can't be seen or can't see this machine, and what to do; empty while all is well."""
        return self._monitor.problem or self._announcer.problem

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others reach this machine on the networks in use: IPv4 first, without those that need a zone."""
        found = [ip_address(text) for text in self._monitor.addresses]
        usable = [one for one in found if one.version == 4 or not one.is_link_local]
        return tuple(str(one) for one in sorted(usable, key=lambda one: (one.version, int(one))))

    async def start(self, *, browse: bool = True) -> None:
        """Start: browse if `browse` is set, announce what `announce` was given. Called again, it follows `browse`."""
        self._is_on = True
        await self.browse(browse)
        self._want()

    async def stop(self) -> None:
        """Leave the network with a goodbye, and empty the list."""
        self._is_on = False
        await self._monitor.close()
        if self._batch is not None:
            self._batch.cancel()
            self._batch = None
        self._clear()

    async def browse(self, is_wanted: bool) -> None:
        """Start or stop browsing; without it the list is empty."""
        if is_wanted != self._browses:
            self._browses = is_wanted
            self._want()
            if not is_wanted:
                self._clear()
            if self._monitor.adapter is not None:
                await self._browse(self._monitor.adapter)

    def announce(self, announcement: Announcement | None) -> None:
        """Announce this from now on, with None nothing; may be called as often as it changes."""
        if announcement is not None:
            self.own_id = announcement.id
        self._announcer.announce(announcement)
        self._want()

    def _want(self) -> None:
        self._monitor.want(self._is_on and (self._browses or self._announcer.wanted is not None))

    async def _on_open(self, adapter: MdnsAdapter) -> None:
        self._opened_at = self._clock()
        self._has_unconfirmed = True
        self._announcer.use(adapter)
        await self._browse(adapter)

    async def _on_keep(self, adapter: MdnsAdapter) -> None:
        now = self._clock()
        is_settled = now - self._opened_at >= CONFIRM_S
        if self._has_unconfirmed and is_settled:
            self._has_unconfirmed = False
            self._on_news(self._instances.drop_unconfirmed_since(self._opened_at))
        for instance in self._instances.instances:
            raw = adapter.known(instance)
            if raw is not None:
                self._take(adapter, raw)
            elif is_settled and len(self._queries) < QUERIES_MAX:
                self._query(adapter, instance)
        can_take_more = self._has_missed and not self._instances.is_full
        if now - self._browsed_at >= (MISSED_S if can_take_more else BROWSE_PERIOD_S):
            await self._browse(adapter)

    async def _on_closing(self) -> None:
        for task in self._queries.values():
            task.cancel()
        self._queries.clear()
        self._pending.clear()
        await self._announcer.leave()

    def _on_problem(self) -> None:
        if self._monitor.problem:
            self._clear()
        self._on_news()

    def _clear(self) -> None:
        self._duplicate_instance = self.duplicate = ""
        self._on_news(self._instances.clear())

    async def _browse(self, adapter: MdnsAdapter) -> None:
        self._browsed_at = self._clock()
        self._has_missed = False
        await adapter.browse(self._receive if self._browses else None)

    def _receive(self, instance: str, is_gone: bool) -> None:
        if len(self._pending) < PENDING_MAX or instance in self._pending:
            self._pending[instance] = is_gone
        else:
            self._ignore()
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._batch is None and self._is_on:
            self._batch = self._later(BATCH_S, self._flush)

    def _on_news(self, has_changed: bool = True) -> None:
        if has_changed:
            self._has_news = True
            self._schedule_flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        adapter = self._monitor.adapter
        if adapter is not None and self._browses:
            for instance, is_gone in pending.items():
                if is_gone:
                    self._drop(instance)
                elif (raw := adapter.known(instance)) is not None:
                    self._take(adapter, raw)
                else:
                    self._query(adapter, instance)
        self._batch = None
        has_news, self._has_news = self._has_news, False
        if has_news:
            self._on_change()

    def _take(self, adapter: MdnsAdapter, raw: RawService) -> None:
        if raw.instance == adapter.own:
            return
        received = read(raw, on_loopback=self._on_loopback)
        if received is None:
            self._drop(raw.instance)
            self._instances.ignore()
            self._on_news()
        elif received.id == self.own_id:
            self._report_duplicate(received)
        else:
            ignored = self._instances.ignored
            self._on_news(self._instances.take(received))
            if self._instances.ignored > ignored:
                self._has_missed = True
                self._on_news()

    def _ignore(self) -> None:
        self._has_missed = True
        self._instances.ignore()
        self._on_news()

    def _query(self, adapter: MdnsAdapter, instance: str) -> None:
        if instance in self._queries or instance == adapter.own:
            return
        if len(self._queries) >= QUERIES_MAX:
            self._ignore()
            return
        self._queries[instance] = asyncio.get_running_loop().create_task(self._run_query(adapter, instance))

    async def _run_query(self, adapter: MdnsAdapter, instance: str) -> None:
        raw = await adapter.query(instance)
        if self._queries.get(instance) is asyncio.current_task():
            del self._queries[instance]
        if adapter is self._monitor.adapter and self._browses:
            if raw is None:
                self._drop(instance)
            else:
                self._take(adapter, raw)

    def _drop(self, instance: str) -> None:
        self._on_news(self._instances.drop(instance))
        if instance == self._duplicate_instance:
            self._duplicate_instance = self.duplicate = ""
            self._on_news()

    def _report_duplicate(self, received: ReceivedAnnouncement) -> None:
        """Report another machine with this one's id; this one may still hear its own from before a crash."""
        self._on_news(self._instances.drop(received.instance))
        if self._monitor.addresses.isdisjoint(received.addresses) and not self.duplicate:
            self._duplicate_instance = received.instance
            self.duplicate = (
                f"Another machine, at {received.addresses[0]}, announces the identity of this one: its settings may "
                "be a copy of these. Delete the identity on one of the two, so that others can tell them apart."
            )
            self._on_news()


INSTANCES_MAX = 64
INSTANCES_PER_ID_MAX = 4
"""Instance names followed for one id: enough to show a conflict, too few to fill the list."""
UNCONFIRMED_S = 60.0
"""When the list is full, an instance that was not confirmed for this long is replaced by a new one."""


class _Instance:
    """One instance name and its latest announcement; times are seconds of the table's clock."""

    __slots__ = ("confirmed_at", "received", "since")

    def __init__(self, received: ReceivedAnnouncement, now: float) -> None:
        self.received = received
        self.since = now
        self.confirmed_at = now


class InstanceTable:
    """Holds at most 64 announcements, and makes one entry of all that have the same id.

    A full table accepts a new one only in place of one that was long unconfirmed or, if its id `is_known` (paired),
    in place of the latest unknown one; others are counted in `ignored`.
    """

    def __init__(self, clock: Clock, is_known: Callable[[str], bool]) -> None:
        self._clock = clock
        self._is_known = is_known
        self._by_key: dict[str, _Instance] = {}
        self.entries: Mapping[str, Sighting] = {}
        """By id, in the order in which they came."""
        self.ignored = 0

    @property
    def instances(self) -> tuple[str, ...]:
        """The instance names that are followed."""
        return tuple(one.received.instance for one in self._by_key.values())

    @property
    def is_full(self) -> bool:
        """Whether a newcomer would be ignored."""
        return len(self._by_key) >= INSTANCES_MAX and self._longest_unconfirmed() is None

    def __contains__(self, instance: str) -> bool:
        return _key(instance) in self._by_key

    def ignore(self) -> None:
        """Count an announcement that is ignored."""
        self.ignored += 1

    def take(self, received: ReceivedAnnouncement) -> bool:
        """Add or update an announcement; returns whether an entry changed."""
        key = _key(received.instance)
        now = self._clock()
        one = self._by_key.get(key)
        if one is not None:
            one.confirmed_at = now
            if one.received == received:
                return False
            if one.received.id != received.id:
                one.since = now
            one.received = received
        elif self._make_room(received):
            self._by_key[key] = _Instance(received, now)
        else:
            self.ignore()
            return False
        return self._rebuild()

    def drop(self, instance: str) -> bool:
        """Remove an instance; returns whether an entry changed."""
        return self._by_key.pop(_key(instance), None) is not None and self._rebuild()

    def drop_unconfirmed_since(self, instant: float) -> bool:
        """Remove what was not confirmed since then; returns whether an entry changed."""
        gone = [key for key, one in self._by_key.items() if one.confirmed_at < instant]
        for key in gone:
            del self._by_key[key]
        return bool(gone) and self._rebuild()

    def clear(self) -> bool:
        """Remove all; returns whether there were any."""
        self._by_key.clear()
        return self._rebuild()

    def _make_room(self, received: ReceivedAnnouncement) -> bool:
        if sum(one.received.id == received.id for one in self._by_key.values()) >= INSTANCES_PER_ID_MAX:
            return False
        if len(self._by_key) < INSTANCES_MAX:
            return True
        key = self._longest_unconfirmed()
        if key is None and self._is_known(received.id):
            unknown = [key for key, one in self._by_key.items() if not self._is_known(one.received.id)]
            key = unknown[-1] if unknown else None
        if key is None:
            return False
        del self._by_key[key]
        return True

    def _longest_unconfirmed(self) -> str | None:
        """Return the key of the instance that was unconfirmed for longest, if that is long enough to be replaced."""
        if not self._by_key:
            return None
        key, one = min(self._by_key.items(), key=lambda item: item[1].confirmed_at)
        return key if self._clock() - one.confirmed_at >= UNCONFIRMED_S else None

    def _rebuild(self) -> bool:
        groups: dict[str, list[_Instance]] = {}
        for one in self._by_key.values():
            groups.setdefault(one.received.id, []).append(one)
        old, self.entries = self.entries, {node_id: _entry(ones) for node_id, ones in groups.items()}
        return self.entries != old


def _entry(ones: list[_Instance]) -> Sighting:
    """Make one entry of the instances with one id: of the first machine's latest announcement."""
    mine = [one for one in ones if _is_one_machine(one.received, ones[0].received)]
    others = [one.received for one in ones if not _is_one_machine(one.received, ones[0].received)]
    received = max(mine, key=lambda one: one.since).received
    return Sighting(
        id=received.id,
        name=received.name,
        host=received.host,
        addresses=received.addresses,
        port=received.port,
        door=received.door,
        backends=received.backends,
        models=received.models,
        catalog=received.catalog,
        service=received.service,
        since=min(one.since for one in mine),
        conflict=_conflict(others[0]) if others else "",
    )


def _is_one_machine(received: ReceivedAnnouncement, other: ReceivedAnnouncement) -> bool:
    return received.host.lower() == other.host.lower() or not set(received.addresses).isdisjoint(
        other.addresses
    )


def _conflict(other: ReceivedAnnouncement) -> str:
    return (
        f"Another machine, at {other.addresses[0]}, announces the same identity. One may be a copy of the other's "
        "settings, or pretend: pair only after you have compared the six digits on both screens."
    )


def _key(instance: str) -> str:
    return instance.lower()
