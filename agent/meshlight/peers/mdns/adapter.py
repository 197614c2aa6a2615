"""Multicast DNS on this machine's interfaces, by the zeroconf library."""

import errno
import logging
import secrets
from collections.abc import Sequence

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
from meshlight.peers.mdns.multicast_dns import OnEvent
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

QUERY_MS = 3000
_QUIET = logging.CRITICAL + 1
_TXT, _IN = 16, 1  # RFC 1035, sections 3.2.2 and 3.2.4
_NO_V6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT})


async def open_mdns(interfaces: Sequence[Interface]) -> "ZeroconfAdapter | str":
    """Join the multicast groups of these interfaces; returns a sentence for people when that fails."""
    # It logs every malformed packet, with text from its sender; what matters to people is reported by us.
    logging.getLogger("zeroconf").setLevel(_QUIET)
    if not interfaces:
        return (
            "This machine is on no network, so no other machine can be seen. Looking again when there is one."
        )
    try:
        zeroconf = _open(interfaces)
    except (OSError, RuntimeError) as error:
        return _explain(error)
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


def _explain(error: OSError | RuntimeError) -> str:
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
    """Implements `MdnsAdapter` by zeroconf; see there."""

    def __init__(self, zeroconf: AsyncZeroconf, interfaces: Sequence[Interface]) -> None:
        self._zeroconf = zeroconf
        self._browser: AsyncServiceBrowser | None = None
        self._info: AsyncServiceInfo | None = None
        addresses = [address for one in interfaces for address in (*one.v4, *one.v6)]
        reachable = usable(addresses)
        self._addresses = reachable or usable(addresses, on_loopback=True)
        # Not the machine's own host name: another responder on this machine may own it.
        self._suffix = secrets.token_hex(3)

    @property
    def own(self) -> str:
        """See `MdnsAdapter`."""
        return self._info.name if self._info is not None else ""

    async def browse(self, on_event: OnEvent | None) -> None:
        """See `MdnsAdapter`."""
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        if on_event is None:
            return

        def on_state_change(
            zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:
            del zeroconf, service_type
            on_event(name, state_change is ServiceStateChange.Removed)

        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, [MESHLIGHT, BAGO], handlers=[on_state_change]
        )

    def known(self, instance: str) -> RawService | None:
        """See `MdnsAdapter`."""
        info = _info(instance)
        if info is None or not info.load_from_cache(self._zeroconf.zeroconf):
            return None
        # For a second after a TXT record was replaced, the cache has the old one too, and it revives old ones when
        # one of them is received again. The current one is the one that expires last.
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

    async def query(self, instance: str) -> RawService | None:
        """See `MdnsAdapter`."""
        info = _info(instance)
        try:
            if info is not None and await info.async_request(self._zeroconf.zeroconf, QUERY_MS):
                return _raw(info)
        except NotRunningException:  # closed meanwhile
            pass
        return None

    async def announce(self, announcement: Announcement) -> None:
        """See `MdnsAdapter`."""
        info = self._info
        if (
            info is not None
            and info.name != instance_of(announcement)
            and not self._is_renamed(info.name, announcement)
        ):
            await self.withdraw()
            info = None
        new = AsyncServiceInfo(
            MESHLIGHT,
            info.name if info is not None else instance_of(announcement),
            port=announcement.port,
            properties=dict(to_txt(announcement)),
            server=info.server if info is not None else _server(announcement.name, self._suffix),
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
        """See `MdnsAdapter`."""
        info, self._info = self._info, None
        if info is not None:
            await (await self._zeroconf.async_unregister_service(info))

    async def close(self, *, goodbye: bool) -> None:
        """See `MdnsAdapter`."""
        await self.browse(None)
        if self._info is not None and not goodbye:
            self._zeroconf.zeroconf.registry.async_remove(self._info)
        self._info = None
        await self._zeroconf.async_close()

    @staticmethod
    def _is_renamed(name: str, announcement: Announcement) -> bool:
        """Whether `name` is this announcement's name with the number that a name in use gets."""
        stem, _, number = name.removesuffix(f".{MESHLIGHT}").rpartition("-")
        return number.isdecimal() and f"{stem}.{MESHLIGHT}" == instance_of(announcement)


def _info(instance: str) -> AsyncServiceInfo | None:
    service = next((kind for kind in (MESHLIGHT, BAGO) if instance.lower().endswith("." + kind)), None)
    try:
        return AsyncServiceInfo(service, instance) if service is not None else None
    except BadTypeInNameException:  # a received name may break every rule
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


def _server(name: str, suffix: str) -> str:
    letters = "".join(
        sign if sign.isascii() and sign.isalnum() else "-" for sign in sanitize_name(name).lower()
    )
    stem = "-".join(part for part in letters.split("-") if part)[:40].strip("-")
    return f"{stem or 'meshlight'}-{suffix}.local."
