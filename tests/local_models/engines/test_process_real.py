"""Real engines: llama.cpp's llama-server and the package xllamacpp."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from event_loops import on_each_loop
from local_models.big_gguf import write_big_gguf
from local_models.engines_here import (
    RUNNERS,
    client_of,
    mlx_starter,
    model_at,
    program_of,
    started,
    starter_of,
)
from meshlight.domain.backend import Reason
from meshlight.domain.config import HOST
from meshlight.local_models.engines import process
from meshlight.local_models.engines.guard import Guard, guard_for
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.engines.ports import free_port
from meshlight.local_models.engines.process import System
from meshlight.local_models.engines.starter import Starter
from meshlight.local_models.interfaces import EngineFailed
from process_fixture import is_alive, wait_until
from real.engines import mlx_python
from real.tiny_gguf import answer_of, write_gguf

pytestmark = [pytest.mark.real, pytest.mark.slow]
PARENT = Path(__file__).parents[1] / "engine_parent.py"
QUESTION = {"messages": [{"role": "user", "content": "hello"}]}
ENDLESS = {"messages": [{"role": "user", "content": "LOOP"}], "stream": True}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose path has all that a shell, a log or a careless program stumbles over."""
    folder = tmp_path_factory.mktemp("models") / "mödels of '한국'; $(x) --port"
    folder.mkdir()
    return write_gguf(folder / "tiny-a.gguf", "tiny-a")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_big_gguf(tmp_path_factory.mktemp("big") / "big.gguf")


@pytest.mark.parametrize("runner", RUNNERS)
async def test_it_answers_with_its_key_alone_and_shows_nothing(runner: str, tiny: Path) -> None:
    noted: list[bytes] = []
    starter = starter_of(runner, leftovers=Leftovers(lambda: b"", noted.append))
    engine = await started(starter, model_at(tiny), 2048, "--temp", "0", "--top-k=1")
    try:
        await engine.wait_ready()
        assert engine.progress == 1.0
        assert engine.resident_bytes() > 1_000_000
        async with client_of(engine) as client, client_of(engine, "wrong") as stranger:
            answer = (await client.post("/v1/chat/completions", json=QUESTION)).json()
            models = (await client.get("/v1/models")).json()
            refused = await stranger.post("/v1/chat/completions", json=QUESTION)
            page = await client.get("/")
        assert answer["choices"][0]["message"]["content"] == answer_of("tiny-a")
        assert models["data"][0]["id"] == engine.model_name == "owner/tiny-a:F16"
        assert refused.status_code == 401
        assert page.status_code == 404
        if sys.platform == "linux":
            argv = "\0".join(psutil.Process(engine.pid).cmdline())
            assert str(tiny) in argv
            assert engine.key not in argv
        log = "\n".join(engine.log())
        assert "tiny-a.gguf" in log
        assert str(tiny.parent) not in log
        assert engine.key not in log
        assert json.loads(noted[-1])[0]["pid"] == engine.pid
    finally:
        await engine.stop()
    assert not is_alive(engine.pid)
    assert json.loads(noted[-1]) == []
    assert engine.explain(await engine.ended).code == "stopped"


@pytest.mark.parametrize("runner", RUNNERS)
async def test_it_ends_while_it_streams(runner: str, tiny: Path) -> None:
    engine = await started(starter_of(runner), model_at(tiny))
    await engine.wait_ready()
    async with (
        client_of(engine) as client,
        client.stream("POST", "/v1/chat/completions", json=ENDLESS) as answer,
    ):
        await anext(answer.aiter_raw())
        await engine.stop(force=True)
    assert not is_alive(engine.pid)


@pytest.mark.parametrize("runner", RUNNERS)
async def test_it_ends_while_it_loads(runner: str, big: Path) -> None:
    engine = await started(starter_of(runner), model_at(big))
    waiting = asyncio.create_task(engine.wait_ready())
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineFailed, match="unloaded"):
        await waiting
    assert not is_alive(engine.pid)


