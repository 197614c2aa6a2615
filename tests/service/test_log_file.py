import logging
from pathlib import Path

import pytest

from meshlight.service.log_file import LogFile


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("meshlight", logging.INFO, __file__, 1, text, None, None)


def test_two_files_have_the_last_lines(tmp_path: Path) -> None:
    file, older = tmp_path / "a.log", tmp_path / "a.log.1"
    file.write_text("from before\n")
    log = LogFile(file, max_bytes=15)
    for text in ("one", "two", "three", "four ", "five"):
        log.emit(line(text))
    log.close()
    assert (older.read_text(), file.read_text()) == ("two\nthree\nfour \n", "five\n")


def test_a_file_that_cannot_be_put_aside_grows_on(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    (tmp_path / "a.log.1").mkdir()
    log = LogFile(file, max_bytes=3)
    for text in ("one", "two", "three"):
        log.emit(line(text))
    log.close()
    assert file.read_text() == "one\ntwo\nthree\n"


def test_a_log_that_was_removed_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    log = LogFile(file)
    log.emit(line("one"))
    file.unlink()
    log.emit(line("two"))
    log.close()
    assert not file.exists()


def test_a_removed_log_does_not_grow_unseen(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    log = LogFile(file, max_bytes=3)
    log.emit(line("one"))
    file.unlink()
    log.emit(line("two"))
    log.close()
    assert file.read_text() == "two\n"


def test_a_log_that_cannot_be_opened_again_fails_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs" / "a.log"
    file.parent.mkdir()
    log = LogFile(file, max_bytes=3)
    log.emit(line("one"))
    file.unlink()
    file.parent.rmdir()
    log.emit(line("two"))
    assert "FileNotFoundError" in capsys.readouterr().err
    file.parent.mkdir()
    log.emit(line("three"))
    log.close()
    assert file.read_text() == "three\n"
