"""The tokens of services: one for each, renewed in time, never asked for twice at once."""

import asyncio
import base64
import json

import pytest

from backends.backend_ai.cluster_rig import rig
from meshlight.backends.backend_ai.tokens import LIFE_MAX_S, RETRY_S, KeptTokens, Tokens
from meshlight.domain.backend import Reason
from meshlight.domain.errors import RouteUnavailable
from meshlight.simulator.backend_ai.manager import SimulatedCluster

MODEL = "llama-3.3-70b"


async def test_a_hundred_requests_at_once_ask_for_one_token() -> None:
    async with rig() as r:
        await r.healthy()
        r.now += 2 * LIFE_MAX_S
        tokens = await asyncio.gather(*(r.token(MODEL) for _ in range(100)))
        assert len(set(tokens)) == 1
        assert r.cluster.token_requests == 2  # one for the list of models, one now


async def test_a_token_is_asked_for_a_day_and_renewed_in_the_background_at_four_fifths_of_its_life() -> None:
    async with rig(SimulatedCluster(life_s=1000)) as r:
        await r.healthy()
        first = await r.token(MODEL)
        assert r.cluster.calls("/services/")[0].json() == {"duration": "24h"}
        r.now += 795
        assert await r.token(MODEL) == first
        await r.settle()
        assert r.cluster.token_requests == 1
        r.now += 10
        assert await r.token(MODEL) == first  # nobody waits for the new one
        await r.settle()
        assert r.cluster.token_requests == 2
        assert await r.token(MODEL) != first


async def test_a_refused_token_is_renewed_once_and_the_request_goes_through() -> None:
    async with rig() as r:
        await r.healthy()
        r.now += 60
        r.cluster.services[0].issuer.revoke()
        assert (await r.chat(MODEL)).status == 200
        assert r.cluster.token_requests == 2


async def test_a_hundred_refusals_at_once_ask_for_one_new_token() -> None:
    async with rig() as r:
        await r.healthy()
        r.now += 60
        r.cluster.services[0].issuer.revoke()
        replies = await asyncio.gather(*(r.chat(MODEL) for _ in range(100)))
        assert {reply.status for reply in replies} == {200}
        assert r.cluster.token_requests == 2


async def test_a_service_that_refuses_new_tokens_too_is_not_given_one_after_another() -> None:
    async with rig() as r:
        await r.healthy()
        r.now += 60
        service = r.cluster.services[0]
        service.clock = lambda: 1e12  # by its clock every token has ended
        replies = [await r.chat(MODEL) for _ in range(20)]
        assert {reply.status for reply in replies} == {401}
        assert b"E20008" in replies[-1].body
        assert r.cluster.token_requests == 2


async def test_a_refusal_by_the_model_itself_renews_nothing() -> None:
    async with rig() as r:
        await r.healthy()
        assert not r.channel.renew(MODEL, 401, b'{"error": {"message": "Incorrect API key"}}')
        assert not r.channel.renew(MODEL, 403, b"E20008")
        assert r.channel.renew(MODEL, 401, b'{"title": "E20008: Authorization token invalid"}')


async def test_a_token_that_has_ended_while_the_machine_slept_is_replaced() -> None:
    async with rig(SimulatedCluster(life_s=300)) as r:
        await r.healthy()
        r.now += 15
        r.slept_s = 3600
        assert (await r.chat(MODEL)).status == 200
        assert r.cluster.token_requests == 2


async def test_a_token_is_asked_for_by_the_cluster_s_clock_even_if_that_was_just_set() -> None:
    async with rig(SimulatedCluster(life_s=300)) as r:
        await r.healthy()
        r.now += 600
        r.ahead_s = 3600
        assert (await r.chat(MODEL)).status == 200


@pytest.mark.parametrize("legacy", [False, True])
async def test_an_app_proxy_that_the_manager_can_not_reach_is_said_so(legacy: bool) -> None:
    async with rig(SimulatedCluster(legacy=legacy)) as r:
        r.cluster.fault = "token-500"
        probe = await r.healthy()
        with pytest.raises(RouteUnavailable, match="app proxy is not reachable from its manager") as closed:
            await r.channel.route("llama-chat", r.secret)
    assert probe.models == ()
    assert probe.about is not None
    assert "app proxy is not reachable" in probe.about["Service llama-chat"]
    assert closed.value.why.code in {"no-token", "service-unusable"}


async def test_a_failed_wish_for_a_token_is_not_repeated_by_each_request() -> None:
    async with rig(SimulatedCluster(life_s=100)) as r:
        await r.healthy()
        r.now += 200
        r.cluster.fault = "token-500"
        for _ in range(10):
            with pytest.raises(RouteUnavailable):
                await r.token(MODEL)
        assert r.cluster.token_requests == 2
        r.cluster.fault = None
        r.now += RETRY_S
        assert await r.token(MODEL)


