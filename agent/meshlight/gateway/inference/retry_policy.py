"""When a request may be sent again, and by whom. The relay and its attempts decide nothing of this themselves.

A response is committed by its first body byte, for that byte is handed to the client at once. From then on nobody
retries: an answer that breaks off is shown as broken. Until then, three may send the request again:

1. The HTTP client (`resend`), once, on a new connection, when a kept-alive connection closed before any byte of an
   answer. A server closes resting connections, so the request was most probably never read. Not to metered
   backends: if it was read after all, the second one would be paid for too. A costly request is not even sent on a
   kept-alive connection (`new_connection`). What was sent twice counts twice in `x-meshlight-attempts`.
2. The attempt, to the same backend, when a refusal was about the form and no work was done: without a field that
   was declined (at most `FORM_RETRIES` times), in another protocol when the path is missing (once), with renewed
   credentials (once).
3. The relay, on the next route (`may_try_next`), at most `EXTRA_ATTEMPTS` times and within the `RetryBudget`.
   Always when nothing was sent, because the connection failed. When the request was sent and failed: a costly
   request only if the backend rejected it unprocessed, a request to a metered backend only if it answered.
   For the same reasons such a request stays with a backend that hangs (`may_leave`).

A route whose failure is final (it refused this request, not this backend's service), and a last-resort route, are
not followed by another one.
"""

from msgspec import Struct

from meshlight.domain.route_score import Tier
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.request import InferenceRequest

EXTRA_ATTEMPTS = 2
"""Routes that are tried after the first one."""
FORM_RETRIES = 4
"""How often one request is sent to the same backend again without a field that it declined."""


class RetryPolicy(Struct, frozen=True):
    """What may be done again for one request at one backend."""

    is_costly: bool
    """Whether doing the request twice costs or changes something: images, audio, stored responses, unknown paths."""
    is_metered: bool
    """Whether the backend charges for what it is sent."""
    new_connection: bool
    """Whether the request needs a connection that cannot be closing already."""
    resend: bool
    """Whether the HTTP client may send again when a kept-alive connection turns out to be closed."""
    may_leave: bool
    """Whether a request that was sent may leave a backend that went down before the first byte."""

    def may_try_next(self, failure: FailedAttempt) -> bool:
        """Whether the request may go to another backend after this failure."""
        if failure.is_final:
            return False
        if not failure.was_sent:
            return True
        if self.is_costly and not failure.was_free:
            return False
        return failure.was_answered or not self.is_metered


_POLICIES = {
    (is_costly, is_metered): RetryPolicy(
        is_costly,
        is_metered,
        new_connection=is_costly,
        resend=not is_metered,
        may_leave=not (is_costly or is_metered),
    )
    for is_costly in (False, True)
    for is_metered in (False, True)
}


def policy_for(*, is_costly: bool, is_metered: bool) -> RetryPolicy:
    """Return the policy for a request at a backend."""
    return _POLICIES[is_costly, is_metered]


def allows_next(inbound: InferenceRequest, failures: list[FailedAttempt], last_tier: Tier) -> bool:
    """Whether another route may be tried at all after these failures, the last one on a route of `last_tier`."""
    if len(failures) > EXTRA_ATTEMPTS or last_tier == "last-resort":
        return False
    last = failures[-1]
    return policy_for(is_costly=inbound.is_costly, is_metered=last.backend.is_metered).may_try_next(last)
