import asyncio
import gc
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlight.api_client.client import ApiClient
from meshlight.domain.errors import SecretError
from meshlight.simulator.engine import SimulatedEngine
from meshlight.storage.secrets.store import Secrets
from process_fixture import Home, wait_until
from storage.memory_storage import CANARY

if sys.platform != "linux":
    pytest.skip("the Secret Service is Linux's", allow_module_level=True)

from stopwatch import Stopwatch
from storage.secrets.keyrings import HERE, GnomeKeyring

pytestmark = [
    pytest.mark.skipif(not HERE, reason="needs gnome-keyring and dbus-daemon"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Collect here what the keyring library leaves open when it finds a lock, and not in some later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def gnome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GnomeKeyring]:
    with GnomeKeyring(tmp_path / "session") as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


def service_keyring() -> Any:
    from keyring.backends.SecretService import Keyring  # noqa: PLC0415 - looks at the bus when it is made

    return Keyring()  # type: ignore[no-untyped-call]  # as it comes


@pytest.mark.usefixtures("gnome")
async def test_a_real_keyring_keeps_gives_and_forgets(tmp_path: Path) -> None:
    first, second = (Secrets(file=tmp_path / "no", environ={}, keyring=service_keyring()) for _ in range(2))
    await first.set("box", CANARY)
    found = await second.get("box")
    assert found is not None
    assert found.reveal() == CANARY
    assert await first.remove("box")
    assert (await first.check("box")).state == "missing"
    first.close()
    second.close()


async def test_a_locked_keyring_is_said_and_its_unlocking_is_noticed_without_another_question(
    gnome: GnomeKeyring, tmp_path: Path
) -> None:
    secrets = Secrets(file=tmp_path / "no", environ={}, keyring=service_keyring())
    await secrets.set("box", CANARY)
    secrets.close()
    unlocked = asyncio.Event()
    secrets = Secrets(
        file=tmp_path / "no",
        environ={},
        keyring=service_keyring(),
        lock_poll_s=0.1,
        on_unlocked=unlocked.set,
    )
    gnome.lock()
    with pytest.raises(SecretError, match="locked") as caught:
        await secrets.get("box")
    assert caught.value.state == "locked"
    assert not unlocked.is_set()
    gnome.unlock()
    await asyncio.wait_for(unlocked.wait(), 5)
    found = await secrets.get("box")
    assert found is not None
    assert found.reveal() == CANARY
    secrets.close()


async def test_a_bus_that_is_away_is_said_with_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/nowhere")
    secrets = Secrets(file=tmp_path / "no", environ={}, keyring=service_keyring())
    fact = await secrets.check("box")
    assert fact.state in {"no-keyring", "locked"}
    for way in ("MESHLIGHT_SECRET_BOX", "meshlight settings set key_storage file"):
        assert way in fact.fix
    secrets.close()


async def test_a_backend_says_that_the_keyring_is_locked_and_is_well_five_seconds_after_its_unlocking(
    gnome: GnomeKeyring, tmp_path: Path
) -> None:
    async with SimulatedEngine("vllm", "studio", control_port=None) as engine:
        home = Home(tmp_path / "home")
        process = home.start("serve", "--quiet")
        try:
            await asyncio.to_thread(wait_until, home.runtime_file.exists)
            with ApiClient.connect(home.runtime_file) as service:
                wish = {
                    "kind": "vllm",
                    "url": engine.url,
                    "name": "studio",
                    "api_key": CANARY,
                    "ring": "cloud",
                }
                added = await asyncio.to_thread(service.add, wish)
            process.terminate()
            await asyncio.to_thread(process.communicate, timeout=20)
            assert CANARY not in (home.folder / "config.toml").read_text()

            gnome.lock()
            process = home.start("serve", "--quiet")
            await asyncio.to_thread(wait_until, home.runtime_file.exists)
            with ApiClient.connect(home.runtime_file) as service:

                def state() -> tuple[str, str]:
                    health = service.backends()[0].health
                    return health.state, health.reason

                await asyncio.to_thread(wait_until, lambda: state() == ("unhealthy", "secret-locked"))
                assert "Unlock the keyring" in service.backends()[0].health.fix
                stopwatch = Stopwatch(process.pid)
                gnome.unlock()
                await asyncio.to_thread(wait_until, lambda: state()[0] == "healthy")
                assert stopwatch.elapsed_s <= 5.0
                await asyncio.to_thread(service.remove, added.id)
            found = await Secrets(file=tmp_path / "no", environ={}, keyring=service_keyring()).get(added.id)
            assert found is None
        finally:
            process.terminate()
            await asyncio.to_thread(process.communicate, timeout=20)
