"""The gateways that are compared: nobody between (direct), nginx, HAProxy, Meshlight, and on wish LiteLLM."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from msgspec import Struct

HERE = Path(__file__).parent
GATEWAY_CORE = 0
LOAD_CORE = 1
_WITHOUT_UVLOOP = (
    "import sys, runpy; sys.modules['uvloop'] = None; runpy.run_module('meshlight', run_name='__main__')"
)
"""As on Windows, where there is none."""
LITELLM_LOCAL = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # The key below is of no worth and says so; it would refuse to start with it.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
LITELLM_KEY = "sk-benchmark-key-of-no-worth"


class Subject(Struct, frozen=True):
    """One way to reach the upstream: its port, the processes that are measured, the headers it wants."""

    name: str
    port: int
    pids: tuple[int, ...]
    headers: dict[str, str] = {}
    started_s: float = 0.0
    """From the process's start to its first answer."""
    listening_s: float = 0.0
    """From the process's start until it accepts connections."""
    scheme: str = "http"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until_it_answers(
    port: int, path: str, headers: dict[str, str], within_s: float = 60.0, *, tls: bool = False
) -> None:
    """Ask until the answer is 200."""
    until = time.monotonic() + within_s
    said = "nothing"
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        if tls:
            anybody = ssl._create_unverified_context()  # noqa: S323 - it was made a moment ago, for this
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=anybody)
        try:
            connection.request("GET", path, headers=headers)
            said = str(connection.getresponse().status)
            if said == "200":
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise SystemExit(f"The server on port {port} did not answer {path} with 200 (last: {said}).")


def wait_until_it_listens(port: int, within_s: float = 60.0) -> None:
    """Knock until somebody accepts."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.002)
    raise SystemExit(f"Nothing listens on port {port}.")


@contextlib.contextmanager
def running(
    command: Sequence[str], core: int, log: Path, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on one core; end it by its pid."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=out, stderr=out, env={**os.environ, **environ}
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


@contextlib.contextmanager
def upstream(folder: Path, models: int = 1) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, str(HERE / "upstream.py"), str(port), str(models)]
    with running(command, LOAD_CORE, folder / f"upstream-{port}.log"):
        wait_until_it_answers(port, "/v1/models", {})
        yield port


@contextlib.contextmanager
def nginx(
    folder: Path, target: int, *, tls: bool = False, to_tls: bool = False, core: int = GATEWAY_CORE
) -> Iterator[Subject]:
    """`tls`: clients come over TLS; `to_tls`: the upstream is asked over it."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    port = free_port()
    config = folder / f"nginx-{port}.conf"
    listen = f"{port} ssl" if tls else f"{port}"
    certificate = ""
    if tls:
        key, shown = folder / f"nginx-{port}.key", folder / "nginx.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench"
        words += " -addext subjectAltName=IP:127.0.0.1"
        subprocess.run(
            ["openssl", *words.split(), "-keyout", str(key), "-out", str(shown)],
            check=True,
            capture_output=True,
        )
        certificate = f"ssl_certificate {shown}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"
    config.write_text(f"""
worker_processes 1; worker_rlimit_nofile 20000; daemon off; user root;
pid {folder}/nginx-{port}.pid; error_log {folder}/nginx.err;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000;
  upstream u {{ server 127.0.0.1:{target}; keepalive 128; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{listen} backlog=4096; {certificate}
    location / {{ proxy_pass {"https" if to_tls else "http"}://u; proxy_http_version 1.1; proxy_ssl_protocols TLSv1.3;
    proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 300s; }} }}
}}""")
    began = time.monotonic()
    with running([program, "-c", str(config)], core, folder / "nginx.log") as process:
        wait_until_it_listens(port)
        listening_s = time.monotonic() - began
        wait_until_it_answers(port, "/v1/models", {}, tls=tls)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pids = tuple(int(pid) for pid in children)
        started_s = time.monotonic() - began
        scheme = "https" if tls else "http"
        yield Subject("nginx", port, pids, scheme=scheme, started_s=started_s, listening_s=listening_s)


@contextlib.contextmanager
def haproxy(folder: Path, target: int) -> Iterator[Subject]:
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
  option http-no-delay
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend u
backend u
  server u 127.0.0.1:{target}
""")
    began = time.monotonic()
    with running([program, "-db", "-f", str(config)], GATEWAY_CORE, folder / "haproxy.log") as process:
        wait_until_it_listens(port)
        listening_s = time.monotonic() - began
        wait_until_it_answers(port, "/v1/models", {})
        yield Subject(
            "HAProxy", port, (process.pid,), started_s=time.monotonic() - began, listening_s=listening_s
        )


@contextlib.contextmanager
def meshlight(
    folder: Path,
    targets: Sequence[int],
    models: int = 1,
    *,
    name: str = "meshlight",
    settings: str = "",
    scheme: str = "http",
    ca_file: Path | None = None,
    hosts: Sequence[str] = ("127.0.0.1",),
    has_uvloop: bool = True,
    is_compiled: bool = True,
    kind: str = "openai-compatible",
) -> Iterator[Subject]:
    """Give it a backend at each of the targets on each of the hosts; `settings` are lines of its configuration.

    Not compiled it runs the checkout's sources, else what PYTHONPATH has: dev.py puts the compiled modules there.
    """
    port = free_port()
    home = folder / f"home-{port}"
    home.mkdir()
    further = f'ca_file = "{ca_file}"\n' if ca_file else ""
    backends = [
        f'[[backends]]\nname = "bench{n}"\nkind = "{kind}"\nurl = "{scheme}://{host}:{target}"\n{further}'
        for n, (host, target) in enumerate(product(hosts, targets))
    ]
    (home / "config.toml").write_text("\n".join([settings, *backends]))
    key = "ml-benchmark-key-of-no-worth"
    command = [sys.executable, *(("-m", "meshlight") if has_uvloop else ("-c", _WITHOUT_UVLOOP)), "serve"]
    command += ["--port", str(port), "--no-discovery", "--quiet"]
    command += ["--log-level", "warning"]
    environ = {"MESHLIGHT_HOME": str(home), "MESHLIGHT_KEY": key}
    if not is_compiled:
        environ["PYTHONPATH"] = ""
    headers = {"authorization": f"Bearer {key}"}
    began = time.monotonic()
    with running(command, GATEWAY_CORE, folder / f"meshlight-{port}.log", **environ) as process:
        wait_until_it_listens(port)
        listening_s = time.monotonic() - began
        wait_until_it_answers(port, f"/v1/models/m{models - 1 or ''}", headers)
        yield Subject(name, port, (process.pid,), headers, time.monotonic() - began, listening_s)


@contextlib.contextmanager
def litellm(folder: Path, target: int) -> Iterator[Subject]:
    """LiteLLM's proxy, in a venv of its own that is made once in the user's cache."""
    venv = Path.home() / ".cache" / "meshlight" / "bench-litellm"
    program = venv / "bin" / "litellm"
    if not program.exists():
        print("Installing LiteLLM's proxy into its own venv …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "litellm[proxy]"], check=True)
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/m\n"
        f"      api_base: http://127.0.0.1:{target}/v1\n      api_key: none\n"
        f"general_settings:\n  master_key: {LITELLM_KEY}\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    headers = {"authorization": f"Bearer {LITELLM_KEY}"}
    port = free_port()
    command = [str(program), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    with running(command, GATEWAY_CORE, folder / "litellm.log", **LITELLM_LOCAL) as process:
        wait_until_it_answers(port, "/v1/models", headers, 120.0)
        yield Subject("LiteLLM", port, (process.pid,), headers)
