"""Each way in which a cluster may be set up wrongly, or be ill, in its own words with what to do next."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.backend_ai.cluster_rig import rig
from backends.certificates import server_context
from backends.playback import HANG, PAGE, Playback, answer
from meshlight.backends.backend_ai.diagnostics import refusal_reason
from meshlight.backends.backend_ai.limits import ClusterClock
from meshlight.domain.backend import Backend
from meshlight.http_client.reply import Reply
from meshlight.simulator.backend_ai.manager import SimulatedCluster
from meshlight.simulator.backend_ai.service import ClusterService

OLD_AND_NEW = pytest.mark.parametrize("legacy", [False, True], ids=["26.9.6", "23.09.10"])


@OLD_AND_NEW
async def test_a_wrong_secret_key(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        r.secret = "not the secret"
        why = await r.why()
    assert why.code == "unauthorized"
    assert "The secret key is wrong" in why.text
    assert "proxy" in why.text
    assert "trusted proxies" in why.fix


@OLD_AND_NEW
async def test_an_unknown_or_revoked_access_key(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        await r.healthy()
        r.cluster.keys.clear()
        why = await r.why()
    assert why.code == "unauthorized"
    assert "AKIADEMOCLUSTER00000 is unknown" in why.text
    assert "deactivated" in why.text


@OLD_AND_NEW
async def test_an_ip_address_that_is_not_allowed(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        r.cluster.fault = "ip"
        why = await r.why()
    assert why.code == "forbidden"
    assert "This computer's IP address is not allowed" in why.text
    assert "'127.0.0.1'" in why.text
    assert "VPN" in why.fix


@OLD_AND_NEW
async def test_a_key_without_login_rights(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        r.cluster.fault = "no-rights"
        why = await r.why()
    assert why.code == "unauthorized"
    assert "no login rights" in why.text
    assert "main pair of keys" in why.fix


@OLD_AND_NEW
async def test_an_account_without_the_permission_to_list_services(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        r.cluster.fault = "no-permission"
        why = await r.why()
    assert why.code == "forbidden"
    assert why.text.startswith("Signed in at 127.0.0.1")
    assert "no permission to list model services" in why.text


@OLD_AND_NEW
async def test_a_clock_that_may_not_be_corrected(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy), follow_clock=False) as r:
        r.ahead_s = 17 * 60
        why = await r.why()
    assert why.code == "clock-off"
    assert "clock is 17 min behind" in why.text
    assert "follow_clock" in why.fix


async def test_a_manager_whose_proxy_tells_another_time() -> None:
    """The Date header is the proxy's, so that the manager's own clock can't be seen."""
    async with rig() as r:
        gate = r.cluster._signature_check
        gate._clock = lambda: r.cluster.clock() + 3600
        why = await r.why()
    assert why.code == "clock-off"
    assert "its answers bear the same time" in why.text
    assert "proxy" in why.fix


async def test_a_clock_within_a_quarter_of_an_hour_is_let_through_and_warned_of() -> None:
    async with rig(follow_clock=False) as r:
        r.ahead_s = -14 * 60
        probe = await r.healthy()
    assert probe.warnings is not None
    assert "14 min ahead" in probe.warnings[0]


async def test_a_cluster_that_speaks_none_of_our_versions() -> None:
    async with rig() as r:
        r.cluster.fault = "new-version"
        why = await r.why()
        asked = [seen.target for seen in r.cluster.request_log.entries]
    assert why.code == "unsupported-version"
    assert "does not support the API versions" in why.text
    assert asked == ["/", "/auth?echo=meshlight", "/", "/auth?echo=meshlight"]  # renegotiated once


async def test_the_address_of_the_web_ui() -> None:
    async with rig() as r:
        r.cluster.fault = "web-ui"
        why = await r.why()
    assert why.code == "web-ui"
    assert "is the address of the Backend.AI web UI" in why.text
    assert "address of the manager's API" in why.fix


async def test_the_address_of_the_web_ui_with_the_path_to_its_functions() -> None:
    async with rig(url="CLUSTER/func") as r:
        r.cluster.fault = "web-ui"
        why = await r.why()
    assert why.code == "web-ui"


async def test_a_web_page_that_has_nothing_to_do_with_it() -> None:
    async with Playback({"*": PAGE}) as server, rig(url=server.url) as r:
        why = await r.why()
    assert why.code == "not-an-api"
    assert "web page" in why.text


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_the_page_of_a_proxy_without_its_manager(status: int) -> None:
    page = answer(b"<html><title>%d</title></html>" % status, status, Content_Type="text/html")
    async with Playback({"*": page}) as server, rig(url=server.url) as r:
        why = await r.why()
    assert why.code == "server-error"
    assert f"answers {status}: a proxy without its manager" in why.text
    assert "Wait a minute" in why.fix


