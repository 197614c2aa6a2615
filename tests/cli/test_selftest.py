import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import pytest

from meshlight.cli.doctor_checks import Finding, failed, passed, warning
from meshlight.cli.selftest import check_answer, check_imports, check_mdns, judged
from meshlight.desktop.system.process import program


def test_this_installation_works_and_nothing_of_the_user_is_touched(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MESHLIGHT_TRAY": "none"}
    done = subprocess.run(
        program("selftest", "--json"), capture_output=True, text=True, check=False, env=environ
    )
    findings = json.loads(done.stdout)
    assert [one["said"] for one in findings if one["level"] == "wrong"] == []
    assert done.returncode == 0
    said = "\n".join(one["said"] for one in findings)
    assert "modules can be imported" in said
    assert "a simulated engine answers through it" in said
    assert "No tray icon, as MESHLIGHT_TRAY says." in said
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_breaks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("raise OSError('libx.so\\x1b[31m is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    found = check_imports(["json", "broken_module"])
    assert found.level == "wrong"
    assert "1 modules can't be imported: broken_module: OSError: libx.so is missing" in found.message


async def test_a_service_that_ends_at_once_is_told() -> None:
    async def start(environ: dict[str, str]) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", "exit(3)", stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env=environ
        )

    found = await check_answer(start)
    assert found.level == "wrong"
    assert "The service ended by itself (exit code 3)." in found.message


def test_what_is_lacking_is_wrong_only_if_it_is_needed() -> None:
    def lacks() -> Finding:
        return warning("No tray.", "Get one.")

    def breaks() -> Finding:
        raise RuntimeError("no display\x1b[31m")

    assert judged("tray", lacks, []) == warning("No tray.", "Get one.")
    assert judged("tray", lacks, ["window"]).level == "look"
    assert judged("tray", lacks, ["tray"]) == failed("No tray.", "Get one.")
    assert judged("tray", breaks, ["tray"]) == failed("tray: RuntimeError: no display", "")
    assert judged("tray", lambda: passed("Tray: DBusTray."), ["tray"]).level == "ok"


def test_the_socket_of_multicast_dns_opens() -> None:
    assert check_mdns().level == "ok"
