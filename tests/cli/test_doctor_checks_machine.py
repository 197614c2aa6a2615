from pathlib import Path

import pytest

from meshlight.cli import doctor_checks as machine
from meshlight.storage.paths import Paths


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, "ok"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "look"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "127.0.0.1"}, "look"),
        ({"ALL_PROXY": "socks5://proxy", "NO_PROXY": "localhost, 127.0.0.1,.corp"}, "ok"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, "ok"),
    ],
)
def test_a_proxy_that_would_catch_what_is_for_this_machine_is_worth_a_look(
    environ: dict[str, str], level: str
) -> None:
    assert machine.check_proxies(environ).level == level


def test_the_way_to_spare_this_machine_keeps_what_was_spared_before() -> None:
    found = machine.check_proxies({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": ".corp"})
    assert found.fix == "export NO_PROXY=.corp,127.0.0.1,localhost"


def test_an_old_python_a_clock_of_yesteryear_and_a_low_limit_are_seen() -> None:
    assert machine.check_python((3, 10, 4)).level == "wrong"
    assert machine.check_python((3, 14, 0)).level == "ok"
    assert machine.check_clock(now=0.0, installed_at=1_700_000_000.0).level == "wrong"
    assert machine.check_clock(now=1_700_000_100.0, installed_at=1_700_000_000.0).level == "ok"
    assert machine.check_open_files(256).level == "look"
    assert machine.check_open_files(65_536).level == "ok"
    assert machine.check_open_files(None).level == "ok"


def test_a_folder_that_can_not_be_written_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder, level in ((tmp_path / "new", "ok"), (tmp_path, "ok"), (tmp_path / "file" / "below", "wrong")):
        (found,) = machine.check_folder(Paths.here({"MESHLIGHT_HOME": str(folder)}))
        assert found.level == level
