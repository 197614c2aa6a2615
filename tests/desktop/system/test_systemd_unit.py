import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshlight.desktop.system.systemd_unit import SystemdUnit, quote_unit, stop_unit, unit_text

COMMAND = ["/home/ann lee/50% $HOME/python", "-P", "-m", "meshlight", "serve"]


def is_on(unit: SystemdUnit) -> bool:
    """Return it anew: mypy takes a property that was asserted for settled."""
    return unit.is_on


def test_a_unit_is_written_and_wanted_and_removed_without_a_trace(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    folder = tmp_path / ".config/systemd/user"
    unit = SystemdUnit(folder, COMMAND, stop=tmp_path, packaged=tmp_path / "none", run=ran.append)
    unit.switch(on=True)
    unit.switch(on=True)
    assert unit.is_on
    assert "Restart=always" in (folder / "default.target.wants/meshlight.service").read_text()
    unit.switch(on=False)
    assert not is_on(unit)
    assert list(tmp_path.iterdir()) == []
    assert ran[-1] == ["systemctl", "--user", "daemon-reload"]


def test_the_unit_of_a_package_is_used_and_stays(tmp_path: Path) -> None:
    packaged = tmp_path / "usr/meshlight.service"
    packaged.parent.mkdir()
    packaged.touch()
    unit = SystemdUnit(tmp_path / "user", COMMAND, stop=tmp_path, packaged=packaged, run=lambda _: None)
    unit.switch(on=True)
    assert unit.is_on
    assert not (tmp_path / "user/meshlight.service").exists()
    assert (tmp_path / "user/default.target.wants/meshlight.service").readlink() == packaged
    packaged.unlink()
    assert not is_on(unit), "the package was removed"
    unit.switch(on=False)
    assert not (tmp_path / "user").exists()


def test_every_character_of_a_path_is_taken_as_it_is() -> None:
    assert quote_unit('a b\\"%$') == '"a b\\\\\\"%%$$"'


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_reads_the_unit_without_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "meshlight.service"
    file.write_text(unit_text(["/bin/true", "serve"]))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert "meshlight.service" not in done.stderr


def test_a_running_unit_is_stopped_where_systemd_runs(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    stop_unit(ran.append, booted=tmp_path / "none")
    assert ran == []
    stop_unit(ran.append, booted=tmp_path)
    assert ran == [["systemctl", "--user", "--quiet", "stop", "meshlight.service"]]