async def test_a_key_that_was_revoked_closes_the_way_in_words() -> None:
    async with rig(SimulatedCluster(life_s=100)) as r:
        await r.healthy()
        r.now += 200
        r.cluster.keys.clear()
        with pytest.raises(RouteUnavailable, match="is unknown at") as closed:
            await r.token(MODEL)
    assert closed.value.why.code == "unauthorized"


async def test_who_gives_up_waiting_does_not_take_the_token_from_the_others() -> None:
    asked = asyncio.Event()
    answer = asyncio.get_running_loop().create_future()

    async def issue(_: str) -> str | Reason:
        asked.set()
        return str(await answer)

    tokens = Tokens(issue, lambda: 0.0, lambda: 0.0)
    impatient, patient = (asyncio.ensure_future(tokens.get("s")) for _ in range(2))
    await asked.wait()
    impatient.cancel()
    answer.set_result("t")
    assert await patient == "t"


async def test_those_who_wait_when_the_cluster_is_removed_are_told() -> None:
    asked = asyncio.Event()

    async def issue(_: str) -> str | Reason:
        asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    tokens = Tokens(issue, lambda: 0.0, lambda: 0.0)
    waiting = asyncio.ensure_future(tokens.get("s"))
    await asked.wait()
    tokens.close()
    with pytest.raises(RouteUnavailable, match="changed or removed"):
        await waiting


class MemoryStore:
    """A token store in memory."""

    def __init__(self) -> None:
        self.sealed: dict[str, bytes] = {}

    def read(self, account: str) -> bytes:
        return self.sealed.get(account, b"")

    def write(self, account: str, sealed: bytes) -> None:
        self.sealed[account] = sealed


class Account:
    """The tokens of one account over restarts, on a clock of its own."""

    def __init__(self, store: MemoryStore) -> None:
        self.now = 1000.0
        self.issued = 0
        self.store = store
        self.restart()

    def restart(self, *, is_other_key: bool = False) -> None:
        secret = "another" if is_other_key else "secret"
        self.tokens = Tokens(
            self._issue, lambda: self.now - 900, lambda: self.now, KeptTokens(self.store, "a", secret)
        )

    async def _issue(self, service_id: str) -> str | Reason:
        self.issued += 1
        claims = json.dumps({"exp": self.now + 100, "n": self.issued}).encode()
        return f"a.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{service_id}"


async def test_a_token_is_used_after_a_restart_until_it_ends_and_renewed_in_time() -> None:
    account = Account(MemoryStore())
    first = await account.tokens.get("s")
    account.now += 50
    account.restart()
    assert await account.tokens.get("s") == first
    assert account.issued == 1
    account.now += 31  # more than four fifths of its life
    account.restart()
    assert await account.tokens.get("s") == first
    await asyncio.wait(account.tokens._requests.values())
    assert account.issued == 2
    account.now += 101
    account.restart()
    assert await account.tokens.get("s") != first
    assert account.issued == 3


async def test_a_kept_token_that_is_refused_is_replaced_and_forgotten() -> None:
    account = Account(MemoryStore())
    first = await account.tokens.get("s")
    account.restart()
    assert await account.tokens.get("s") == first
    account.tokens.refused("s")
    account.restart()
    assert await account.tokens.get("s") != first


async def test_kept_tokens_can_be_read_with_the_same_secret_key_alone() -> None:
    store = MemoryStore()
    account = Account(store)
    first = await account.tokens.get("s")
    assert first.encode() not in b"".join(store.sealed.values())
    assert "a." not in repr(KeptTokens(store, "a", "secret").load())
    assert [kept.text for kept in KeptTokens(store, "a", "secret").load()] == [first]
    assert KeptTokens(store, "a", "another").load() == []
    assert KeptTokens(store, "b", "secret").load() == []
    account.restart(is_other_key=True)
    assert await account.tokens.get("s") != first


@pytest.mark.parametrize("damage", [b"", b"x", b"x" * 12, b"x" * 500])
async def test_kept_tokens_that_are_damaged_are_requested_anew(damage: bytes) -> None:
    account = Account(MemoryStore())
    await account.tokens.get("s")
    account.store.sealed["a"] = damage
    account.restart()
    assert await account.tokens.get("s")
    assert account.issued == 2


@pytest.mark.parametrize("claims", [{}, {"exp": "soon"}, [], {"exp": 1e300}, {"exp": -5}])
async def test_a_token_with_an_odd_end_is_kept_within_a_minute_and_a_day(claims: object) -> None:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    tokens = Tokens(_never, lambda: 0.0, lambda: 1000.0)
    for text in (f"a.{part}.c", part, "a.%%%.c", "a.b", ""):
        assert 60.0 <= tokens._life_s(text) <= LIFE_MAX_S


async def _never(_: str) -> str | Reason:
    raise AssertionError
