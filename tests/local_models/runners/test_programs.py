import os
import sys
from pathlib import Path

import pytest

from meshlight.local_models.runners import programs
from meshlight.local_models.runners.programs import (
    Answer,
    ask,
    file_mark,
    find_program,
    is_script,
    usual_folders,
)


async def test_a_program_is_asked_and_its_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PATH": os.environ["PATH"]}
    assert await ask((sys.executable, "-c", "import sys; print(1); sys.exit(3)"), environ) == Answer(3, "1\n")
    much = await ask((sys.executable, "-c", "print('x' * 10_000_000)"), environ)
    assert len(much.text) <= programs.ANSWER_BYTES + 4096
    assert await ask(("/nowhere/at/all",), environ) == Answer(None)
    monkeypatch.setattr(programs, "ANSWER_TIMEOUT_S", 0.05)
    assert (await ask((sys.executable, "-c", "import time; time.sleep(60)"), environ)).exit_code is None


def test_programs_are_found_in_whole_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("bin", "further"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("#!/bin/sh\n")
        (tmp_path / folder / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path / "bin")
    assert find_program("tool", {"PATH": f".{os.pathsep}"}) is None
    further = [str(tmp_path / "further")]
    assert find_program("tool", {}, further) == str(tmp_path / "further" / "tool")
    assert find_program("tool", {"PATH": str(tmp_path / "bin")}, further) == str(tmp_path / "bin" / "tool")
    assert is_script(str(tmp_path / "bin" / "tool"))
    assert not is_script(sys.executable)
    assert not is_script(str(tmp_path))
    assert file_mark(str(tmp_path / "absent"))[1] == -1
    assert file_mark(str(tmp_path))[1] > 0


def test_the_usual_folders_of_each_system() -> None:
    assert "/opt/homebrew/bin" in usual_folders({"HOME": "/home/a"}, "darwin")
    assert usual_folders({}, "win32") == ()
    assert "WinGet" in usual_folders({"LOCALAPPDATA": "C:\\x"}, "win32")[0]
