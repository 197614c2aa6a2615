"""The life of the service's process, from its first line to its exit code."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

WAIT_S = 30
SERVE = (sys.executable, "-m", "meshlight", "serve", "--port", "0", "--no-discovery")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals there are others")


class Process:
    """A running `meshlight serve`; `said` holds the lines it has written."""

    def __init__(self, popen: subprocess.Popen[str], home: Path) -> None:
        self.popen = popen
        self.home = home
        self.said: list[str] = []

    def line(self, mark: str) -> str:
        """Read on until a line with `mark` comes."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.said.append(line)
            if mark in line:
                return line
        raise AssertionError(f"it ended with {self.popen.wait()}: {''.join(self.said)}")

    @property
    def url(self) -> str:
        """Where it listens."""
        listens = next((line for line in self.said if " listens at " in line), None)
        return (listens or self.line(" listens at ")).split()[-1].removesuffix("/v1")

    @property
    def link(self) -> str:
        """The one-time link that it printed."""
        return self.line("/?code=").split()[-1]

    @property
    def runtime(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.home / "runtime.json").read_bytes())
        return found

    def wait(self) -> int:
        return self.popen.wait(timeout=WAIT_S)

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.wait()

    def client(self) -> httpx.Client:
        """A client with the local key."""
        url = self.url
        key = (self.home / "local.key").read_text().strip()
        return httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=WAIT_S
        )


@contextmanager
def serving(
    home: Path, *options: str, environ: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> Iterator[Process]:
    """Start the service with a home of its own, and end it however the test went."""
    popen = subprocess.Popen(
        [*SERVE, *options],
        stdin=stdin,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MESHLIGHT_HOME": str(home), **(environ or {})},
    )
    try:
        yield Process(popen, home)
    finally:
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stderr):
            if pipe is not None:
                pipe.close()


def meshlight(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run another word of the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "meshlight", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "MESHLIGHT_HOME": str(home)},
        timeout=WAIT_S,
        check=False,
    )


def test_the_runtime_file_leads_to_the_service_that_wrote_it_and_goes_with_it(tmp_path: Path) -> None:
    with serving(tmp_path) as service, service.client() as http_:
        file = tmp_path / "runtime.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        runtime = service.runtime
        assert (runtime["url"], runtime["pid"]) == (service.url, service.popen.pid)
        alive = httpx.get(f"{service.url}/healthz", trust_env=False, timeout=WAIT_S).json()
        assert (alive["status"], alive["service"], "instance" in alive) == ("ok", "meshlight", False)
        assert http_.get("/mesh/snapshot").status_code == 200
        assert stat.S_IMODE((tmp_path / "local.key").stat().st_mode) == 0o600
        assert service.stop() == 0
        assert not file.exists()


