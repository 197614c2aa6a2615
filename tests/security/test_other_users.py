"""Another user of the same machine: what they can see and reach, and what they never can."""

import html
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from meshlight.cli.ports import free_port
from service.test_process import meshlight, serving

NOBODY = 65_534
KEY = "ml-key-of-the-user-whom-nobody-knows"
SECRET = "sk-secret-of-the-user"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can be another user"
)

BECOME = f"""
import os, socket, sys
from pathlib import Path
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
COMMAND_LINES = """
for process in Path("/proc").glob("[0-9]*"):
    try:
        print((process / "cmdline").read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace"))
    except OSError:
        pass
"""
ENVIRONMENT = """
try:
    print(Path(f"/proc/{sys.argv[1]}/environ").read_bytes())
except OSError as error:
    print(type(error).__name__)
"""
READ = """
for top, folders, files in os.walk(sys.argv[1], onerror=lambda error: print("refused", error.filename)):
    for name in files:
        try:
            print("read", top, name, len(Path(top, name).read_bytes()))
        except OSError:
            print("refused", name)
"""
BIND = """
for host, family in (
    ("127.0.0.1", socket.AF_INET), ("0.0.0.0", socket.AF_INET), ("::1", socket.AF_INET6), ("::", socket.AF_INET6)
):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind((host, int(sys.argv[1])))
            sock.listen()
            print("taken", host)
        except OSError as error:
            print("refused", host, error.errno)
"""
SQUAT = """
sockets = []
for host in sys.argv[3:]:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, int(sys.argv[1])))
    sock.listen()
    sockets.append(sock)
print("listens", flush=True)
body = sys.argv[2].encode()
answer = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body
import select
while True:
    for sock in select.select([*sockets, sys.stdin], [], [])[0]:
        if sock is sys.stdin:
            sys.exit()
        guest, _ = sock.accept()
        guest.settimeout(2)
        try:
            while heard := guest.recv(65536):
                print(heard.hex(), flush=True)
                guest.sendall(answer)
        except OSError:
            pass
        guest.close()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that a stranger is not kept from by the folders above it."""
    with tempfile.TemporaryDirectory(prefix="meshlight-stranger-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


def stranger(script: str, *words: str) -> str:
    """Run a script as another user to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME + script, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


