import asyncio
import os
import sys
from typing import cast

import pytest

from local_models.engines.test_windows_job import FakeKernel
from meshlight.local_models.engines.guard import JobGuard, LauncherGuard, MinderGuard, guard_for


class FakeTransport:
    """A process that was started."""

    def __init__(self) -> None:
        self.killed = False

    def get_pid(self) -> int:
        return 123

    def kill(self) -> None:
        self.killed = True


def test_each_system_has_its_guard() -> None:
    assert isinstance(guard_for(has_children=False, system="linux"), LauncherGuard)
    assert isinstance(guard_for(has_children=True, system="linux"), MinderGuard)
    assert isinstance(guard_for(has_children=False, system="darwin"), MinderGuard)
    if sys.platform != "win32":
        with pytest.raises(OSError, match="Windows"):
            guard_for(has_children=False, system="win32")


def test_the_commands() -> None:
    launcher = LauncherGuard("/py").command(["/engine", "-m", "a b"])
    assert launcher[:3] == ["/py", "-I", "-S"]
    assert launcher[4:] == [str(os.getpid()), "/engine", "-m", "a b"]
    assert MinderGuard("/py").command(["/engine", "x"])[4:] == ["/engine", "x"]
    assert JobGuard(FakeKernel()).command(["/engine", "x"]) == ["/engine", "x"]


def test_a_process_on_windows_ends_with_its_job_or_is_ended_at_once() -> None:
    kernel, transport = FakeKernel(), FakeTransport()
    guard = JobGuard(kernel)
    guard.started(cast("asyncio.SubprocessTransport", transport))
    guard.terminate()
    guard.kill()
    guard.close()
    assert [call[0] for call in kernel.calls].count("terminate") == 2
    assert kernel.calls[-1] == ("close", 70)
    assert not transport.killed
    refused = JobGuard(FakeKernel("assign"))
    with pytest.raises(OSError, match="job object"):
        refused.started(cast("asyncio.SubprocessTransport", transport))
    assert transport.killed


@pytest.mark.parametrize("guard", [LauncherGuard("/py"), MinderGuard("/py")])
def test_without_a_process_nothing_is_signalled(guard: LauncherGuard | MinderGuard) -> None:
    guard.terminate()
    guard.kill()
    guard.close()
