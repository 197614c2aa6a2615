import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from meshlight.storage.open_files import LIFETIME_S, OpenFiles

CODE = "the-code-that-opens-the-page"
ACTION = "http://127.0.0.1:6374/mesh/session/enter#add?kind=ollama&url=http%3A%2F%2Fx%22"


class Later:
    """Timers that go off when a test says so."""

    def __init__(self) -> None:
        self.waiting: dict[Timer, tuple[float, Callable[[], None]]] = {}

    def __call__(self, seconds: float, call: Callable[[], None]) -> "Timer":
        timer = Timer(self)
        self.waiting[timer] = seconds, call
        return timer

    def pass_(self, seconds: float) -> None:
        for timer, (due, call) in tuple(self.waiting.items()):
            if due <= seconds:
                del self.waiting[timer]
                call()


class Timer:
    def __init__(self, later: Later) -> None:
        self._later = later

    def cancel(self) -> None:
        self._later.waiting.pop(self, None)


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def files(tmp_path: Path, later: Later) -> OpenFiles:
    return OpenFiles(tmp_path / "open", later, tmp_path)


def test_the_file_is_for_this_user_alone_and_its_name_tells_nothing(files: OpenFiles) -> None:
    path = files.write(ACTION, CODE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert CODE not in str(path)


def test_the_file_posts_the_code_and_no_word_of_the_address_gets_out_of_its_quotes(files: OpenFiles) -> None:
    text = files.write('http://x/#"><script>evil()</script>', CODE).read_text()
    assert f'name="code" value="{CODE}"' in text
    assert re.findall(r"<script>.*", text) == ["<script>document.forms[0].submit()</script>"]


def test_the_file_goes_when_the_code_is_used(files: OpenFiles, later: Later) -> None:
    path, other = files.write(ACTION, CODE), files.write(ACTION, "another")
    files.used("never given")
    files.used(CODE)
    assert (path.exists(), other.exists(), len(later.waiting)) == (False, True, 1)


def test_the_file_goes_after_a_minute(files: OpenFiles, later: Later) -> None:
    path = files.write(ACTION, CODE)
    later.pass_(LIFETIME_S - 1)
    assert path.exists()
    later.pass_(LIFETIME_S)
    assert not path.exists()


def test_the_files_go_with_the_service_and_those_of_a_killed_one_at_the_next_start(
    tmp_path: Path, files: OpenFiles, later: Later
) -> None:
    path = files.write(ACTION, CODE)
    OpenFiles(tmp_path / "open", later).start()
    assert not path.exists()
    path = files.write(ACTION, "another")
    files.close()
    assert (path.exists(), later.waiting) == (False, {})


def test_a_browser_that_is_a_snap_gets_it_where_it_can_read(tmp_path: Path, files: OpenFiles) -> None:
    common = tmp_path / "snap" / "firefox" / "common"
    common.mkdir(parents=True)
    path = files.write(ACTION, CODE, "firefox")
    assert path.parent == common / "meshlight"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("snap", ["chromium", "../firefox", "firefox/common", "..", ""])
def test_any_other_browser_gets_it_in_our_own_folder(tmp_path: Path, files: OpenFiles, snap: str) -> None:
    (tmp_path / "snap" / "firefox" / "common").mkdir(parents=True)
    assert files.write(ACTION, CODE, snap).parent == tmp_path / "open"