def test_the_runtime_file_comes_only_when_the_port_answers(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        file = tmp_path / "runtime.json"
        until = time.monotonic() + WAIT_S
        while not file.exists():
            assert time.monotonic() < until
            os.sched_yield()
        parts = urlsplit(str(service.runtime["url"]))
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        connection.request("GET", "/healthz")
        assert json.loads(connection.getresponse().read())["service"] == "meshlight"
        connection.close()


def test_the_link_it_prints_opens_the_page_once(tmp_path: Path) -> None:
    with serving(tmp_path) as service, httpx.Client(trust_env=False, timeout=WAIT_S) as browser:
        link = service.link
        opened = browser.get(link)
        assert opened.status_code in {200, 302, 303}
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        token = cookie.partition(";")[0]
        shown = browser.get(f"{service.url}/mesh/snapshot", headers={"cookie": token})
        assert shown.status_code == 200
        again = httpx.get(link, trust_env=False, timeout=WAIT_S)
        assert "set-cookie" not in again.headers
        assert httpx.get(f"{service.url}/mesh/snapshot", trust_env=False, timeout=WAIT_S).status_code == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_pages_follow_the_events(tmp_path: Path, number: signal.Signals) -> None:
    with (
        serving(tmp_path) as service,
        service.client() as http_,
        http_.stream("GET", "/mesh/events", timeout=WAIT_S) as events,
    ):
        lines = events.iter_lines()
        assert next(lines).startswith("id: ")
        service.popen.send_signal(number)
        for _ in lines:
            pass
        assert service.wait() == 0
        assert service.popen.stderr is not None
        assert "cut off" not in service.popen.stderr.read()  # as it says when its patience ends
        assert not (tmp_path / "runtime.json").exists()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    parent = {"MESHLIGHT_PARENT": "stdin"}
    with serving(tmp_path, environ=parent, stdin=subprocess.PIPE) as service:
        assert service.url
        assert service.popen.stdin is not None
        service.popen.stdin.close()
        assert service.wait() == 0


def test_a_child_that_is_told_to_stop_while_its_parent_lives_ends_cleanly(tmp_path: Path) -> None:
    parent = {"MESHLIGHT_PARENT": "stdin"}
    with serving(tmp_path, environ=parent, stdin=subprocess.PIPE) as service:
        assert service.url
        assert service.stop() == 0


def test_a_closed_stdin_alone_ends_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as service, service.client() as http_:
        assert http_.get("/mesh/snapshot").status_code == 200


def test_the_second_start_says_where_the_first_is(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        url = first.url
        with serving(tmp_path) as second:
            said = second.line("running already")
            assert url in said
            assert str(first.popen.pid) in said
            assert second.wait() == 3
        assert first.runtime["pid"] == first.popen.pid
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=WAIT_S).status_code == 200


class Stranger(BaseHTTPRequestHandler):
    """Another program's server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>not yours</html>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def stranger() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_port_that_another_program_has_is_named(tmp_path: Path) -> None:
    with stranger() as port, serving(tmp_path, "--port", str(port)) as service:
        said = service.line("taken by another program")
        assert str(port) in said
        assert "--port" in said
        assert service.wait() == 1
        assert not (tmp_path / "runtime.json").exists()


def test_a_broken_configuration_starts_on_the_last_good_one_and_says_the_line(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('name = "Good"\n')
    with serving(tmp_path) as service:
        assert service.url
        assert service.stop() == 0
    config.write_text('name = "Good"\nprot = 7\n')
    with serving(tmp_path) as service:
        assert "line 2" in service.line("prot")
        with service.client() as http_:
            shown = http_.get("/mesh/snapshot").json()
            assert shown["router"]["name"] == "Good"
            assert "line 2" in shown["notices"][0]


@pytest.mark.parametrize(
    "text",
    [
        "port = [",
        '[[backends]]\nkind = "vllm"\nring = "lan"\nurl = "http://300.1.1.1:80"\n',
        "\x00\x01",
    ],
)
def test_a_configuration_that_never_was_good_starts_on_the_defaults(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with serving(tmp_path) as service:
        assert service.line("line ")
        with service.client() as http_:
            shown = http_.get("/mesh/snapshot").json()
            assert (shown["backends"], len(shown["notices"])) == ([], 1)


def test_a_kind_of_a_later_version_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[[backends]]\nkind = "oracle"\nurl = "https://api.example.com"\n')
    with serving(tmp_path) as service, service.client() as http_:
        [notice] = http_.get("/mesh/snapshot").json()["notices"]
        assert "line 2" in notice
        assert "oracle" in notice


def test_what_a_killed_service_leaves_is_not_trusted_and_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        old = service.url
        service.popen.kill()
        service.wait()
    stale = (tmp_path / "runtime.json").read_bytes()
    asked = meshlight(tmp_path, "status")
    assert asked.returncode == 4
    assert "isn't running" in asked.stderr
    # Now somebody else has the port: its page must not be taken for ours, nor be shown the key.
    port = urlsplit(old).port or 0
    with HTTPServer(("127.0.0.1", port), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        asked = meshlight(tmp_path, "status")
        server.shutdown()
        thread.join()
    assert asked.returncode == 4
    assert "Another program answers" in asked.stderr
    with serving(tmp_path) as service:
        assert service.url
        assert (tmp_path / "runtime.json").read_bytes() != stale
        assert meshlight(tmp_path, "status").returncode != 4


def test_where_the_runtime_file_can_t_be_written_it_ends_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "runtime.json").mkdir()
    (tmp_path / "runtime.json" / "in-the-way").touch()
    with serving(tmp_path) as service:
        assert service.wait() == 1
        assert service.popen.stderr is not None
        assert "runtime.json" in service.popen.stderr.read()


def test_a_running_answer_is_given_to_its_end(tmp_path: Path) -> None:
    with serving(tmp_path) as service, service.client() as http_:
        parts = urlsplit(service.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as half:
            key = http_.headers["authorization"]
            head = f"POST /mesh/test HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: {key}\r\n"
            half.sendall(f"{head}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{".encode())
            assert http_.get("/healthz").status_code == 200
            service.popen.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                service.popen.wait(timeout=0.5)
            half.sendall(b"}")
            answer = b""
            while piece := half.recv(65_536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 404")
        assert service.wait() == 0


def test_the_core_loads_no_window_no_tray_and_no_second_http_client() -> None:
    code = (
        "import sys, meshlight.service.process, meshlight.service.wiring; "
        "unwanted = {'gi', 'pystray', 'webview', 'rich', 'httpx', 'tkinter', 'PIL', 'dbus_fast'}; "
        "print(sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
