"""Failures in words."""

import errno
import socket
import ssl

import pytest

from meshlight.local_models.downloads.problems import (
    DownloadFailed,
    TryLater,
    in_gb,
    network_problem,
    status_problem,
    write_problem,
)


def caused_by(cause: Exception) -> Exception:
    error = RuntimeError("outer")
    error.__cause__ = cause
    return error


def test_an_absent_network_is_tried_again_without_end() -> None:
    problem = network_problem(
        caused_by(socket.gaierror(-3, "Temporary failure in name resolution")), "hub.example:443", is_tls=True
    )
    assert isinstance(problem, TryLater)
    assert not problem.counts
    assert problem.reason.text == "hub.example:443 can't be reached: Temporary failure in name resolution."


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    problem = network_problem(caused_by(error), "hub.example:443", is_tls=True)
    assert not isinstance(problem, TryLater)
    assert "SSL_CERT_FILE" in problem.reason.fix


def test_an_error_without_a_cause_is_a_sentence_too() -> None:
    assert network_problem(ValueError(), "h", is_tls=False).reason.text == "The connection to h broke off."


@pytest.mark.parametrize(
    ("status", "code", "is_hub", "expected"),
    [
        (404, "", True, "not-found"),
        (401, "RepoNotFound", True, "not-found"),
        (401, "", True, "gated"),
        (403, "GatedRepo", True, "gated"),
        (403, "", False, "link-expired"),
        (404, "", False, "link-expired"),
        (500, "", True, "hub-failed"),
        (429, "", False, "too-many"),
        (400, "", True, "hub-refused"),
    ],
)
def test_each_status_has_its_own_words(status: int, code: str, is_hub: bool, expected: str) -> None:
    headers = {"x-error-code": code}
    problem = status_problem(status, headers, what="a/b", where="h", is_hub=is_hub, wall=0.0)
    assert problem.reason.code == expected


def test_a_date_in_retry_after_is_read() -> None:
    headers = {"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}
    problem = status_problem(429, headers, what="a/b", where="h", is_hub=True, wall=40.0)
    assert isinstance(problem, TryLater)
    assert problem.after_s == 60.0


def test_a_full_disk_and_a_forbidden_folder_differ() -> None:
    full = write_problem(OSError(errno.ENOSPC, "No space left on device"), 2_500_000_000)
    assert full.reason.text == "The disk is full: 2.5 GB more are needed."
    forbidden = write_problem(PermissionError(errno.EACCES, "Permission denied", "/secret/path"), 1)
    assert forbidden.reason.text == "The file can't be written: Permission denied."
    assert isinstance(forbidden, DownloadFailed)
    assert "the folder for models" in forbidden.reason.fix
    full, forbidden = (
        write_problem(OSError(number, "x"), 1, "engines") for number in (errno.ENOSPC, errno.EIO)
    )
    assert full.is_of_disk
    assert full.reason.fix == "Free some space, then resume: what is here stays."
    assert "the folder for engines" in forbidden.reason.fix


def test_sizes_are_said_as_people_say_them() -> None:
    assert [in_gb(size) for size in (1, 98_362_432, 2_497_280_256)] == ["1 MB", "98 MB", "2.5 GB"]
