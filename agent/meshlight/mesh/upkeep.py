"""Keeps links, probes and counts in step with the list of backends."""

from meshlight.mesh.links import Links
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.traffic import Traffic


class Upkeep:
    """Follows the registry: what is there and enabled has a link and is probed, what is gone has neither."""

    def __init__(self, registry: Registry, links: Links, prober: Prober, traffic: Traffic) -> None:
        self._registry = registry
        self._links = links
        self._prober = prober
        self._traffic = traffic
        registry.listen(self._on_change)

    def try_secrets(self) -> None:
        """Probe at once what could not be probed for want of a secret: the keyring is open now."""
        for backend_id, node in self._registry.snapshot.nodes.items():
            if node.backend.enabled and node.health.reason.code.startswith("secret-"):
                self._prober.unwatch(backend_id)
                self._prober.watch(backend_id)

    def _on_change(self, change: Change) -> None:
        for backend_id in change.removed:
            self._prober.unwatch(backend_id)
            self._links.remove(backend_id)
            self._traffic.forget(backend_id)
        for backend_id in change.shape:
            backend = self._registry.node(backend_id).backend
            old = self._links.get(backend_id)
            if self._links.put(backend) is not old:
                self._prober.unwatch(backend_id)  # a running probe is of the old address
            if backend.enabled:
                self._prober.watch(backend_id)
            else:
                self._prober.unwatch(backend_id)
