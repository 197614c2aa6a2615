"""Files that Meshlight itself describes: man page, desktop entries, icons, systemd unit. Run by .venv's Python.

.venv/bin/python packaging/dev_assets.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from meshlight import __version__
from meshlight.cli.app import SECTIONS, commands
from meshlight.cli.link import LINK_COMMAND
from meshlight.desktop.system.menu_entry import FreedesktopMenuEntry
from meshlight.desktop.system.systemd_unit import UNIT, unit_text
from meshlight.desktop.system.url_handler import FILE, handler_text

PROGRAM = "/usr/bin/meshlight"
FILES = r"""
.SH FILES
.TP
.I ~/.config/meshlight/config.toml
The configuration.
.TP
.I ~/.local/state/meshlight
The local key, the history and the log. \fBMESHLIGHT_HOME\fR puts all of these into one folder.
.SH EXIT STATUS
0 on success, 1 if a command failed, 2 for wrong usage, 4 if the service does not run.
"""


def write(folder: Path) -> None:
    """Write all files where a package has them below `/usr`."""
    man = folder / "share" / "man" / "man1" / "meshlight.1"
    unit = folder / "lib" / "systemd" / "user" / UNIT
    for file, text in ((man, man_page(commands)), (unit, unit_text([PROGRAM, "serve", "--quiet"]))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    FreedesktopMenuEntry(folder / "share", [PROGRAM, "desktop"], lambda _: None).switch(on=True)
    handler = handler_text([PROGRAM, *LINK_COMMAND])
    (folder / "share" / "applications" / FILE).write_text(handler, encoding="utf-8")


def man_page(group: click.Group) -> str:
    """Return the manual page of the program, from the help of its commands."""
    context = click.Context(group, info_name="meshlight")
    lines = [
        f'.TH MESHLIGHT 1 "" "meshlight {__version__}" "User Commands"',
        ".SH NAME",
        r"meshlight \- every language model you can reach, behind one local address",
        ".SH SYNOPSIS",
        r".B meshlight",
        r"[\fICOMMAND\fR] [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(group.help or ""),
    ]
    for title, section in SECTIONS.items():
        lines.append(f".SH {title.upper()}")
        for name in section:
            command = group.get_command(context, name)
            if command is not None:
                lines += _command(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines) + FILES


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the part of one command, and of the commands in it."""
    yield ".SS " + _escaped(" ".join([context.command_path, *command.collect_usage_pieces(context)]))
    yield from _paragraphs(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            yield from (".TP", rf"\fB{_escaped(record[0])}\fR", _escaped(record[1]))
    if command.epilog:
        yield from (".PP", ".nf", *_escaped(command.epilog.replace("\b\n", "")).splitlines(), ".fi")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.replace("\b\n", "").split("\n\n"):
        yield from (".PP", _escaped(" ".join(paragraph.split())))


def _escaped(text: str) -> str:
    """Return text that troff prints as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in text.split("\n"))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