@contextmanager
def squatter(port: int, says: str, *hosts: str) -> Iterator[list[str]]:
    """Have another user listen there and answer everybody with `says`; yields what it heard, when it has ended."""
    with subprocess.Popen(
        [sys.executable, "-c", BECOME + SQUAT, str(port), says, *hosts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        received: list[str] = []
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            yield received
        finally:
            text, _ = process.communicate()
            received += [bytes.fromhex(line).decode("latin-1") for line in text.split()]


def words(home: Path, *typed: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "meshlight", *typed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "MESHLIGHT_HOME": str(home), **environ},
        timeout=30,
        check=False,
    )


def test_what_a_browser_is_started_with_tells_a_stranger_nothing_and_brings_its_user_in(home: Path) -> None:
    with serving(home, environ={"MESHLIGHT_KEY": KEY, "MESHLIGHT_SECRET_CLOUD": SECRET}) as service:
        url = service.url
        browser, started, wait = home / "browser", home / "started", home / "wait"
        os.mkfifo(started)
        os.mkfifo(wait)
        browser.write_text(
            f"#!/bin/sh\nexec >/dev/null 2>&1\nenv > '{home}/env'\necho \"$1\" > '{started}'\nread _ < '{wait}'\n"
        )
        browser.chmod(0o700)
        opened = words(
            home,
            "open",
            "--browser",
            environ={
                "DISPLAY": ":0",
                "BROWSER": f"{browser} %s &",
                "MESHLIGHT_KEY": KEY,
                "MESHLIGHT_SECRET_CLOUD": SECRET,
            },
        )
        assert opened.returncode == 0, opened.stderr
        link = started.read_text().strip()
        try:
            observed = stranger(COMMAND_LINES)
            walked = stranger(READ, str(home.parent))
        finally:
            wait.write_text("go\n")
        page = Path(unquote(urlsplit(link).path))
        assert link in observed, "it sees the command line"
        code = html.unescape(re.findall(r'name="code" value="([^"]+)"', page.read_text())[0])
        for secret in (code, KEY, SECRET):
            assert secret not in observed + opened.stdout + opened.stderr + (home / "env").read_text()
        ours = [line for line in observed.splitlines() if str(home) in line]
        assert ours
        assert not any("code=" in line for line in ours), "other processes may say what they like"
        assert "read" not in walked.split()
        assert stat.S_IMODE(page.stat().st_mode) == 0o600

        action = html.unescape(re.findall(r'action="([^"]+)"', page.read_text())[0])
        assert action == f"{url}/mesh/session/enter"
        reply = httpx.post(
            action, data={"code": code}, headers={"origin": "null"}, trust_env=False, timeout=30.0
        )
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert not page.exists()


def test_a_stranger_reads_no_file_and_no_variable_of_ours(home: Path) -> None:
    with serving(home, "--insecure-storage", environ={"MESHLIGHT_SECRET_CLOUD": SECRET}) as service:
        assert service.url
        walked = stranger(READ, str(home.parent))
        assert walked == f"refused {home}\n"
        assert stranger(ENVIRONMENT, str(service.popen.pid)) == "PermissionError\n"
        assert service.stop() == 0
    files = [home, *home.rglob("*")]
    assert {"local.key", "node.id", "meshlight.log"} <= {file.name for file in files}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0, file
    for name in ("local.key", "node.id"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


def test_a_stranger_can_not_take_our_port_on_either_address_while_we_listen(home: Path) -> None:
    with serving(home) as service:
        port = urlsplit(service.url).port
        text = stranger(BIND, str(port)).split("\n")
    assert [line.split()[0] for line in text if line] == ["refused"] * 4, text


def test_a_stranger_who_took_the_port_of_ipv4_first_is_named_and_we_end(home: Path) -> None:
    port = free_port()
    with squatter(port, "{}", "127.0.0.1") as received, serving(home, "--port", str(port)) as service:
        assert service.wait() == 1
        text = service.line("Port ")
    assert f"Port {port} is taken by another program (at 127.0.0.1:{port})" in text
    assert all("ml-" not in one for one in received)


def test_a_stranger_who_took_the_port_of_ipv6_first_is_named_and_we_go_on(home: Path) -> None:
    port = free_port()
    with squatter(port, "{}", "::1") as received, serving(home, "--port", str(port)) as service:
        with service.client() as client:
            notices = client.get("/mesh/snapshot").json()["notices"]
        status = meshlight(home, "status")
    assert any(f"Port {port} of [::1] is taken by another program" in notice for notice in notices)
    assert "[::1] is taken" in " ".join((status.stdout + status.stderr).split())
    assert "[::1] is taken" in (home / "meshlight.log").read_text()
    assert received == []


def test_a_stranger_who_takes_the_port_over_gets_no_key_whatever_it_says(home: Path) -> None:
    port = free_port()
    with serving(home, "--port", str(port)) as service:
        assert service.url
        instance = service.runtime["instance"]
        service.popen.kill()
        service.wait()
    key = (home / "local.key").read_text().strip()
    lie = (
        f'{{"status":"ok","service":"meshlight","instance":"{instance}","version":"1","proof":"{"0" * 64}"}}'
    )
    with squatter(port, lie, "127.0.0.1", "::1") as received:
        for typed in (
            ["status"],
            ["backends", "list"],
            ["open", "--print"],
            ["open", "--browser"],
            ["peers"],
        ):
            done = words(home, *typed, environ={"DISPLAY": ":0"})
            assert done.returncode != 0
            assert f"Another program answers at http://127.0.0.1:{port}" in done.stderr, (typed, done.stderr)
    assert len(received) == 5
    for request in received:
        assert request.startswith("GET /healthz?challenge=")
        assert key not in request
        assert "authorization" not in request.lower()


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1"])
def test_a_program_that_takes_localhost_for_either_address_is_answered(home: Path, host: str) -> None:
    with serving(home) as service, service.client() as client:
        port = urlsplit(service.url).port
        reply = client.get(f"http://{host}:{port}/v1/models", headers={"host": f"localhost:{port}"})
        assert reply.status_code == 200
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as sock:
            sock.connect((host.strip("[]"), port))
            assert sock.getpeername()[1] == port


@pytest.mark.parametrize("whose", ["home", "above"])
def test_a_home_in_a_stranger_s_hands_is_refused_by_every_word(home: Path, whose: str) -> None:
    if whose == "home":
        home.mkdir(0o700)
        os.chown(home, NOBODY, NOBODY)
    else:
        os.chown(home.parent, NOBODY, NOBODY)
        home.mkdir(0o700)
    for typed in (["serve", "--port", "0"], ["status"], ["key"], ["env"], ["open", "--browser"], ["window"]):
        done = words(home, *typed, environ={"DISPLAY": ":0"})
        text = done.stdout + done.stderr
        assert done.returncode != 0, typed
        assert "belongs to another user (uid 65534)" in text, (typed, text)
        assert "set MESHLIGHT_HOME to a folder of your own" in text
    assert list(home.iterdir()) == []


def test_the_node_s_id_is_the_same_after_a_restart_and_with_another_key(home: Path) -> None:
    ids = set[str]()
    for key in (KEY, KEY, f"{KEY}-2"):
        with serving(home, environ={"MESHLIGHT_KEY": key}) as service:
            headers = {"authorization": f"Bearer {key}"}
            snapshot = httpx.get(
                f"{service.url}/mesh/snapshot", headers=headers, trust_env=False, timeout=30.0
            ).json()
            ids.add(snapshot["router"]["node_id"])
            assert service.stop() == 0
    assert len(ids) == 1
