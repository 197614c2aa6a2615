"""Why a download does not go on, in words for people; and whether a later try may help."""

import errno
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

from meshlight.domain.backend import Reason
from meshlight.http_client.connector import explain

CONNECT_S = 15.0
"""Seconds for a connection."""
RETRY_AFTER_MAX_S = 3_600.0
Folder = Literal["models", "engines"]
"""What is written to; only the one for models can be another."""
_DISK: frozenset[str] = frozenset({"disk", "disk-full"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DownloadFailed(Exception):
    """It has failed, and trying again by itself would not help; `reason` says why and what to do."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason

    @property
    def is_of_disk(self) -> bool:
        """Whether this machine's disk is at fault, so that what has arrived is as good as before."""
        return self.reason.code in _DISK


class TryLater(DownloadFailed):
    """It has failed now; a later try may help.

    `after_s` is when, if the server said so. A failure that `counts` ends the download when it comes again and again;
    an absent network never does.
    """

    def __init__(self, reason: Reason, *, after_s: float | None = None, counts: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.counts = counts


def network_problem(error: Exception, where: str, *, is_tls: bool) -> DownloadFailed:
    """Return the failure for an error of the connection to `where` (host and port)."""
    cause = _deepest_os_error(error)
    text = (
        explain(cause, where, is_tls=is_tls, limit_s=CONNECT_S).title
        if cause
        else f"The connection to {where} broke off."
    )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return DownloadFailed(
            Reason(
                "tls",
                text,
                "A company's own authority has to be known to this system, or named by the variable SSL_CERT_FILE.",
            )
        )
    return TryLater(
        Reason("offline", text, "It goes on by itself as soon as the network is back."),
        counts=isinstance(cause, ssl.SSLError),
    )


def status_problem(
    status: int, headers: Mapping[str, str], *, what: str, where: str, is_hub: bool, wall: float
) -> DownloadFailed:
    """Return the failure for an answer with an error status.

    `what` was asked for, `where` is the host, `is_hub` whether it is the one that was asked first (not one that it
    redirected to), `wall` the Unix time.
    """
    code = headers.get("x-error-code", "")
    if status == 429:
        after_s = _retry_after(headers, wall)
        return TryLater(
            Reason("too-many", f"{where} asks to wait: too many requests.", "It goes on by itself."),
            after_s=after_s,
        )
    if status in {408, 425} or status >= 500:
        return TryLater(
            Reason("hub-failed", f"{where} answered with the error {status}.", "It goes on by itself."),
            counts=True,
        )
    if not is_hub:  # the link to the file has a time limit; the hub gives a new one
        return TryLater(
            Reason(
                "link-expired", f"{where} refused the file ({status}).", "It asks the hub for a new link."
            ),
            counts=True,
        )
    if status == 404 or code in {"RepoNotFound", "EntryNotFound", "RevisionNotFound"}:
        return DownloadFailed(
            Reason(
                "not-found",
                f"There is no {what} at {where}.",
                "Check the spelling: OWNER/REPOSITORY. A private one needs a token in HF_TOKEN.",
            )
        )
    if status in {401, 403}:
        return DownloadFailed(
            Reason(
                "gated",
                f"{what} is not open to everybody: {where} answered {status}.",
                "Accept its terms on its page, put a token into HF_TOKEN (or run `hf auth login`), then try again.",
            )
        )
    return DownloadFailed(
        Reason("hub-refused", f"{where} refused {what} with the status {status}.", "Try again later.")
    )


def write_problem(error: OSError, needed: int, folder: Folder = "models") -> DownloadFailed:
    """Return the failure for an error in writing; `needed` bytes are missing yet in that folder."""
    if error.errno in _FULL:
        return disk_full(needed, folder)
    return DownloadFailed(
        Reason(
            "disk",
            f"The file can't be written: {error.strerror or type(error).__name__}.",
            f"Check the disk and the rights of the folder for {folder}, then resume.",
        )
    )


def disk_full(needed: int, folder: Folder = "models") -> DownloadFailed:
    """Return the failure for a disk without room for `needed` more bytes in that folder."""
    other = ", or set another folder for models" if folder == "models" else ""
    return DownloadFailed(
        Reason(
            "disk-full",
            f"The disk is full: {in_gb(needed)} more are needed.",
            f"Free some space{other}, then resume: what is here stays.",
        )
    )


def in_gb(size: int) -> str:
    """Return a number of bytes as people say it: `98 MB`, `2.5 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def _deepest_os_error(error: BaseException | None) -> OSError | None:
    found = None
    for _ in range(16):  # deeper chains don't occur, circles might
        if error is None:
            break
        if isinstance(error, OSError):
            found = error
        error = error.__cause__ or error.__context__
    if found is not None and found.errno is None and found.strerror is None and str(found) == "":
        return None
    return found


def _retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), an hour at most; None without."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), RETRY_AFTER_MAX_S)
    try:
        return min(max(parsedate_to_datetime(value).timestamp() - wall, 0.0), RETRY_AFTER_MAX_S)
    except (ValueError, OverflowError):
        return None
