"""A clock that stands still until a test moves it, and a small mesh on it."""

import heapq
import json
from collections.abc import Callable
from typing import Any

from meshlight.domain.api_types import RouterView
from meshlight.domain.backend import Backend
from meshlight.mesh.event_hub import EventHub, Subscription
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic


class FakeTimer:
    """A timer of the fake clock."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """Monotonic seconds that pass only by `pass_time`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, int, FakeTimer]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    def later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        self._count += 1
        heapq.heappush(self._due, (self.now + delay, self._count, timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what falls due on the way is called."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            at, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, at)
            if timer.callback is not None:
                timer.callback()
        self.now = until

    @property
    def armed(self) -> list[float]:
        """Seconds until each timer that is still set."""
        return sorted(at - self.now for at, _, timer in self._due if timer.callback is not None)


def backend(name: str, **fields: object) -> Backend:
    given = {
        "kind": "llamacpp",
        "ring": "machine",
        "url": f"http://127.0.0.1:{sum(name.encode()) + 1024}",
    } | fields
    return Backend(id=name, name=name, **given)  # type: ignore[arg-type]


class FakeMesh:
    """Registry, traffic, event hub and event publisher on one clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.traffic = Traffic(
            lambda: self.publisher.schedule_traffic(),  # noqa: PLW0108 - made below
            clock=self.clock,
        )
        self.hub = EventHub(lambda: self.publisher.view())  # noqa: PLW0108 - made below
        self.publisher = EventPublisher(
            self.registry, self.traffic, self.hub, self.clock, self.clock.later, self._router
        )

    def _router(self) -> RouterView:
        return RouterView(
            node_id="n",
            name="mesh",
            version="0",
            status="running",
            uptime_s=self.clock.now - 1000.0,
            requests=self.traffic.router.requests(),
        )


async def read(subscription: Subscription) -> list[tuple[int, str, dict[str, Any]]]:
    """Read what is queued for a subscriber: (number, name, data) of each event."""
    raw = await subscription.next()
    assert raw is not None
    events = []
    for frame in raw.decode().strip().split("\n\n"):
        number, name, data = frame.split("\n")
        events.append((int(number[4:]), name[7:], json.loads(data[6:])))
    return events
