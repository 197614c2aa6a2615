"""This machine's models with real engines behind the whole service."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.local_views import LocalModelView
from node import Node
from process_fixture import Home, is_alive, wait_until
from real.engines import llama_server
from real.tiny_gguf import answer_of, write_gguf
from servers.fake_hub import FakeHub, Repository

WITHIN_S = 30.0
NAMES = ("tiny-a", "tiny b 한")
MISSING_RUNNER = sys.platform == "win32"
pytestmark = pytest.mark.skipif(MISSING_RUNNER, reason="the engines of the tests are for other systems")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models that say their names."""
    llama_server()  # skips before anything is made
    folder = tmp_path_factory.mktemp("models") / "my models ü"
    folder.mkdir()
    for name in NAMES:
        write_gguf(folder / f"{name}.gguf", name)
    return folder


def local(folder: Path, *lines: str, runner: str = "llama-server") -> str:
    """The settings of a machine that knows this folder alone."""
    return "\n".join(
        [
            "[local]",
            f"folders = [{json.dumps(str(folder))}]",
            "look_in = []",
            f'runner = "{runner}"',
            f"llama_server = {json.dumps(str(llama_server()))}",
            *lines,
        ]
    )


@asynccontextmanager
async def machine(home: Path, settings: str) -> AsyncIterator[Node]:
    """A running service that has found the models."""
    async with Node(home, (), settings, ping_s=0.05) as node:
        await until(node, lambda: LOCAL_ID in node.service._registry.snapshot.nodes)
        await node.refresh()
        yield node


async def until(node: Node, holds: Callable[[], bool]) -> None:
    """Wait, by the event stream, until something holds."""
    async with asyncio.timeout(WITHIN_S), node.http.stream("GET", "/mesh/events", timeout=WITHIN_S) as events:
        async for _ in events.aiter_lines():
            if holds():
                return
    raise AssertionError("the events ended")


def view(node: Node, model: str) -> LocalModelView:
    return node.service._local.model(model)


