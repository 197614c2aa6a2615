"""The configuration in force."""

from meshlight.domain.config import Config
from meshlight.mesh.live_config import LiveConfig


def test_its_callbacks_follow_what_is_in_force() -> None:
    first, paused = Config(), Config(paused=True)
    live = LiveConfig(first)
    read, is_paused = live.read, live.is_paused
    before = read(), is_paused()
    live.config = paused
    assert (before, (read(), is_paused())) == ((first, False), (paused, True))
