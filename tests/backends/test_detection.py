"""Engines are detected by their answers, wherever they listen; other servers are left alone."""

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import get_args

import pytest

from backends.playback import BREAK, HANG, NOT_FOUND, PAGE, Playback, answer, probe
from meshlight.backends.detection import PORT_LIMIT_S, UNKNOWN_PAUSE_S, Detector, may_listen, usual_ports
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind
from meshlight.domain.health import Answered, Refused
from meshlight.http_client.client import Upstream
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FaultKind
from meshlight.simulator.profile import Dialect
from stopwatch import Stopwatch


def models(owner: str | None = None, name: str = "m") -> dict[str, object]:
    item = {"id": name, "object": "model"} | ({"owned_by": owner} if owner else {})
    return {"object": "list", "data": [item]}


LLAMACPP = {
    "/v1/models": answer(models("llamacpp"), Server="llama.cpp"),
    "*": answer({}, 404, Server="llama.cpp"),
}
OLLAMA = {
    "/": answer(b"Ollama is running"),
    "/api/version": answer({"version": "0.12.6"}),
    "/api/tags": answer({"models": [{"name": "m"}]}),
    "/v1/models": answer(models("library")),
}
VLLM = {"/v1/models": answer(models("vllm"), Server="uvicorn"), "/version": answer({"version": "0.11.0"})}
_PYTHON = "BaseHTTP/0.6 Python/3.11.7"
MLX = {
    "/v1/models": answer(models(), http="1.0", Server=_PYTHON),
    "/health": answer({"status": "ok"}, http="1.0", Server=_PYTHON),
    "*": answer(b"Not Found", 404, http="1.0", Server=_PYTHON),
}
LM_STUDIO = {
    "/v1/models": answer(models("organization_owner"), X_Powered_By="Express"),
    "/api/v0/models": answer(models(), X_Powered_By="Express"),
    "*": answer({"error": "Unexpected endpoint or method. (GET /)"}, X_Powered_By="Express"),
}
OTHER = {"/v1/models": answer(models("sglang"))}
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
USUAL: tuple[tuple[Kind, ...], ...] = (
    ("llamacpp", "mlx"),
    ("ollama",),
    ("vllm", "mlx"),
    ("lmstudio",),
    (),
    ("openai-compatible",),
)


def detector(ports: dict[int, Sequence[Kind]], clock: Callable[[], float] = monotonic) -> Detector:
    return Detector(Upstream, ports, clock=clock)


@pytest.mark.parametrize("usual", USUAL, ids=lambda kinds: kinds[0] if kinds else "none")
@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (LLAMACPP, "llamacpp"),
        (OLLAMA, "ollama"),
        (VLLM, "vllm"),
        (MLX, "mlx"),
        (LM_STUDIO, "lmstudio"),
        (OTHER, "openai-compatible"),
    ],
    ids=["llamacpp", "ollama", "vllm", "mlx", "lmstudio", "other"],
)
async def test_an_engine_is_recognised_on_whatever_usual_port_it_listens(
    answers: dict[str, bytes], kind: Kind, usual: tuple[Kind, ...]
) -> None:
    async with Playback(answers) as server:
        (found,) = await detector({server.port: usual}).scan()
        assert (found.kind, found.url, found.models) == (kind, server.url, ("m",))
        assert found.name.endswith(f" :{server.port}")
        assert len(server.asked) == len(set(server.asked)) <= 5


