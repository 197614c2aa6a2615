"""What was measured, round by round: kept in a file, and compared with another run."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

RATIOS = frozenset({"cpu_us", "p50_us", "first_p50_us", "rate"})
"""What is shown as a ratio too."""


class Round(Struct, frozen=True):
    """One measurement of one gateway."""

    part: str
    """What was measured: "JSON, 64 connections"."""
    subject: str
    """Whose it is: "nginx"."""
    values: dict[str, float]
    """By name and unit: `cpu_us` of the gateway per request or chunk, `p50_us`, `rate` per second, …"""
    is_quiet: bool = True
    """Whether the machine had little else to do."""


class Run(Struct):
    """All rounds of a run, in the order in which they were made."""

    began: str = ""
    machine: str = ""
    rounds: list[Round] = []

    def add(self, part: str, subject: str, values: dict[str, float], *, is_quiet: bool = True) -> None:
        self.rounds.append(Round(part, subject, values, is_quiet))

    @property
    def parts(self) -> list[str]:
        return list(dict.fromkeys(one.part for one in self.rounds))

    def subjects(self, part: str) -> list[str]:
        return list(dict.fromkeys(one.subject for one in self.rounds if one.part == part))

    def middle(self, part: str, subject: str, name: str) -> float | None:
        """Return the median over the rounds; None where it was not measured."""
        found = [
            one.values[name]
            for one in self.rounds
            if one.part == part and one.subject == subject and name in one.values
        ]
        return median(found) if found else None

    def ratio(self, part: str, subject: str, name: str, base: str) -> float | None:
        """Return the ratio of two medians of the same part."""
        mine, other = self.middle(part, subject, name), self.middle(part, base, name)
        return None if mine is None or not other else mine / other

    def busy(self, part: str) -> int:
        """Return how many rounds of a part were made while the machine had other work."""
        return sum(not one.is_quiet for one in self.rounds if one.part == part)


def new_run() -> Run:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return Run(time.strftime("%Y-%m-%dT%H:%M:%S"), machine)


def save(run: Run, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def load(file: Path) -> Run:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Run)
    except OSError as error:
        raise SystemExit(f"{file} can't be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise SystemExit(f"{file} is not a file of `bench --json`: {error}.") from error


def compare(console: Console, one: Run, other: Run) -> None:
    """Print what is in both runs, each value beside the other one, and the ratio to nginx where there is one.

    The ratios can be compared over days and machines; what is in seconds belongs to its run alone.
    """
    table = Table(title="Medians: first, second, second ÷ first", title_justify="left")
    for column in ("", "gateway", "what", "first", "second", "÷"):
        table.add_column(column, justify="left" if column in {"", "gateway", "what"} else "right")
    for part in _both(one.parts, other.parts):
        for subject in _both(one.subjects(part), other.subjects(part)):
            if subject == "direct":
                continue
            for name in _names(one.rounds + other.rounds, part, subject):
                _row(
                    table,
                    part,
                    subject,
                    name,
                    one.middle(part, subject, name),
                    other.middle(part, subject, name),
                )
                if subject != "nginx" and name in RATIOS:
                    mine, its = (run.ratio(part, subject, name, "nginx") for run in (one, other))
                    _row(table, part, subject, f"{name} ÷ nginx", mine, its)
    if not table.row_count:
        raise SystemExit("The two runs measured nothing in common.")
    console.print(table)
    for run, word in ((one, "first"), (other, "second")):
        noisy = sum(run.busy(part) for part in run.parts)
        console.print(
            f"The {word}: {run.began}, {run.machine}" + (f", {noisy} noisy rounds" if noisy else "")
        )


def _both(mine: Sequence[str], other: Sequence[str]) -> list[str]:
    return [name for name in mine if name in other]


def _names(rounds: Iterable[Round], part: str, subject: str) -> list[str]:
    return list(
        dict.fromkeys(
            name for one in rounds if one.part == part and one.subject == subject for name in one.values
        )
    )


def _row(table: Table, part: str, subject: str, name: str, mine: float | None, its: float | None) -> None:
    if mine is not None and its is not None:
        times = f"{its / mine:.2f}" if mine else ""
        table.add_row(part, subject, name, f"{mine:.4g}", f"{its:.4g}", times)
