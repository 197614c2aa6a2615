"""What browsing and announcing need of multicast DNS; `adapter.py` has it by zeroconf."""

from collections.abc import Callable
from typing import Protocol

from meshlight.peers.mdns.records import Announcement, RawService

OnEvent = Callable[[str, bool], None]
"""Called with an instance name, and whether it is gone."""


class MdnsAdapter(Protocol):
    """Multicast DNS, open on some interfaces. Tests replace it."""

    @property
    def own(self) -> str:
        """The instance name under which this node is announced; empty while it is not."""

    async def browse(self, on_event: OnEvent | None) -> None:
        """Query for all instances anew, and report each that comes, changes or leaves; None stops that."""

    def known(self, instance: str) -> RawService | None:
        """Return what was received of an instance; None when a part is missing or expired."""

    async def query(self, instance: str) -> RawService | None:
        """Query one instance; None when it does not answer within three seconds."""

    async def announce(self, announcement: Announcement) -> None:
        """Announce this node, or update its announcement. Raises OSError."""

    async def withdraw(self) -> None:
        """Take the announcement back with a goodbye."""

    async def close(self, *, goodbye: bool) -> None:
        """Close all sockets."""
