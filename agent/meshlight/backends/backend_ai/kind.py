"""A Backend.AI cluster: its manager is asked by signed requests, its services answer behind the app proxy.

Protocol: backend.ai-manager 23.09 to 26.9 (`GET /services`, `POST /services/{id}/token`, HMAC signing).
"""

from time import monotonic, time

from meshlight.backends.base import (
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    Field,
    HttpClient,
    Probe,
)
from meshlight.domain.backend import Backend
from meshlight.domain.operations import Operation
from meshlight.http_client.client import Upstream
from meshlight.http_client.response import Headers


class Cluster(BackendKind):
    """Given by the address of the manager's API and a pair of keys; its channel does all the work.

    The secret key signs and never leaves this machine: no header carries it.
    """

    kind = "cluster"
    label = "Backend.AI Cluster"
    about = "The model services of a company's Backend.AI cluster, by its API"
    group = "cluster"
    start = "Check with the cluster's administrator whether it is down"
    default_ring = "company"
    takes_models = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its address, the pair of keys, and the authority of a company that has its own."""
        return (
            Field(
                name="url",
                label="API endpoint",
                required=True,
                placeholder="https://api.backend.ai",
                hint="The address of the manager's API, not that of the web UI.",
            ),
            Field(
                name="access_key",
                label="Access key",
                required=True,
                placeholder="AKIA…",
                hint="In the web UI under your user menu, My Account.",
            ),
            Field(
                name="api_key",
                label="Secret key",
                required=True,
                is_secret=True,
                hint="Kept in the keyring. It signs requests and is never sent.",
            ),
            Field(
                name="ca_file",
                label="CA file",
                hint="Path of a PEM file, if your company has a certificate authority of its own.",
            ),
            Field(
                name="follow_clock",
                label="Follow its clock",
                default="true",
                hint="Sign by the cluster's clock when this machine's is off.",
            ),
        )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:  # noqa: ARG002 — it is added by hand
        """Recognise nothing: without keys there is nothing to use."""
        return None

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Check once, keeping nothing."""
        channel = self.open_channel(ChannelDeps(backend, upstream, Upstream, monotonic, time))
        try:
            return await channel.probe(backend, secret)
        finally:
            channel.close()

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:  # noqa: ARG002 — it is no token
        """Send no secret; what carries a token comes with the way to a service."""
        return ()

    def open_channel(self, means: ChannelDeps) -> Channel:
        """Keep clock, quota, tokens and models of one cluster."""
        # httpx takes a tenth of a second to import, which only those with a cluster shall wait for.
        from meshlight.backends.backend_ai.session import ClusterChannel  # noqa: PLC0415

        return ClusterChannel(means)