@pytest.mark.parametrize("usual", USUAL, ids=lambda kinds: kinds[0] if kinds else "none")
@pytest.mark.parametrize("answers", [{"*": PAGE}, {}, {"*": answer({"hello": 1})}, {"*": answer(b"", 302)}])
async def test_a_foreign_web_server_gets_three_requests_at_most(
    answers: dict[str, bytes], usual: tuple[Kind, ...]
) -> None:
    async with Playback(answers) as server:
        assert await detector({server.port: usual}).scan() == []
        assert 1 <= len(server.asked) <= 3
        assert all(head.startswith("GET ") for head in server.heads)


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ({"/v1/models": answer(models("sglang"))}, "SGLang"),
        (
            {"/v1/models": answer(models("lemonade")), "/api/v0/models": answer(models("lemonade"))},
            "Lemonade",
        ),
        ({"/v1/models": answer(models("koboldcpp", "koboldcpp/m"))}, "KoboldCpp"),
        ({"/v1/models": answer(models("humanity"))}, "GPT4All"),
        ({"/v1/models": answer(models()), "/": answer(b"<title>LocalAI API - 1</title>")}, "LocalAI"),
        ({"/v1/models": answer(models("user")), "/": answer(b"<TITLE>Jan API</TITLE>")}, "Jan"),
        ({"/v1/models": answer(models("user")), "/": answer(b"<title>My shop</title>")}, "OpenAI-compatible"),
        ({"/v1/models": answer(models("Your bank")), "/": answer(b"", 500)}, "OpenAI-compatible"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_server_of_openais_api_bears_the_name_that_it_says_if_it_is_one_that_is_known(
    answers: dict[str, bytes], name: str
) -> None:
    async with Playback(answers) as server:
        (found,) = await detector({server.port: ()}).scan()
        assert (found.kind, found.name) == ("openai-compatible", f"{name} :{server.port}")


def test_every_usual_port_of_a_known_engine_is_looked_at_and_none_of_our_own() -> None:
    ports = usual_ports()
    usual = {9931, 8080, 13305, 1337, 30000, 5001, 5000, 4891, 8000, 1234, 11434}
    assert usual <= ports.keys()
    assert ports.keys().isdisjoint({6374, 6375, 6376})


async def test_a_stranger_is_left_alone_for_a_minute_unless_the_user_wishes() -> None:
    now = 100.0
    async with Playback({"*": PAGE}) as server:
        scanner = detector({server.port: ("llamacpp",)}, lambda: now)
        await scanner.scan()
        asked = len(server.asked)
        await scanner.scan()
        assert len(server.asked) == asked
        await scanner.scan(force=True)
        assert len(server.asked) == 2 * asked
        server.answers = dict(LLAMACPP)
        now += UNKNOWN_PAUSE_S - 1
        assert await scanner.scan() == []
        now += 1
        assert [found.kind for found in await scanner.scan()] == ["llamacpp"]
        assert [found.kind for found in await scanner.scan()] == ["llamacpp"]


async def test_an_engine_that_starts_on_a_free_port_is_found_by_the_next_scan() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    scanner = detector({port: ("llamacpp",)})
    assert await scanner.scan() == []
    async with Playback(LLAMACPP, port=port):
        assert [found.kind for found in await scanner.scan()] == ["llamacpp"]


async def test_a_container_port_whose_engine_is_not_yet_up_is_tried_again_at_once() -> None:
    async with Playback({"*": BREAK}) as server:
        scanner = detector({server.port: ("vllm",)})
        assert await scanner.scan() == []
        server.answers = dict(VLLM)
        assert [found.kind for found in await scanner.scan()] == ["vllm"]


async def test_a_stranger_that_breaks_off_after_an_answer_is_left_alone_too() -> None:
    async with Playback({"/v1/models": PAGE, "*": BREAK}) as server:
        scanner = detector({server.port: ("llamacpp",)})
        await scanner.scan()
        asked = len(server.asked)
        assert await scanner.scan() == []
        assert len(server.asked) == asked


async def test_known_ports_are_not_asked() -> None:
    async with Playback(LLAMACPP) as server:
        assert await detector({server.port: ("llamacpp",)}).scan([server.port]) == []
        assert server.asked == []


async def test_a_hanging_port_delays_no_other_and_costs_a_second_and_a_half_at_most() -> None:
    async with AsyncExitStack() as stack:
        hanging = [await stack.enter_async_context(Playback({"*": HANG})) for _ in range(3)]
        slow = [
            await stack.enter_async_context(Playback({"/v1/models": NOT_FOUND, "*": HANG})) for _ in range(3)
        ]
        server = await stack.enter_async_context(Playback(LLAMACPP))
        ports: dict[int, Sequence[Kind]] = {each.port: USUAL[0] for each in (*hanging, *slow, server)}
        stopwatch = Stopwatch()
        (found,) = await detector(ports).scan()
        assert found.url == server.url
        assert stopwatch.elapsed_s < PORT_LIMIT_S + 0.3


async def test_a_port_has_a_limit_for_all_its_questions_together() -> None:
    async with Playback({"*": HANG}) as server:
        scanner = Detector(Upstream, {server.port: ("ollama",)}, limit_s=0.05)
        assert await scanner.scan() == []
        assert await scanner.scan() == []
        assert server.asked == ["/"]


async def test_what_listens_only_on_the_v6_loopback_is_found_there() -> None:
    try:
        async with Playback(LLAMACPP, "::1") as server:
            (found,) = await detector({server.port: ("llamacpp",)}).scan()
            assert found.url == f"http://[::1]:{server.port}"
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


async def test_no_connection_stays_open_after_a_scan() -> None:
    made: list[Upstream] = []

    def make(address) -> Upstream:  # type: ignore[no-untyped-def]  # noqa: ANN001
        made.append(Upstream(address))
        return made[-1]

    async with Playback(LLAMACPP) as server:
        await Detector(make, {server.port: ("llamacpp",)}).scan()
        await asyncio.sleep(0)
        assert [upstream.open for upstream in made] == [0]


async def test_a_list_too_large_or_no_http_at_all_is_a_stranger() -> None:
    async with (
        Playback({"*": b"220 mail.example ESMTP\r\n\r\n"}) as mail,
        Playback({"*": answer(b"x" * (9 << 20))}) as large,
    ):
        assert await detector({mail.port: ("vllm",), large.port: ("vllm",)}).scan() == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_demo_engines_are_found_as_what_they_play_and_are_healthy(dialect: Dialect) -> None:
    async with SimulatedEngine(dialect, models=("a", "b")) as engine:
        (found,) = await detector({engine.port: ("llamacpp", "mlx")}).scan()
        assert (found.kind, found.url, found.models) == (engine.kind, engine.url, ("a", "b"))
        probed = await probe(KINDS[found.kind], engine.url)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("a", "b")


@pytest.mark.parametrize("dialect", ["llamacpp", "vllm"])
async def test_a_demo_engine_that_wants_a_key_is_found_without_its_models(dialect: Dialect) -> None:
    async with SimulatedEngine(dialect, key="sk-1") as engine:
        (found,) = await detector({engine.port: ("llamacpp",)}).scan()
        assert (found.kind, found.models) == (engine.kind, ())
        assert isinstance((await probe(KINDS[found.kind], engine.url)).fact, Refused)
        assert isinstance((await probe(KINDS[found.kind], engine.url, "sk-1")).fact, Answered)


@pytest.mark.parametrize("fault", ["refuse", "garbage", "reset-headers", "close-early", "wrong-length"])
async def test_a_broken_engine_breaks_no_scan(fault: FaultKind) -> None:
    async with SimulatedEngine("llamacpp") as broken, SimulatedEngine("ollama") as good:
        await broken.fault(fault)
        scanner = detector({broken.port: ("llamacpp",), good.port: ("ollama",)})
        assert [found.url for found in await scanner.scan()] == [good.url]
        await broken.clear()
        assert len(await scanner.scan(force=True)) == 2


@pytest.mark.skipif(
    sys.platform == "win32", reason="there a connection to a closed port is refused after seconds"
)
def test_a_port_on_which_nobody_listens_is_known_without_a_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert may_listen("127.0.0.1", port)
    assert not may_listen("127.0.0.1", port)