def engines_of(folder: Path, pid: int | None = None) -> list[psutil.Process]:
    """The processes below one (this one) that run a model of the folder."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(process)
    return found


@pytest.mark.parametrize("runner", ["llama-server", "xllamacpp"])
async def test_a_request_loads_its_model_and_twenty_start_one_engine(
    tmp_path: Path, models: Path, runner: str
) -> None:
    async with machine(tmp_path, local(models, runner=runner)) as node:
        listed = (await node.http.get("/v1/models")).json()["data"]
        assert {model["id"] for model in listed} == set(NAMES)
        assert not engines_of(models), "a list loads nothing"
        answers = await asyncio.gather(*(node.chat(NAMES[0]) for _ in range(20)))
        said = {answer.json()["choices"][0]["message"]["content"] for answer in answers}
        assert said == {answer_of(NAMES[0])}
        assert {answer.json()["model"] for answer in answers} == {NAMES[0]}
        assert len(engines_of(models)) == 1
        other = await node.chat(NAMES[1])
        assert other.json()["choices"][0]["message"]["content"] == answer_of(NAMES[1])
        assert len(engines_of(models)) == 2
        loaded = view(node, NAMES[1])
        assert (loaded.state, loaded.in_flight) == ("ready", 0)
        assert loaded.runner
        await node.refresh()
        details = (await node.backend(LOCAL_ID))["details"]
        assert all(details[name]["loaded"] for name in NAMES)
        await node.service._local.unload(NAMES[0])
        assert len(engines_of(models)) == 1
    assert not engines_of(models), "the end of the service is theirs"


async def test_idle_models_are_unloaded_and_kept_ones_are_loaded_at_the_start(
    tmp_path: Path, models: Path
) -> None:
    keep = f'[[local.models]]\nid = "{NAMES[1]}"\nkeep = true'
    async with machine(tmp_path, local(models, "idle_s = 0.1", keep)) as node:
        await until(node, lambda: view(node, NAMES[1]).state == "ready")
        assert (await node.chat(NAMES[0])).status_code == 200
        await until(node, lambda: view(node, NAMES[0]).state == "on-disk")
        assert view(node, NAMES[1]).state == "ready"
        assert len(engines_of(models)) == 1


async def test_an_engine_that_is_killed_ends_its_stream_by_an_error_and_starts_again(
    tmp_path: Path, models: Path
) -> None:
    async with machine(tmp_path, local(models)) as node:
        body = {
            "model": NAMES[0],
            "messages": [{"role": "user", "content": "LOOP"}],
            "stream": True,
            "max_tokens": 100_000,
        }
        async with node.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            [engine] = engines_of(models)
            engine.kill()
            rest = [line async for line in lines]
        error = next(json.loads(line[6:])["error"] for line in reversed(rest) if '"error"' in line)
        assert error["code"] == "backend_broke"
        assert "The system ended" in error["message"], "the engine's own reason"
        assert (await node.backend(LOCAL_ID))["health"]["state"] == "healthy"
        assert (await node.chat(NAMES[0])).status_code == 200


async def test_the_apis_show_load_and_unload_them_and_say_so_by_events(tmp_path: Path, models: Path) -> None:
    name = NAMES[0]
    async with machine(tmp_path, local(models)) as node:
        shown = (await node.http.get("/mesh/models")).json()
        assert [model["id"] for model in shown["models"]] == sorted(NAMES)
        assert shown["can_run"]
        assert {runner["name"] for runner in shown["runners"] if runner["is_usable"]} >= {"llama-server"}
        assert str(models) not in json.dumps(shown), "never a path"
        async with node.http.stream("GET", "/mesh/events") as events:
            lines = events.aiter_lines()
            loaded = await node.http.post("/mesh/models/load", json={"model": name, "wait": True})
            assert (loaded.status_code, loaded.json()["state"]) == (200, "ready")
            async with asyncio.timeout(WITHIN_S):
                seen: dict[str, str] = {}
                async for line in lines:
                    if line.startswith("data: ") and '"memory"' in line:
                        seen |= {model["id"]: model["state"] for model in json.loads(line[6:])["models"]}
                    if seen.get(name) == "ready":
                        break
        listed = (await node.http.get("/api/ps")).json()["models"]
        assert [model["name"].removesuffix(":latest") for model in listed] == [name]
        log = (await node.http.get("/mesh/models/log", params={"model": name})).json()
        assert log["lines"]
        assert str(models) not in json.dumps(log)
        unloaded = await node.http.post("/mesh/models/unload", json={"model": name})
        assert (unloaded.status_code, unloaded.json()["state"]) == (200, "on-disk")
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": False,
            "keep_alive": 0,
        }
        answer = await node.http.post("/api/chat", json=body)
        assert answer.json()["message"]["content"] == answer_of(name)
        await until(node, lambda: view(node, name).state == "on-disk")
        await node.http.patch("/mesh/models", json={"model": name, "keep": True})
        assert "keep = true" in node.config_file.read_text(encoding="utf-8")
        await until(node, lambda: view(node, name).state == "ready")
        refused = await node.http.delete("/mesh/models", params={"model": name})
        assert refused.status_code == 409
        assert (models / f"{name}.gguf").exists()


async def test_a_model_that_is_pulled_answers_and_can_be_deleted(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (models / f"{NAMES[0]}.gguf").read_bytes()
    async with FakeHub(**{"Owner/Tiny-GGUF": Repository({"tiny-Q8_0.gguf": weights})}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        empty = tmp_path / "empty"
        empty.mkdir()
        async with Node(tmp_path / "home", (), local(empty), ping_s=0.05) as node:
            await until(node, lambda: node.service._local.view().can_run)
            assert (await node.http.get("/v1/models")).json()["data"] == []
            pulled = await node.http.post("/mesh/models/pull", json={"name": "Owner/Tiny-GGUF:Q8_0"})
            assert pulled.status_code == 202, pulled.text
            await until(node, lambda: "Owner/Tiny-GGUF:Q8_0" in node.service._registry.snapshot.routes)
            answer = await node.chat("Owner/Tiny-GGUF:Q8_0")
            assert answer.json()["choices"][0]["message"]["content"] == answer_of(NAMES[0])
            shown = (await node.http.get("/mesh/models")).json()
            assert [model["can_delete"] for model in shown["models"]] == [True]
            model = {"model": "Owner/Tiny-GGUF:Q8_0"}
            assert (await node.http.delete("/mesh/models", params=model)).status_code == 409, "it is loaded"
            await node.http.post("/mesh/models/unload", json=model)
            gone = await node.http.delete("/mesh/models", params=model)
            assert gone.is_success, gone.text
            assert not list((tmp_path / "home" / "models").rglob("*.gguf"))
            await until(node, lambda: LOCAL_ID not in node.service._registry.snapshot.nodes)


async def test_what_can_t_be_loaded_says_why(tmp_path: Path, models: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    write_gguf(folder / "good.gguf", "good")
    settings = local(folder, '[[local.models]]\nid = "good"\nargs = ["--threads", "nonsense"]')
    async with machine(tmp_path / "home", settings) as node:
        del models
        answer = await node.chat("good")
        assert answer.status_code == 503
        assert "retry-after" not in answer.headers or int(answer.headers["retry-after"]) > 5
        assert view(node, "good").state == "failed"
        assert view(node, "good").reason is not None
        again = await node.chat("good")
        assert again.status_code == 503
        assert int(again.headers["retry-after"]) > 1
        assert node.service._local.log("good").lines
        (folder / "second.gguf").write_bytes((folder / "good.gguf").read_bytes()[:100_000])
        await node.service._local.refresh()
        assert [one.name for one in node.service._local.view().rejected] == ["second.gguf"]
        (folder / "good.gguf").unlink()
        await node.service._local.refresh()
        await until(node, lambda: "good" not in node.service._registry.snapshot.routes)
        gone = await node.chat("good")
        assert gone.status_code == 503
        assert "not there" in gone.text


async def test_the_settings_are_followed_while_it_runs(tmp_path: Path, models: Path) -> None:
    async with machine(tmp_path, local(models)) as node:
        assert (await node.chat(NAMES[0])).status_code == 200
        good = node.config_file.read_text(encoding="utf-8")
        node.config_file.write_text(good.replace("look_in = []", 'memory = "lots"'), encoding="utf-8")
        await until(node, lambda: bool(node.service._settings.notices()))
        assert "local.memory" in node.service._settings.notices()[0]
        assert (await node.chat(NAMES[0])).status_code == 200, "the last good ones stay in force"
        off = good.replace("[local]", "[local]\nenabled = false")
        node.config_file.write_text(off, encoding="utf-8")
        await until(node, lambda: LOCAL_ID not in node.service._registry.snapshot.nodes)
        await until(node, lambda: not engines_of(models))
        assert (await node.chat(NAMES[0])).status_code == 404
        node.config_file.write_text(good, encoding="utf-8")
        await until(node, lambda: NAMES[0] in node.service._registry.snapshot.routes)
        assert (await node.chat(NAMES[0])).status_code == 200


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Home:
    """A folder for a service that runs as a process of its own."""
    return Home(tmp_path / "home", "[lan]", "browse = false", local(models))


def test_no_engine_outlives_a_service_that_is_killed(home: Home, models: Path) -> None:
    for _ in range(2):  # and the next start begins with nothing left
        service = home.start("serve")
        try:
            wait_until(home.runtime_file.exists)
            assert _chat(home, NAMES[0]) == answer_of(NAMES[0])
            [engine] = engines_of(models, service.pid)
            service.send_signal(signal.SIGKILL)
            service.wait()
            wait_until(partial(_is_gone, engine.pid), 5.0)
            home.runtime_file.unlink()
        finally:
            service.kill()
            service.communicate()


def test_a_machine_without_models_has_no_backend_and_waits_for_none(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    home = Home(tmp_path / "home", "[lan]", "browse = false", local(folder))
    service = home.start("serve")
    try:
        wait_until(home.runtime_file.exists)
        assert _models(home) == []
        assert not (home.folder / "models").exists()
    finally:
        service.terminate()
        output, _ = service.communicate()
    assert "Traceback" not in output


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


def _chat(home: Home, model: str) -> str:
    """Ask until the service knows the model; return what it says."""
    key = (home.folder / "local.key").read_text().strip()
    said = ""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{home.port}",
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=WITHIN_S,
    ) as client:

        def answered() -> bool:
            nonlocal said
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
            answer = client.post("/v1/chat/completions", json=body)
            if answer.status_code == 200:
                said = str(answer.json()["choices"][0]["message"]["content"])
            return answer.status_code == 200

        wait_until(answered, WITHIN_S)
    return said


def _models(home: Home) -> list[str]:
    key = (home.folder / "local.key").read_text().strip()
    answer = httpx.get(
        f"http://127.0.0.1:{home.port}/v1/models",
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=30.0,
    )
    return [model["id"] for model in answer.json()["data"]]
