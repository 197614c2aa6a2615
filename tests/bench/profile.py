"""Where a request's time goes: py-spy looks at the service under load, and its samples go to a file for speedscope.

Open the file at https://www.speedscope.app, which reads it in the browser and sends it nowhere.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from threading import Thread

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.load import SMALL, STREAM, wrk
from bench.subjects import meshlight, upstream

RATE = 500
"""Samples per second."""
SHOWN = 25
console = Console()


class Frame(Struct):
    """A function, as speedscope's format has it."""

    name: str
    file: str | None = None


class Shared(Struct):
    frames: list[Frame]


class Samples(Struct):
    """The samples of a thread: each a stack of frame numbers, the outermost first."""

    name: str
    samples: list[list[int]]


class Profile(Struct):
    """What of speedscope's file is read here."""

    shared: Shared
    profiles: list[Samples]


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py profile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to look (default: 10)")
    parser.add_argument("--connections", type=int, default=64, help="clients at the same time (default: 64)")
    parser.add_argument("--stream", action="store_true", help="streams of 64 chunks, not small JSON answers")
    parser.add_argument(
        "--output", type=Path, default=Path("meshlight.speedscope.json"), metavar="FILE", help="where to"
    )
    arguments = parser.parse_args()
    program = _py_spy()
    with (
        tempfile.TemporaryDirectory(prefix="meshlight-profile-") as folder,
        upstream(Path(folder)) as port,
        meshlight(Path(folder), [port]) as subject,
    ):
        body = STREAM if arguments.stream else SMALL
        load = Thread(
            target=wrk, args=(subject, arguments.connections, arguments.seconds + 2, body, Path(folder))
        )
        load.start()
        words = f"record --pid {subject.pids[0]} --rate {RATE} --duration {arguments.seconds:g} --format speedscope"
        done = subprocess.run(
            [str(program), *words.split(), "--output", str(arguments.output)],
            capture_output=True,
            text=True,
            check=False,
        )
        load.join()
    if done.returncode:
        raise SystemExit(
            f"py-spy could not look at the service: {done.stderr.strip() or done.stdout.strip()}"
        )
    _print(msgspec.json.decode(arguments.output.read_bytes(), type=Profile))
    console.print(f"Open {arguments.output} at https://www.speedscope.app (it stays in your browser).")


def _print(profile: Profile) -> None:
    """Print the functions in which most samples were, and those with all that they call."""
    frames = profile.shared.frames
    own: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    for thread in profile.profiles:
        for stack in thread.samples:
            if stack:
                own[stack[-1]] += 1
                whole.update(set(stack))
    count = own.total() or 1
    table = Table(title=f"{count:,} samples", title_justify="left")
    for column in ("function", "itself %", "with what it calls %"):
        table.add_column(column, justify="left" if column == "function" else "right")
    for number, samples in own.most_common(SHOWN):
        frame = frames[number]
        name = f"{frame.name} ({Path(frame.file or '').name})"
        table.add_row(name, f"{100 * samples / count:.1f}", f"{100 * whole[number] / count:.1f}")
    console.print(table)


def _py_spy() -> Path:
    """Return the program, in a venv of its own that is made once in the user's cache."""
    venv = Path.home() / ".cache" / "meshlight" / "profile-py-spy"
    program = venv / "bin" / "py-spy"
    if not program.exists():
        console.print("Installing py-spy into its own venv …")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "py-spy"], check=True)
    return program


if __name__ == "__main__":
    main()
