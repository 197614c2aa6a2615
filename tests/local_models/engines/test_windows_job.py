"""The job object at its seam: what is asked of Windows, and what follows when it refuses."""

import ctypes
import sys
from typing import Any

import pytest

from meshlight.local_models.engines.windows_job import (
    KILL_ON_JOB_CLOSE,
    ExtendedLimits,
    WindowsJob,
    windows_kernel,
)


class FakeKernel:
    """Writes down what it is asked for; fails at one function."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._fails = fails

    def _call(self, name: str, *arguments: Any, answer: int = 1) -> int:
        self.calls.append((name, *arguments))
        return 0 if name == self._fails else answer

    def CreateJobObjectW(self, _security: None, _name: None, /) -> int | None:  # noqa: N802
        return self._call("create", answer=70)

    def SetInformationJobObject(self, job: int, kind: int, limits: Any, size: int, /) -> int:  # noqa: N802
        flags = ctypes.cast(limits, ctypes.POINTER(ExtendedLimits)).contents.BasicLimitInformation.LimitFlags
        return self._call("limit", job, kind, flags, size)

    def OpenProcess(self, _access: int, _inherit: int, pid: int, /) -> int | None:  # noqa: N802
        return self._call("open", pid, answer=80)

    def AssignProcessToJobObject(self, job: int, process: int, /) -> int:  # noqa: N802
        return self._call("assign", job, process)

    def TerminateJobObject(self, job: int, _code: int, /) -> int:  # noqa: N802
        return self._call("terminate", job)

    def CloseHandle(self, handle: int, /) -> int:  # noqa: N802
        return self._call("close", handle)


def test_a_job_kills_what_is_in_it_when_it_closes() -> None:
    kernel = FakeKernel()
    job = WindowsJob(kernel)
    job.add(123)
    job.kill()
    job.close()
    job.close()
    job.kill()
    assert kernel.calls == [
        ("create",),
        ("limit", 70, 9, KILL_ON_JOB_CLOSE, ctypes.sizeof(ExtendedLimits)),
        ("open", 123),
        ("assign", 70, 80),
        ("close", 80),
        ("terminate", 70),
        ("close", 70),
    ]


@pytest.mark.skipif(sys.maxsize < 2**32, reason="the layout of 64 bits")
def test_the_limits_have_the_layout_of_windows() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144


@pytest.mark.parametrize("fails", ["create", "limit"])
def test_no_job_is_an_error(fails: str) -> None:
    kernel = FakeKernel(fails)
    with pytest.raises(OSError, match="job object"):
        WindowsJob(kernel)
    assert (("close", 70) in kernel.calls) is (fails == "limit")


@pytest.mark.parametrize("fails", ["open", "assign"])
def test_a_process_that_is_not_in_it_is_an_error(fails: str) -> None:
    kernel = FakeKernel(fails)
    job = WindowsJob(kernel)
    with pytest.raises(OSError, match="engine"):
        job.add(123)
    assert (("close", 80) in kernel.calls) is (fails == "assign")


@pytest.mark.skipif(sys.platform == "win32", reason="there it works")
def test_elsewhere_there_is_none() -> None:
    with pytest.raises(OSError, match="Windows"):
        windows_kernel()
