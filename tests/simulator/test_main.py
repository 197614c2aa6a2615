"""`python -m meshlight.simulator` as a person runs it."""

import re
import signal
import subprocess
import sys

import httpx


def test_it_runs_until_it_is_stopped_and_stops_cleanly() -> None:
    argv = [sys.executable, "-W", "error", "-m", "meshlight.simulator", "--base-port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        lines = []
        assert demo.stdout is not None
        for line in demo.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        found = re.search(r"Demo Ollama +(\S+)", "".join(lines))
        assert found is not None
        assert httpx.get(found[1], trust_env=False, timeout=30.0).text == "Ollama is running"
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=10)
        assert (demo.returncode, errors) == (0, "")
