import os
from pathlib import Path

import pytest

from meshlight.desktop.system.autostart import DesktopEntry
from meshlight.desktop.system.login import LoginHere
from meshlight.desktop.system.systemd_unit import SystemdUnit
from meshlight.domain.errors import BadRequest, MeshlightError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the entry is a value of the registry there")


def here(
    folder: Path, *, screen: bool, systemd: bool = True, environ: dict[str, str] | None = None
) -> LoginHere:
    unit = SystemdUnit(folder / "systemd", ["x"], stop=folder, run=lambda _: None) if systemd else None
    return LoginHere(
        DesktopEntry(folder / "autostart", ["x"]), unit, environ=environ or {}, has_screen=screen
    )


def test_with_a_desktop_the_tray_starts_and_without_one_the_service(tmp_path: Path) -> None:
    for name, screen, text in (("a", True, "icon in the tray"), ("b", False, "service")):
        login = here(tmp_path / name, screen=screen)
        assert not login.view().on
        assert login.view().can
        login.switch(on=True)
        assert (login.view().on, text in login.view().text) == (True, True)
        login.switch(on=False)
        assert not login.view().on


def test_where_it_is_impossible_the_reason_is_told(tmp_path: Path) -> None:
    bare = here(tmp_path, screen=False, systemd=False)
    own_home = here(tmp_path, screen=True, environ={"MESHLIGHT_HOME": "/srv"})
    for login, why in ((bare, "neither a desktop nor systemd"), (own_home, "MESHLIGHT_HOME is set")):
        view = login.view()
        assert (view.on, view.can, why in view.text) == (False, False, True)
        with pytest.raises(BadRequest, match=why):
            login.switch(on=True)


def test_what_is_on_can_be_switched_off_wherever_it_came_from(tmp_path: Path) -> None:
    here(tmp_path, screen=False).switch(on=True)
    later = here(tmp_path, screen=True, environ={"MESHLIGHT_HOME": "/srv"})
    assert (later.view().on, later.view().can) == (True, True)
    later.switch(on=False)
    assert not later.view().on


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "autostart").write_text("")
    with pytest.raises(MeshlightError, match="could not be changed"):
        here(tmp_path, screen=True).switch(on=True)
