"""Two Meshlights that are paired: one has the upstream, the other is asked."""

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.subjects import GATEWAY_CORE, Subject, free_port, running, wait_until_it_answers

KEY = "ml-benchmark-key-of-no-worth-"


class Node(Struct, frozen=True):
    """One of the two."""

    name: str
    port: int
    door: int
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {KEY}{self.name}"}

    def ask(self, method: str, path: str, **fields: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {**self.headers, "content-type": "application/json"}
        connection.request(method, path, json.dumps(fields) if fields else None, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path} on port {self.port}: {answer.status} {body.decode()}")
        return json.loads(body)


@contextlib.contextmanager
def node(folder: Path, name: str, target: int | None) -> Iterator[Node]:
    home = folder / f"home-{name}"
    home.mkdir()
    port, lan, door = free_port(), free_port(), free_port()
    backend = f'[[backends]]\nname = "bench"\nkind = "openai-compatible"\nurl = "http://127.0.0.1:{target}"\n'
    text = f'name = "{name}"\n[lan]\nbrowse = false\nport = {lan}\ndoor = {door}\n'
    (home / "config.toml").write_text(text + (backend if target else ""))
    command = [sys.executable, "-m", "meshlight", "serve", "--port", str(port), "--no-discovery", "--quiet"]
    command += ["--log-level", "warning", "--insecure-storage"]
    environ = {"MESHLIGHT_HOME": str(home), "MESHLIGHT_KEY": KEY + name}
    with running(command, GATEWAY_CORE, folder / f"{name}.log", **environ) as process:
        found = Node(name, port, door, process.pid)
        wait_until_it_answers(port, "/v1/models", found.headers)
        yield found


@contextlib.contextmanager
def neighbours(folder: Path, target: int) -> Iterator[tuple[Subject, Subject]]:
    """Return the node that has the upstream, asked itself, and the one that asks it over the network."""
    with node(folder, "near", None) as near, node(folder, "far", target) as far:
        far.ask("PATCH", "/mesh/peers", visible=True)
        near.ask("POST", "/mesh/peers/pairing", host="127.0.0.1", port=far.door)
        for one in (near, far):
            one.ask("POST", "/mesh/peers/pairing/confirm")
        for one in (near, far):
            while not one.ask("GET", "/mesh/peers")["peers"]:
                time.sleep(0.05)
        far.ask("PATCH", "/mesh/peers", visible=False)
        (peer,) = far.ask("GET", "/mesh/peers")["peers"]
        far.ask("PATCH", f"/mesh/peers/{peer['id']}", max_in_flight=1000)
        wait_until_it_answers(near.port, "/v1/models/m", near.headers)
        yield (
            Subject("meshlight", far.port, (far.pid,), far.headers),
            Subject("meshlight → peer", near.port, (near.pid, far.pid), near.headers),
        )