async def test_a_manager_that_restarts_behind_its_proxy() -> None:
    async with rig() as r:
        await r.healthy()
        r.cluster.fault = "restarting"
        why = await r.why()
        asked = [seen.target for seen in r.cluster.request_log.entries][-2:]
        r.cluster.fault = None
        await r.healthy()
    assert why.code == "server-error"
    assert "may be restarting" in why.text
    assert asked == ["/services", "/"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_proxy_that_wants_a_login_of_its_own(status: int) -> None:
    page = answer(b"<html>login</html>", status, Content_Type="text/html")
    async with Playback({"*": page}) as server, rig(url=server.url) as r:
        why = await r.why()
    greeting = answer({"version": "v9.20250722"})
    async with Playback({"/": greeting, "*": page}) as server, rig(url=server.url) as r:
        signed = await r.why()
    for found in (why, signed):
        assert found.code == "proxy-refuses"
        assert f"refuses requests ({status}); the manager itself was not reached" in found.text


async def test_a_page_with_404_names_its_status() -> None:
    page = answer(b"<html>none</html>", 404, Content_Type="text/html")
    async with Playback({"*": page}) as server, rig(url=server.url) as r:
        why = await r.why()
    assert why.code == "not-an-api"
    assert "a web page (404)" in why.text


async def test_another_api() -> None:
    async with Playback({"*": answer({"object": "list"})}) as server, rig(url=server.url) as r:
        why = await r.why()
    assert why.code == "not-this-kind"


async def test_an_address_that_leads_on_is_not_followed() -> None:
    async with rig() as r:
        r.cluster.fault = "redirect"
        why = await r.why()
    assert why.code == "redirected"
    assert "https://elsewhere.example/" in why.text
    assert "signature" in why.text


async def test_nothing_listens() -> None:
    async with rig() as r:
        await r.healthy()
        await r.cluster.stop()
        why = await r.why()
        await r.cluster.start()
    assert why.code == "refused"
    assert why.text.startswith("Connection refused at 127.0.0.1")
    assert "administrator" in why.fix


async def test_a_manager_whose_database_is_down() -> None:
    async with rig() as r:
        await r.healthy()
        r.cluster.fault = "failing"
        why = await r.why()
        asked = [seen.target for seen in r.cluster.request_log.entries][-2:]
    assert why.code == "manager-failing"
    assert "is up but failing internally" in why.text
    assert "500" in why.text
    assert asked == ["/services", "/"]  # one unsigned question tells failing from unreachable


async def test_a_manager_that_hangs() -> None:
    async with rig() as r:
        await r.healthy()
        r.client.timeouts_s["/services"] = 0.1
        r.cluster.fault = "hang"
        why = await r.why()
    assert why.code == "manager-failing"
    assert "does not answer in time" in why.text


async def test_a_manager_that_says_nothing_at_all() -> None:
    async with Playback({"*": HANG}) as server, rig(url=server.url) as r:
        r.client.timeouts_s["/"] = 0.1
        why = await r.why()
    assert why.code == "timed-out"


async def test_a_certificate_of_an_unknown_authority_offers_a_ca_file_and_one_that_is_given_is_used(
    tmp_path: Path,
) -> None:
    context, authority = server_context("good")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority)
    async with tls_manager(context, []) as url:
        async with rig(url=url) as r:
            why = await r.why()
        async with rig(url=url, ca_file=str(ca_file)) as r:
            await r.healthy()
        async with rig(url=url, ca_file=str(tmp_path / "none.pem")) as r:
            lost = await r.why()
    assert why.code == "tls"
    assert "CA file" in why.fix
    assert "always checked" in why.fix
    assert lost.fix.startswith("Check the path of the CA file")


async def test_a_service_that_is_reached_without_tls_behind_a_manager_with_it_is_warned_of(
    tmp_path: Path,
) -> None:
    context, authority = server_context("good")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority)
    service = ClusterService("plain", is_public=True)
    async with rig(SimulatedCluster([service])) as r, tls_manager(context, [service.entry()]) as url:
        async with rig(url=url, ca_file=str(ca_file)) as secure:
            probe = await secure.healthy()
        assert probe.warnings == (
            "The manager is reached by https, but these services by plain http: plain.",
        )
        assert (await r.healthy()).warnings == ()


@pytest.mark.parametrize(
    ("access_key", "secret", "text"),
    [
        ("", "s", "access key of this cluster is not given"),
        ("AKIA", None, "secret key of this cluster is not given"),
        ("AKIA:b", "s", "letters that no access key has"),
        ("AKIÄ", "s", "letters that no access key has"),
        ("AKIA", "a\nb", "line break"),
    ],
)
async def test_keys_that_can_not_be_right_are_not_even_tried(
    access_key: str, secret: str | None, text: str
) -> None:
    async with rig(access_key=access_key) as r:
        r.secret = secret
        why = await r.why()
        assert not r.cluster.request_log.entries
    assert why.code == "unauthorized"
    assert text in why.text


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"\xff\xfe", b'{"msg": 5}', b'{"title": "x\\u0000\\u202e"}', b"[" * 100_000],
)
@pytest.mark.parametrize("status", [204, 301, 400, 401, 403, 404, 418, 429, 500, 503])
def test_no_answer_is_without_words_or_with_control_characters(status: int, body: bytes) -> None:
    backend = Backend(
        id="c", name="c", kind="cluster", ring="company", url="https://api.example", access_key="AKIA"
    )
    headers = ((b"content-type", b"application/problem+json"),)
    reply = Reply(status=status, headers=headers, body=body, elapsed_s=0.0, reused=False)
    why = refusal_reason(reply, backend, ClusterClock(lambda: 0.0, follows=True))
    assert why.text.isprintable()
    assert why.fix.isprintable()
    assert why.code
    assert why.text


@asynccontextmanager
async def tls_manager(context: ssl.SSLContext, services: list[object]) -> AsyncIterator[str]:
    """A manager behind TLS that checks no signature."""
    answers = {
        "/": answer({"version": "v9.20250722", "manager": "26.9.6"}),
        "/auth?echo=meshlight": answer({"authorized": "yes"}),
        "/services": answer(services),
    }
    async with Playback(answers, tls=context) as server:
        yield server.url
