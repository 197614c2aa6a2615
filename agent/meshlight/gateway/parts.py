"""The parts that answer requests, as the service's wiring makes them."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.api_types import Identity, SnapshotView
from meshlight.domain.config import Config
from meshlight.domain.errors import BadRequest
from meshlight.domain.local_views import LocalView
from meshlight.domain.proof import is_challenge
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.page import Page
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.relay import Relay


class GatewayParts(Struct, frozen=True, kw_only=True):
    """The parts that answer requests, made by the service's wiring."""

    inference: Inference
    relay: Relay
    """The one of `inference`."""
    events: Events
    page: Page
    view: Callable[[], SnapshotView]
    local_view: Callable[[], LocalView] | None = None
    """What there is of this machine's own models, where they are switched on."""
    sessions: Sessions
    identity: Identity
    url: str
    port: int
    is_key: Callable[[bytes], bool]
    is_app_key: Callable[[bytes], bool]
    prove: Callable[[str], str]
    """Answers a challenge with the local key."""
    settings: Callable[[], Config]
    """Returns the configuration in force."""
    write_link: Callable[[str, str, str], Path]
    """Writes a file that posts the code (second) to the address (first), for the browser (third)."""
    dependencies: dict[str, object]
    """The objects that the control handlers use, by the name of their parameter: publisher, registry, prober, …
    `local_models` is None where this machine's own models are switched off."""

    def identify(self, challenge: str | None = None) -> Identity:
        """Return which service this is, and with a challenge the proof of it; raises BadRequest for a wrong one."""
        if challenge is None:
            return self.identity
        if not is_challenge(challenge):
            raise BadRequest("The challenge is not 64 hex digits.", "Send 32 random bytes.", "challenge")
        return replace(self.identity, proof=self.prove(challenge))
