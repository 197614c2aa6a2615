"""Rules of the house that no other tool knows."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 400
SOURCES = sorted(
    file
    for folder in ("agent", "packaging", "tests", "web")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in {".py", ".js", ".css", ".html", ".md"} and "node_modules" not in file.parts
)


def test_no_file_is_longer_than_400_lines() -> None:
    code = [file for file in SOURCES if file.suffix in {".py", ".js"}]
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in code}
    assert {name: length for name, length in lengths.items() if length > LIMIT} == {}


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    homes = tuple(
        f"/{name}/" for name in ("work", "root", "Users")
    )  # pieced together: this file is looked at too
    guilty = [file for file in SOURCES if any(home in file.read_text(encoding="utf-8") for home in homes)]
    assert guilty == []


def test_nothing_is_put_off() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    guilty = [file for file in SOURCES if any(mark in file.read_text(encoding="utf-8") for mark in marks)]
    assert guilty == []


def test_the_top_of_the_house_is_tidy() -> None:
    wanted = {"agent", "icons", "packaging", "tests", "web", "LICENSE", "README.md", "pyproject.toml"}
    made = {"dist", "build", "node_modules"}
    here = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith((".", "__"))}
    assert here - made <= wanted
