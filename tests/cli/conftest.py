from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import Struct

from api_client.local_api import LocalApi
from meshlight.cli.app import commands
from meshlight.cli.quit import end_all
from meshlight.storage.paths import Paths
from process_fixture import Home


class Said(Struct, frozen=True):
    """What a word printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Type = Callable[..., Said]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with LocalApi(tmp_path) as running:
        yield running


@pytest.fixture
def type_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a word as a person does whose Meshlight lives in the test's folder."""
    monkeypatch.setenv("MESHLIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("MESHLIGHT_KEY", "MESHLIGHT_KEY_FILE", "DISPLAY", "WAYLAND_DISPLAY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, given: str | None = None) -> Said:
        result = CliRunner().invoke(commands, arguments, input=given, prog_name="meshlight")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose service is ended after the test, whoever started it."""
    home = Home(tmp_path)
    yield home
    monkeypatch.setenv("MESHLIGHT_HOME", str(tmp_path))
    end_all(Paths.here(), stop_service_unit=lambda: None)
