"""Multicast DNS on the interfaces of this machine, by python-zeroconf."""

import errno
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from zeroconf import (
    BadTypeInNameException,
    IPVersion,
    NonUniqueNameException,
    NotRunningException,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshlight.peers.mdns.interfaces import Interface
from meshlight.peers.mdns.records import (
    BAGO,
    MESHLIGHT,
    Announcement,
    RawService,
    instance_of,
    sanitize_name,
    to_txt,
    usable,
)

ASK_MS = 3000
_QUIET = logging.CRITICAL + 1
_TXT, _IN = 16, 1  # RFC 1035, sections 3.2.2 and 3.2.4
_NO_V6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT})

OnEvent = Callable[[str, bool], None]
"""Called with an instance name, and whether it is gone."""


class MdnsAdapter(Protocol):
    """What the list of sightings needs of multicast DNS."""

    @property
    def own(self) -> str:
        """The instance name under which this node is announced; empty while it is not."""

    async def browse(self, on_event: OnEvent | None) -> None:
        """Ask who is there, anew at each call, and tell of each one that comes, changes or leaves; None: stop."""

    def known(self, instance: str) -> RawService | None:
        """Return what was heard of an instance; None when a part is missing or too old."""

    async def ask(self, instance: str) -> RawService | None:
        """Return what an instance says when it is asked; None when it says nothing for three seconds."""

    async def announce(self, told: Announcement) -> None:
        """Be seen; or say the new facts, if this node is seen already. Raises OSError."""

    async def withdraw(self) -> None:
        """Say goodbye."""

    async def close(self, *, goodbye: bool) -> None:
        """Leave the network."""


async def open_mdns(interfaces: Sequence[Interface]) -> "MdnsAdapter | str":
    """Join the multicast groups of these interfaces; returns words for people where that can't be done."""
    # It tells of every odd packet, in the sender's words; what matters to people is said by us.
    logging.getLogger("zeroconf").setLevel(_QUIET)
    if not interfaces:
        return (
            "This machine is on no network, so no other machine can be seen. Looking again when there is one."
        )
    try:
        zeroconf = _open(interfaces)
    except (OSError, RuntimeError) as error:
        return _words(error)
    try:
        await zeroconf.zeroconf.async_wait_for_start()
    except NotRunningException:
        await zeroconf.async_close()
        return "Multicast DNS did not start, so no other machine can be seen. Trying again in a minute."
    if not zeroconf.zeroconf.engine.senders:
        await zeroconf.async_close()
        return (
            "No network of this machine carries multicast, so no other machine can be seen. "
            "Add peers by their address, or allow multicast DNS (UDP port 5353)."
        )
    return ZeroconfAdapter(zeroconf, interfaces)


def _open(interfaces: Sequence[Interface]) -> AsyncZeroconf:
    v4: list[str | int] = [address for interface in interfaces for address in interface.v4]
    v6: list[str | int] = [interface.index for interface in interfaces if interface.v6]
    if v6:
        try:
            return AsyncZeroconf([*v4, *v6], ip_version=IPVersion.All if v4 else IPVersion.V6Only)
        except OSError as error:
            if not v4 or error.errno not in _NO_V6:
                raise
    return AsyncZeroconf(v4, ip_version=IPVersion.V4Only)


