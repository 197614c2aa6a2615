"""The whole way with real processes: an engine on its usual port is found by itself, used, lost and found again."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import openai
import pytest
from openai import OpenAI

from meshlight.api_client.client import ApiClient
from meshlight.cli.ports import is_port_free, port_owner
from meshlight.domain.api_types import BackendView
from meshlight.domain.errors import ServiceError
from meshlight.domain.events import IncidentEvent
from real.client_contract import HELLO
from real.engines import HOST, Engine, llama_server, running_llama, running_mlx
from real.served import Served, serving
from real.tiny_gguf import answer_of, write_gguf
from stopwatch import Stopwatch

pytestmark = pytest.mark.real

PORT = 8080
"""Where llama.cpp's server and mlx_lm.server listen when nobody says otherwise, and so where they are looked for."""
LLAMA = f"llamacpp-{PORT}"
MLX = f"mlx-{PORT}"
MODEL = "tiny-found"
WAIT_S = 40.0
"""Guards against a test that hangs."""
FOUND_WITHIN_S = 5.0
NOTICED_WITHIN_S = 10.0
REPLACED_WITHIN_S = 15.0
"""A probe that meets an unknown server, then its detection."""


class Street:
    """A service without configuration, and the engine that listens at the usual port at the moment."""

    def __init__(self, served: Served, model_file: Path, engines: ExitStack, llama: Engine) -> None:
        self.served = served
        self._model_file = model_file
        self._engines = engines
        self._llama: Engine | None = llama

    def with_llama(self) -> Engine:
        """Return the llama-server of the port, which runs and is believed healthy after this."""
        if self._llama is None:
            self._engines.close()
            self._llama = self._engines.enter_context(running_llama(self._model_file, MODEL, port=PORT))
        self.served.wait(LLAMA, "healthy", within_s=WAIT_S)
        return self._llama

    def kill(self) -> None:
        """Kill the llama-server of the port."""
        if self._llama is not None:
            self._llama.kill()
            self._llama = None

    def with_mlx(self, model: Path) -> Engine:
        """Return an mlx_lm.server on the port, in place of what was there."""
        self.kill()
        return self._engines.enter_context(running_mlx(model, port=PORT))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A llama-server on 8080, then `meshlight serve`, whose home is an empty folder."""
    llama_server()  # skips before anything is made
    if not is_port_free(PORT):  # this is the test of what the project is for: it is never skipped
        who = port_owner(PORT)
        name = f"{who.name} (pid {who.pid})" if who else "another program"
        pytest.fail(f"{name} has port {PORT}, where this test needs its engine: stop it while the tests run")
    folder = tmp_path_factory.mktemp("found")
    model_file = write_gguf(folder / f"{MODEL}.gguf", MODEL)
    with ExitStack() as engines:
        llama = engines.enter_context(running_llama(model_file, MODEL, port=PORT))
        with serving(folder / "home") as served:
            yield Street(served, model_file, engines, llama)


def test_an_engine_on_its_usual_port_is_found_within_five_seconds_of_the_start(street: Street) -> None:
    street.served.wait(LLAMA, "healthy", within_s=WAIT_S)
    took_s = street.served.since_start.elapsed_s
    assert took_s < FOUND_WITHIN_S, f"found and healthy only {took_s:.2f} s after the start"
    print(f"found and healthy {took_s:.2f} s after the start")


def test_status_shows_it_healthy_with_its_model(street: Street) -> None:
    street.with_llama()
    screen, paper = street.served.word("status"), street.served.word("status", "--json")
    assert (screen.code, paper.code) == (0, 0), screen.out + screen.err
    row = next(line for line in screen.out.splitlines() if f"llama.cpp :{PORT}" in line)
    assert "healthy" in row
    assert MODEL in row
    shown = json.loads(paper.out)
    assert shown["light"] == "green"
    backend = next(b for b in shown["backends"] if b["id"] == LLAMA)
    assert backend["kind"] == "llamacpp"
    assert backend["source"] == "found"
    assert backend["health"]["state"] == "healthy"
    assert backend["models"] == [MODEL]
    assert backend["latency_ms"] > 0


def test_an_app_that_takes_what_env_prints_gets_a_streamed_answer(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    street.with_llama()
    take_env(street.served, monkeypatch)
    with OpenAI(max_retries=0) as client:
        stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        pieces = [piece for chunk in stream for choice in chunk.choices if (piece := choice.delta.content)]
    assert "".join(pieces) == answer_of(MODEL)
    assert len(pieces) > 5, "the answer came in one lump"


def test_the_words_that_look_say_what_is_there(street: Street) -> None:
    street.with_llama()
    word = street.served.word
    models, route, test_model, doctor, check = (
        word("models"),
        word("route", MODEL),
        word("test", "--json"),
        word("doctor", "--json"),
        word("backends", "check"),
    )
    assert models.code == 0, models.err
    assert any(MODEL in line and "llama.cpp" in line for line in models.out.splitlines()), models.out
    assert route.code == 0, route.err
    assert "llama.cpp" in route.out
    assert "Healthy" in route.out
    assert test_model.code == 0, test_model.err
    runs = json.loads(test_model.out)["runs"]
    assert [(run["backend"], run["ok"], run["text"]) for run in runs] == [(LLAMA, True, answer_of(MODEL))] * 3
    assert all(0 < run["first_token_ms"] <= run["total_ms"] for run in runs), runs
    findings = [finding["said"] for finding in json.loads(doctor.out)]
    assert any("answers at" in said and f":{PORT}" in said for said in findings), findings
    assert any("The service runs at" in said for said in findings), findings
    assert check.code == 0, check.out
    assert "answers" in check.out


def test_a_model_nobody_has_is_told_with_the_one_that_was_meant(street: Street) -> None:
    street.with_llama()
    asked = street.served.word("route", "tiny-fond")
    assert asked.code == 1
    assert MODEL in asked.out + asked.err


def test_a_killed_engine_is_told_within_ten_seconds_and_healed_within_ten_seconds_of_its_return(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = street.served
    street.with_llama()
    take_env(served, monkeypatch)
    reported = incidents(served)
    street.kill()
    since_kill = Stopwatch(served.process.pid)
    lost = served.wait(LLAMA, "unhealthy", "refused", within_s=WAIT_S)
    lost_s = since_kill.elapsed_s
    assert lost_s < NOTICED_WITHIN_S, f"unhealthy only {lost_s:.2f} s after the kill"
    assert lost.health.text.startswith(f"Connection refused at {HOST}:{PORT}")
    assert "llama-server" in lost.health.fix
    screen = served.word("status")
    assert screen.code == 2, screen.out
    assert f"Connection refused at {HOST}:{PORT}" in screen.out
    with OpenAI(max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match=f"Connection refused at {HOST}:{PORT}") as down:
            client.chat.completions.create(model=MODEL, messages=HELLO)
        assert down.value.status_code == 503
        assert [model.id for model in client.models.list()] == [MODEL], "it comes back, so it stays listed"

        since_restart = Stopwatch(served.process.pid)
        llama = street.with_llama()  # its own start takes some tenths of a second, and counts here
        since_restart.follow(llama.process.pid)
        healed_s = since_restart.elapsed_s
        assert healed_s < NOTICED_WITHIN_S, f"healthy only {healed_s:.2f} s after its restart"
        answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == answer_of(MODEL)
    assert served.word("status").code == 0
    assert reported.get(timeout=WAIT_S) == (LLAMA, "healthy", "unhealthy", "refused")
    came = reported.get(timeout=WAIT_S)
    if came == (LLAMA, "unhealthy", "warming", "loading"):  # a probe may come while it loads its model
        came = reported.get(timeout=WAIT_S)
    assert (came[0], *came[2:]) == (LLAMA, "healthy", "ok")
    print(f"unhealthy {lost_s:.2f} s after the kill, healthy {healed_s:.2f} s after its restart")


def test_another_kind_of_engine_on_the_same_port_takes_its_place(street: Street, mlx_model: Path) -> None:
    served = street.served
    street.with_llama()
    mlx = street.with_mlx(mlx_model)
    stopwatch = Stopwatch(served.process.pid, mlx.process.pid)
    found: BackendView = served.wait(MLX, "healthy", within_s=WAIT_S)
    took_s = stopwatch.elapsed_s
    assert took_s < REPLACED_WITHIN_S, f"found only {took_s:.2f} s after it was ready"
    assert (found.kind, found.models) == ("mlx", (mlx.model,))
    assert served.backend(LLAMA) is None
    with OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
        answer = client.chat.completions.create(model=mlx.model, messages=HELLO, max_tokens=8)
    assert answer.choices[0].message.content
    print(f"MLX in llama.cpp's place {took_s:.2f} s after it was ready")


def test_sigterm_ends_the_service_with_zero(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as served:
        assert served.word("status").code in {0, 1, 2, 3}
        assert served.end(signal.SIGTERM) == 0
        after = served.word("status")
    assert after.code == 4
    assert "isn't running" in after.err


def incidents(served: Served) -> Queue[tuple[str, str, str, str]]:
    """Read the events from now on; the queue gets each change of state: who, from, to, why."""
    reported = Queue[tuple[str, str, str, str]]()
    reads = Event()

    def read() -> None:
        with suppress(ServiceError), ApiClient.connect(served.home / "runtime.json") as mesh:
            for news in mesh.events():
                reads.set()  # the first is the whole mesh: what changes after it will be reported
                if isinstance(news, IncidentEvent):
                    reported.put((news.backend, news.from_, news.to, news.reason))

    Thread(target=read, daemon=True).start()  # it ends with the service
    assert reads.wait(timeout=WAIT_S), "the events did not begin"
    return reported


def take_env(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what `eval "$(meshlight env)"` does in a shell."""
    printed = served.word("env", "--shell", "sh")
    assert printed.code == 0, printed.err
    for line in printed.out.splitlines():
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            monkeypatch.setenv(name, value)