@pytest.mark.parametrize("runner", RUNNERS)
async def test_it_says_why_it_did_not_start(runner: str, tiny: Path, tmp_path: Path) -> None:
    whole = await asyncio.to_thread(tiny.read_bytes)
    at = whole.index(b"general.architecture") + len(b"general.architecture") + 4 + 8
    files = {
        "incomplete": whole[: len(whole) // 2],
        "not-gguf": b"\x1b[31mThis is no model.\n" * 20,
        "too-old": whole[:at] + b"qwenx" + whole[at + 5 :],
    }
    starter = starter_of(runner)
    reasons = {}
    for code, content in files.items():
        path = tmp_path / f"{code}.gguf"
        path.write_bytes(content)
        reasons[code] = await _failure(starter, path)
    reasons["file-missing"] = await _failure(starter, tmp_path / "absent.gguf")
    assert {code: reason.code for code, reason in reasons.items()} == {code: code for code in reasons}
    assert reasons["too-old"].text == "This version of llama.cpp does not know qwenx."
    assert all(reason.fix and str(tmp_path) not in reason.text for reason in reasons.values())


async def _failure(starter: Starter, path: Path) -> Reason:
    engine = await started(starter, model_at(path))
    with pytest.raises(EngineFailed) as failed:
        await engine.wait_ready()
    assert str(path.parent) not in "".join(engine.log())
    return failed.value.reason


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_port_that_was_taken_meanwhile_costs_another_start(runner: str, tiny: Path) -> None:
    seen: list[bytes] = []

    async def answer_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    stranger = await asyncio.start_server(answer_everything, HOST, 0)
    ports = [stranger.sockets[0].getsockname()[1], free_port()]
    last = ports[-1]
    async with stranger:
        engine = await started(starter_of(runner, system=System(port=lambda: ports.pop(0))), model_at(tiny))
        try:
            await engine.wait_ready()
            assert engine.address.port == last
            async with client_of(engine) as client:
                assert (await client.get("/v1/models")).status_code == 200
        finally:
            await engine.stop(force=True)
    assert all(engine.key.encode() not in head for head in seen)


@pytest.mark.parametrize("runner", RUNNERS)
async def test_an_embedding_model_takes_more_than_512_tokens(runner: str, tiny: Path) -> None:
    model = model_at(tiny, purpose="embedding", pooling=1)
    engine = await started(starter_of(runner), model, 1024, "--pooling", "mean")
    try:
        await engine.wait_ready()
        async with client_of(engine) as client:
            answer = await client.post("/v1/embeddings", json={"input": "x" * 800})
        assert answer.status_code == 200, answer.text
    finally:
        await engine.stop(force=True)


def _minder(_has_children: bool) -> Guard:
    return guard_for(has_children=True)


@on_each_loop
async def test_each_loop_of_the_service_runs_it() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = model_at(write_gguf(Path(folder) / "tiny-b.gguf", "tiny-b"))
        for system in (System(), System(guard=_minder)):
            engine = await started(starter_of("llama-server", system=system), model)
            await engine.wait_ready()
            async with client_of(engine) as client:
                await client.post("/v1/chat/completions", json=QUESTION)
                async with client.stream("POST", "/v1/chat/completions", json=ENDLESS) as answer:
                    await anext(answer.aiter_raw())
                    await engine.stop(force=True)
            assert (await engine.ended).exit_code == -signal.SIGKILL
            assert engine.log()


async def test_a_killed_engine_is_noticed(tiny: Path) -> None:
    engine = await started(starter_of("llama-server"), model_at(tiny))
    await engine.wait_ready()
    os.kill(engine.pid, signal.SIGKILL)
    ending = await engine.ended
    assert ending.exit_code == -signal.SIGKILL
    assert engine.explain(ending).code == "killed"
    await engine.stop()


async def test_the_engines_log_is_read_seldom_once_it_is_loaded(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOG_PAUSE_S", 600.0)
    engine = await started(starter_of("llama-server"), model_at(tiny))
    await engine.wait_ready()
    reads: list[bytes] = []
    original = engine.written

    def written(data: bytes) -> None:
        reads.append(data)
        original(data)

    engine.written = written  # type: ignore[method-assign]
    async with client_of(engine) as client:
        for _ in range(20):
            await client.post("/v1/chat/completions", json=QUESTION)
    await engine.stop()
    assert b"".join(reads).count(b"print_timing") > 20
    assert len(reads) < 6


@pytest.fixture
def parents() -> Iterator[list[subprocess.Popen[str]]]:
    all_: list[subprocess.Popen[str]] = []
    yield all_
    for parent in all_:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()


@pytest.mark.parametrize(
    ("runner", "guard"),
    [
        *((runner, "") for runner in RUNNERS),
        ("llama-server", "minder"),
    ],  # the guard does not depend on the engine
)
@pytest.mark.parametrize("state", ["idle", "loading", "streaming"])
def test_it_dies_with_the_service(
    runner: str, state: str, guard: str, tiny: Path, big: Path, parents: list[subprocess.Popen[str]]
) -> None:
    model = big if state == "loading" else tiny
    words = [sys.executable, str(PARENT), runner, program_of(runner), str(model), state]
    parent = subprocess.Popen([*words, *filter(None, [guard])], stdout=subprocess.PIPE, text=True)
    parents.append(parent)
    assert parent.stdout is not None
    pids = json.loads(parent.stdout.readline())
    assert len(pids) == (2 if guard else 1)
    assert all(map(is_alive, pids))
    parent.kill()
    parent.wait()
    for pid in pids:
        wait_until(lambda: not is_alive(pid))  # noqa: B023 - called at once


async def test_mlx_runs_a_folder(tmp_path: Path) -> None:
    program = mlx_python().with_name("mlx_lm.server")
    if not program.is_file():
        pytest.skip("mlx_lm has no program here")
    folder = tmp_path / "tiny mlx"
    maker = Path(__file__).parents[2] / "real" / "tiny_mlx.py"
    command = [str(mlx_python()), str(maker), str(folder)]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True, timeout=60))
    starter = mlx_starter(program, tmp_path)
    engine = await started(starter, model_at(folder, format="mlx"))
    try:
        await engine.wait_ready()
        async with client_of(engine) as client:
            asked = QUESTION | {"model": engine.model_name, "max_tokens": 4}
            answer = await client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == 200
        assert str(folder) not in answer.text
    finally:
        await engine.stop(force=True)
    (folder / "model.safetensors").write_bytes(b"nothing")
    engine = await started(starter, model_at(folder, format="mlx"))
    with pytest.raises(EngineFailed) as failed:
        await engine.wait_ready()
    assert failed.value.reason.code == "incomplete", engine.log()
