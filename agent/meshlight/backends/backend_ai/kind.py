"""The kind of backend that is a Backend.AI cluster: signed requests to its manager, services behind an app proxy.

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
from meshlight.http_client.reply import Headers


class Cluster(BackendKind):
    """Needs the address of the manager's API and a pair of keys; its channel does the work.

    The secret key signs requests and is never sent.
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
        """Return None: without keys nothing can be used."""
        return None

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Check once, and keep nothing."""
        channel = self.open_channel(ChannelDeps(backend, upstream, Upstream, monotonic, time))
        try:
            return await channel.probe(backend, secret)
        finally:
            channel.close()

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:  # noqa: ARG002 — it only signs
        """Return no header: a service's token comes with the route to it."""
        return ()

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Return the channel, which keeps clock, quota, tokens and models of one cluster."""
        # httpx takes 0.1 s to import, which only users with a cluster need to wait for.
        from meshlight.backends.backend_ai.session import ClusterChannel  # noqa: PLC0415

        return ClusterChannel(deps)
