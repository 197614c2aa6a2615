"""Whatever happens, the secret key and the tokens are in no log, no error and no repr."""

import logging

import pytest

from backends.backend_ai.cluster_rig import rig
from meshlight.domain.errors import RouteUnavailable
from meshlight.simulator.backend_ai.manager import ACCESS_KEY, ClusterFault, SimulatedCluster

CANARY = "canary-7f3a-secret-key"
FAULTS: tuple[ClusterFault | None, ...] = (
    None, "ip", "no-rights", "no-permission", "failing", "token-500", "new-version", "redirect", "web-ui"
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_known", [True, False])
async def test_no_secret_comes_to_light(
    fault: ClusterFault | None, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []
    async with rig(SimulatedCluster(life_s=100)) as r:
        r.cluster.keys[ACCESS_KEY] = CANARY if is_known else "another"
        r.secret = CANARY
        for at_s, trouble in ((0, None), (10, fault), (200, fault)):
            r.now, r.cluster.fault = at_s, trouble
            seen.append(await r.probe())
            try:
                way = await r.channel.route("llama-chat", r.secret)
            except RouteUnavailable as error:
                seen += [error, error.why, error.hint]
            else:
                seen.append(way)
        channel = r.channel
        parts = (channel, channel._manager, channel._manager._auth, channel._tokens, channel._tokens._tokens)
        told = "\n".join(map(repr, (*seen, *parts))) + caplog.text
        tokens = [token.text for token in channel._tokens._tokens.values()]
        requests = [seen for seen in r.cluster.request_log.entries if CANARY in repr(seen)]
    assert CANARY not in told
    assert not any(token in told for token in tokens)
    assert requests == []
    assert bool(tokens) is is_known or fault is not None
