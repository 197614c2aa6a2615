"""What the lane hands over to a task."""

from msgspec import Struct

from meshlight.gateway.inference.attempt import SentAttempt, StartedResponse
from meshlight.gateway.inference.route_trial import RouteTrial
from meshlight.gateway.inference.sinks import Renaming
from meshlight.gateway.inference.streaming import UsageTap
from meshlight.gateway.inference.timeouts import Cause


class Begun(Struct, frozen=True, kw_only=True):
    """A request that was begun in the lane, and goes on in a task."""

    trial: RouteTrial
    since: float
    """When it was sent, in seconds of the event loop."""
    sent: SentAttempt | None = None
    """The request, while nothing of the answer has been passed on."""
    started: StartedResponse | None = None
    """The answer whose beginning has been passed on."""
    tap: UsageTap | None = None
    """What has been passed on of it."""
    cause: Cause | None = None
    """Why the wait is over, if it is."""
    renaming: Renaming | None = None
    """What names the model in the rest of the answer as the client did, if it has to."""
