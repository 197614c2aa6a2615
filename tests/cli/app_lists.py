"""What `/mesh/apps` answers for a mesh of one backend."""

from api_client.local_api import KEY
from domain.test_routing import node
from meshlight.domain.app_views import AppList
from meshlight.domain.snapshot import Snapshot, index
from meshlight.gateway.control.app_text_source import AppTexts
from meshlight.mesh.app_calls import AppCalls


def listed(url: str, *models: str) -> AppList:
    """Return the list of a service at `url` with these models."""
    nodes = {"a": node("a", *models)}
    snapshot = Snapshot(nodes=nodes, routes=index(nodes))
    return AppTexts(lambda: snapshot, AppCalls(lambda: 0.0), url, lambda: KEY).view("")