def _words(error: OSError | RuntimeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return (
            "Another program holds port 5353 (multicast DNS) for itself, so no other machine can be seen. "
            "End it, or with Avahi set disallow-other-stacks=no in avahi-daemon.conf. Trying again in a minute."
        )
    if number in {errno.EACCES, errno.EPERM}:
        return (
            "The system does not let Meshlight use port 5353 (multicast DNS), so no other machine can be seen. "
            "Allow it UDP port 5353 in the firewall or sandbox, or add peers by their address."
        )
    why = error.strerror if isinstance(error, OSError) and error.strerror else "the network is changing"
    return f"Multicast DNS can't be used ({why}), so no other machine can be seen. Trying again in a minute."


class ZeroconfAdapter:
    """An open network; see `MdnsAdapter`."""

    def __init__(self, zeroconf: AsyncZeroconf, interfaces: Sequence[Interface]) -> None:
        self._zeroconf = zeroconf
        self._browser: AsyncServiceBrowser | None = None
        self._info: AsyncServiceInfo | None = None
        addresses = [address for one in interfaces for address in (*one.v4, *one.v6)]
        far = usable(addresses)
        self._addresses = far or usable(addresses, on_loopback=True)
        # Not the machine's own host name: other responders of this machine may hold that one.
        self._tail = secrets.token_hex(3)

    @property
    def own(self) -> str:
        """See Air."""
        return self._info.name if self._info is not None else ""

    async def browse(self, on_event: OnEvent | None) -> None:
        """See Air."""
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        if on_event is None:
            return

        def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
            del zeroconf, service_type
            on_event(name, state_change is ServiceStateChange.Removed)

        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, [MESHLIGHT, BAGO], handlers=[heard])

    def known(self, instance: str) -> RawService | None:
        """See Air."""
        info = _info(instance)
        if info is None or not info.load_from_cache(self._zeroconf.zeroconf):
            return None
        # The cache gives a TXT record for a second after a newer one has replaced it, and revives those of before
        # when one of them comes again. The record that is true is the one that will live longest.
        records = self._zeroconf.zeroconf.cache.get_all_by_details(info.name, _TXT, _IN)
        if records:
            latest = max(records, key=lambda record: record.get_expiration_time(100))
            info = AsyncServiceInfo(
                info.type,
                info.name,
                port=info.port,
                properties=getattr(latest, "text", b""),
                server=info.server,
                parsed_addresses=info.parsed_addresses(),
            )
        return _raw(info)

    async def ask(self, instance: str) -> RawService | None:
        """See Air."""
        info = _info(instance)
        try:
            if info is not None and await info.async_request(self._zeroconf.zeroconf, ASK_MS):
                return _raw(info)
        except NotRunningException:  # closed meanwhile
            pass
        return None

    async def announce(self, told: Announcement) -> None:
        """See Air."""
        info = self._info
        if info is not None and info.name != instance_of(told) and not self._is_renamed(info.name, told):
            await self.withdraw()
            info = None
        new = AsyncServiceInfo(
            MESHLIGHT,
            info.name if info is not None else instance_of(told),
            port=told.port,
            properties=dict(to_txt(told)),
            server=info.server if info is not None else _server(told.name, self._tail),
            parsed_addresses=list(self._addresses),
        )
        try:
            if info is not None:
                done = await self._zeroconf.async_update_service(new)
            else:
                done = await self._zeroconf.async_register_service(new, allow_name_change=True)
        except (NonUniqueNameException, NotRunningException, BadTypeInNameException) as error:
            raise OSError(str(error) or type(error).__name__) from error
        self._info = new
        await done

    async def withdraw(self) -> None:
        """See Air."""
        info, self._info = self._info, None
        if info is not None:
            await (await self._zeroconf.async_unregister_service(info))

    async def close(self, *, goodbye: bool) -> None:
        """See Air."""
        await self.browse(None)
        if self._info is not None and not goodbye:
            self._zeroconf.zeroconf.registry.async_remove(self._info)
        self._info = None
        await self._zeroconf.async_close()

    @staticmethod
    def _is_renamed(name: str, told: Announcement) -> bool:
        """Whether `name` is what became of this announcement's name, which was taken."""
        stem, _, number = name.removesuffix(f".{MESHLIGHT}").rpartition("-")
        return number.isdecimal() and f"{stem}.{MESHLIGHT}" == instance_of(told)


def _info(instance: str) -> AsyncServiceInfo | None:
    service = next((kind for kind in (MESHLIGHT, BAGO) if instance.lower().endswith("." + kind)), None)
    try:
        return AsyncServiceInfo(service, instance) if service is not None else None
    except BadTypeInNameException:  # a stranger's name may break every rule
        return None


def _raw(info: AsyncServiceInfo) -> RawService:
    return RawService(
        service=info.type,
        instance=info.name,
        server=info.server or "",
        port=info.port or 0,
        addresses=tuple(info.parsed_addresses()),
        properties=dict(info.properties),
    )


def _server(name: str, tail: str) -> str:
    letters = "".join(
        sign if sign.isascii() and sign.isalnum() else "-" for sign in sanitize_name(name).lower()
    )
    stem = "-".join(part for part in letters.split("-") if part)[:40].strip("-")
    return f"{stem or 'meshlight'}-{tail}.local."
