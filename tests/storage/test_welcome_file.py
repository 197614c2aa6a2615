"""What is kept of the first run."""

from pathlib import Path

from meshlight.domain.welcome import Progress
from meshlight.storage.welcome_file import WelcomeFile


def test_it_is_kept_over_a_restart_and_the_start_at_login_is_asked_once(tmp_path: Path) -> None:
    path = tmp_path / "welcome.json"
    file = WelcomeFile(path, is_known=False)
    assert file.progress == Progress()
    file.write(file.progress.with_done("question").with_done("question"))
    file = WelcomeFile(path, is_known=True)
    assert file.progress == Progress(done=("question",))
    file.write(file.progress.with_done("login"))
    assert WelcomeFile(path, is_known=False).progress == Progress(
        done=("question", "login"), is_over=True, login_asked=True
    )


def test_who_has_set_something_up_before_is_not_welcomed(tmp_path: Path) -> None:
    assert WelcomeFile(tmp_path / "none.json", is_known=True).progress == Progress(is_over=True)


def test_a_broken_file_asks_nothing_again(tmp_path: Path) -> None:
    path = tmp_path / "welcome.json"
    path.write_text('{"done": ["else"]}')
    assert WelcomeFile(path, is_known=False).progress == Progress(is_over=True, login_asked=True)
