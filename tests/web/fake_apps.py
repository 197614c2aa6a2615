"""What `/mesh/apps` answers for a fake mesh: the real texts, for its models."""

from meshlight.domain.backend import Backend
from meshlight.domain.health import Health
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.gateway.control.app_text_source import AppTexts
from meshlight.mesh.app_calls import AppCalls
from web.live_mesh import LiveMesh

KEY = "ml-a-local-key-for-the-page"


def app_texts(mesh: LiveMesh) -> AppTexts:
    """Return what makes the texts."""

    def snapshot() -> Snapshot:
        nodes = {
            view.id: Node(
                backend=Backend(id=view.id, name=view.name, kind=view.kind, ring=view.ring, url=view.url),
                health=Health(state=view.health.state),
                models=view.models,
                details=view.details,
            )
            for view in mesh.views.values()
        }
        return Snapshot(nodes=nodes, routes=index(nodes))

    return AppTexts(snapshot, AppCalls(lambda: 0.0), "http://127.0.0.1:6374", lambda: KEY)
