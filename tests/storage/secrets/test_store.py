import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from keyring.errors import KeyringLocked

from meshlight.domain.config import KeyStorage
from meshlight.domain.errors import SecretError
from meshlight.storage.secrets.keyring import KeyringBackend
from meshlight.storage.secrets.secret import Secret
from meshlight.storage.secrets.store import Secrets
from storage.memory_storage import (
    CANARY,
    Clock,
    DialogKeyring,
    FailingKeyring,
    ForgetfulKeyring,
    MemoryKeyring,
    no_keyring,
    null_keyring,
)

Made = Callable[..., Secrets]


@pytest.fixture
def environ() -> dict[str, str]:
    return {}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secrets_with(tmp_path: Path, environ: dict[str, str], clock: Clock) -> Iterator[Made]:
    made: list[Secrets] = []

    def make(keyring: KeyringBackend | None = None, **more: object) -> Secrets:
        settings = {"file": tmp_path / "secrets.json", "environ": environ, "clock": clock, **more}
        made.append(Secrets(keyring=keyring, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for secrets in made:
        secrets.close()


async def revealed(secrets: Secrets, backend_id: str = "box") -> str | None:
    secret = await secrets.get(backend_id)
    return None if secret is None else secret.reveal()


async def test_a_kept_secret_is_found_again_by_the_next_start(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    await secrets_with(keyring).set("box", CANARY)
    assert keyring.kept == {("meshlight", "box/api_key"): CANARY}
    assert await revealed(secrets_with(keyring)) == CANARY


async def test_the_keyring_is_asked_once_and_only_in_its_own_thread(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    keyring.kept["meshlight", "box/api_key"] = CANARY
    secrets = secrets_with(keyring)
    assert [await revealed(secrets) for _ in range(5)] == [CANARY] * 5
    assert keyring.asked == 1
    assert keyring.threads == {"meshlight-keyring"}


async def test_the_environment_wins_and_the_keyring_is_left_alone(
    secrets_with: Made, environ: dict[str, str]
) -> None:
    keyring = MemoryKeyring()
    environ["MESHLIGHT_SECRET_BOX"] = CANARY
    secrets = secrets_with(keyring)
    assert await revealed(secrets) == CANARY
    assert keyring.asked == 0
    assert secrets.in_environment("box")
    assert not secrets.in_environment("other")


async def test_a_secret_that_nobody_gave_is_missing_and_three_fixes_are_named(secrets_with: Made) -> None:
    secrets = secrets_with(MemoryKeyring())
    assert await secrets.get("gpu-box") is None
    with pytest.raises(SecretError) as caught:
        await secrets.require("gpu-box")
    assert caught.value.state == "missing"
    assert "'gpu-box'" in caught.value.title
    for fix in (
        "backends add",
        "MESHLIGHT_SECRET_GPU_BOX",
        "MESHLIGHT_SECRET_GPU_BOX_FILE",
        "meshlight settings set key_storage file",
    ):
        assert fix in caught.value.hint


async def test_a_missing_secret_is_asked_for_again_after_a_minute(secrets_with: Made, clock: Clock) -> None:
    keyring = MemoryKeyring()
    secrets = secrets_with(keyring)
    for _ in range(3):
        assert await revealed(secrets) is None
    assert keyring.asked == 1
    keyring.kept["meshlight", "box/api_key"] = CANARY
    clock.now += 61
    assert await revealed(secrets) == CANARY


async def test_a_new_secret_takes_the_place_of_the_old_one_at_once(secrets_with: Made) -> None:
    secrets = secrets_with(MemoryKeyring())
    assert await revealed(secrets) is None
    await secrets.set("box", "one")
    held = await secrets.get("box")
    cached = secrets._cache["box/api_key"]
    await secrets.set("box", Secret(" two "))
    assert await revealed(secrets) == "two"
    assert cached.reveal() == ""
    assert held is not None
    assert held.reveal() == "one"


async def test_a_removed_secret_is_gone_from_memory_and_keyring(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    secrets = secrets_with(keyring)
    await secrets.set("box", CANARY)
    cached = secrets._cache["box/api_key"]
    assert await secrets.remove("box") is True
    assert cached.reveal() == ""
    assert keyring.kept == {}
    assert await revealed(secrets) is None
    assert await secrets.remove("box") is False


async def test_with_a_backend_go_all_its_secrets(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    secrets = secrets_with(keyring)
    await secrets.set("box", "one")
    await secrets.set("other", "two")
    await secrets.remove_all("box")
    assert keyring.kept == {("meshlight", "other/api_key"): "two"}


@pytest.mark.parametrize(
    ("keyring", "state"),
    [
        (no_keyring(), "no-keyring"),
        (null_keyring(), "refused"),
        (FailingKeyring(KeyringLocked("")), "locked"),
        (FailingKeyring(OSError("")), "no-keyring"),
    ],
)
async def test_why_a_secret_cannot_be_had_is_said_with_three_fixes(
    secrets_with: Made, keyring: KeyringBackend, state: str
) -> None:
    secrets = secrets_with(keyring)
    fact = await secrets.check("box")
    assert fact.state == state
    assert "keyring" in fact.text.lower()
    assert fact.fix.count("; or ") == 2
    assert "MESHLIGHT_SECRET_BOX" in fact.fix
    calls = (lambda: secrets.get("box"), lambda: secrets.set("box", CANARY), lambda: secrets.remove("box"))
    for call in calls:
        with pytest.raises(SecretError) as caught:
            await call()
        assert (caught.value.state, caught.value.title, caught.value.hint) == (state, fact.text, fact.fix)


async def test_how_it_stands_with_a_secret_can_be_told_without_telling_it(secrets_with: Made) -> None:
    secrets = secrets_with(MemoryKeyring())
    assert (await secrets.check("box")).state == "missing"
    await secrets.set("box", CANARY)
    fact = await secrets.check("box")
    assert fact.state == "present"
    assert CANARY not in repr(fact)


async def test_a_dialog_that_nobody_answers_blocks_neither_service_nor_threads(secrets_with: Made) -> None:
    keyring = DialogKeyring()
    secrets = secrets_with(keyring, limit_s=0.05)
    before = set(threading.enumerate())
    answers = await asyncio.gather(*(secrets.get(f"b{n}") for n in range(20)), return_exceptions=True)
    assert {(type(a), getattr(a, "state", "")) for a in answers} == {(SecretError, "locked")}
    assert len(set(threading.enumerate()) - before) == 1
    assert "dialog" in str(answers[0])
    keyring.answered.set()


async def test_a_dialog_that_is_answered_late_still_brings_the_secret(secrets_with: Made) -> None:
    keyring = DialogKeyring()
    keyring.kept["meshlight", "box/api_key"] = CANARY
    secrets = secrets_with(keyring, limit_s=0.05)
    with pytest.raises(SecretError):
        await secrets.get("box")
    keyring.answered.set()
    found = None
    while found is None:
        await asyncio.sleep(0)  # lets the loop take what the thread has for it
        with suppress(SecretError):
            found = await revealed(secrets)
    assert found == CANARY
    assert keyring.asked == 1


async def test_a_locked_keyring_is_left_alone_for_longer_each_time(secrets_with: Made, clock: Clock) -> None:
    keyring = FailingKeyring(KeyringLocked(""))
    secrets = secrets_with(keyring)
    asked = []
    for _ in range(4):
        for _ in range(3):
            with pytest.raises(SecretError):
                await secrets.get("box")
        asked.append(keyring.asked)
        clock.now += 61
    assert asked == [1, 2, 2, 3]


async def test_several_that_ask_a_locked_keyring_at_once_put_up_one_dialog(secrets_with: Made) -> None:
    keyring = FailingKeyring(KeyringLocked())
    secrets = secrets_with(keyring)
    for times in (1, 2):
        asked = [secrets.get(name) for name in ("one", "two", "three")]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(error, "state", "") for error in found] == ["locked"] * 3
        assert keyring.asked == times
        secrets.retry()  # the user wants to know now


async def test_an_unlocked_keyring_is_used_again_and_told_of_though_it_was_to_be_left_alone(
    secrets_with: Made, clock: Clock
) -> None:
    keyring = FailingKeyring(KeyringLocked())
    is_locked = True
    unlocked = asyncio.Event()
    secrets = secrets_with(
        keyring, is_locked=lambda _: is_locked, lock_poll_s=0.005, on_unlocked=unlocked.set
    )
    with pytest.raises(SecretError):
        await secrets.get("box")
    is_locked = False
    await asyncio.wait_for(unlocked.wait(), 5)
    assert keyring.asked == 1
    with pytest.raises(SecretError):
        await secrets.get("box")
    assert keyring.asked == 2
    assert clock.now == 1000.0  # by no lapse of time


async def test_an_error_that_is_remembered_names_the_backend_that_asks(secrets_with: Made) -> None:
    secrets = secrets_with(FailingKeyring(KeyringLocked("")))
    for backend_id in ("one", "two"):
        with pytest.raises(SecretError) as caught:
            await secrets.get(backend_id)
        assert f"MESHLIGHT_SECRET_{backend_id.upper()}," in caught.value.hint


async def test_who_wants_to_know_now_has_the_keyring_asked_now(secrets_with: Made) -> None:
    keyring = FailingKeyring(KeyringLocked(""))
    keyring.kept["meshlight", "box/api_key"] = CANARY
    secrets = secrets_with(keyring)
    with pytest.raises(SecretError):
        await secrets.get("box")
    keyring.error = None
    with pytest.raises(SecretError):
        await secrets.get("box")
    secrets.retry()
    assert await revealed(secrets) == CANARY


async def test_after_a_secret_was_kept_the_keyring_is_trusted_again(secrets_with: Made) -> None:
    keyring = FailingKeyring(KeyringLocked(""))
    keyring.kept["meshlight", "other/api_key"] = "other"
    secrets = secrets_with(keyring)
    with pytest.raises(SecretError):
        await secrets.get("other")
    keyring.error = None
    await secrets.set("box", CANARY)
    assert await revealed(secrets, "other") == "other"


async def test_a_keyring_that_only_says_it_keeps_the_secret_is_found_out(secrets_with: Made) -> None:
    with pytest.raises(SecretError, match="has not stored"):
        await secrets_with(ForgetfulKeyring()).set("box", CANARY)


@pytest.mark.parametrize("value", ["", "  ", "x" * 1281, "a\nb"])
async def test_what_cannot_be_kept_is_refused_before_the_keyring_sees_it(
    secrets_with: Made, value: str
) -> None:
    keyring = MemoryKeyring()
    with pytest.raises(SecretError) as caught:
        await secrets_with(keyring, longest=1280).set("box", value)
    assert caught.value.state == "refused"
    assert keyring.kept == {}


async def test_a_field_that_no_backend_has_is_a_mistake_of_the_caller(secrets_with: Made) -> None:
    with pytest.raises(ValueError, match="no secret field 'pin'"):
        await secrets_with(MemoryKeyring()).get("box", "pin")


async def test_a_plain_file_is_used_only_by_those_who_ask_for_it(secrets_with: Made, tmp_path: Path) -> None:
    with pytest.raises(SecretError):
        await secrets_with(no_keyring()).set("box", CANARY)
    assert not (tmp_path / "secrets.json").exists()
    insecure = secrets_with(insecure=True)
    await insecure.set("box", CANARY)
    assert CANARY in (tmp_path / "secrets.json").read_text()
    assert await revealed(secrets_with(insecure=True)) == CANARY
    await insecure.remove_all("box")
    assert CANARY not in (tmp_path / "secrets.json").read_text()


async def test_closing_overwrites_what_is_in_memory(secrets_with: Made) -> None:
    secrets = secrets_with(MemoryKeyring())
    await secrets.set("box", CANARY)
    cached = secrets._cache["box/api_key"]
    secrets.close()
    assert cached.reveal() == ""


@pytest.mark.parametrize(
    "keyring",
    [MemoryKeyring(), ForgetfulKeyring(), FailingKeyring(OSError(f"the bus said {CANARY}")), null_keyring()],
)
async def test_a_secret_is_found_in_no_log_and_no_error(
    secrets_with: Made, caplog: pytest.LogCaptureFixture, keyring: KeyringBackend
) -> None:
    secrets = secrets_with(keyring)
    seen: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for call in (
            lambda: secrets.set("box", CANARY),
            lambda: secrets.require("box"),
            lambda: secrets.check("box"),
            lambda: secrets.remove("box"),
        ):
            try:
                seen.append(repr(await call()))
            except SecretError as error:
                seen += [*traceback.format_exception(error), repr(error)]
    assert seen
    assert CANARY not in "".join(seen) + caplog.text


HERE, THERE = "https://api.example:443", "https://other.example:443"


async def test_a_key_that_was_given_for_one_address_is_not_told_for_another(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    secrets = secrets_with(keyring)
    await secrets.set("box", CANARY, origin=HERE)
    for asked in (secrets, secrets_with(keyring)):
        found = await asked.get("box", origin=HERE)
        assert found is not None
        assert found.reveal() == CANARY
        with pytest.raises(SecretError, match="was given for https:") as refused:
            await asked.get("box", origin=THERE)
        assert refused.value.state == "other-address"
        assert CANARY not in f"{refused.value.title} {refused.value.hint}"


async def test_a_key_of_an_older_version_is_for_the_address_for_which_it_is_first_asked(
    secrets_with: Made,
) -> None:
    keyring = MemoryKeyring()
    keyring.kept["meshlight", "box/api_key"] = CANARY
    first = await secrets_with(keyring).get("box", origin=HERE)
    assert first is not None
    assert first.reveal() == CANARY
    with pytest.raises(SecretError, match="so it is not sent to https://other"):
        await secrets_with(keyring).get("box", origin=THERE)


async def test_where_an_older_key_can_t_be_written_anew_it_is_for_one_address_all_the_same(
    secrets_with: Made,
) -> None:
    keyring = ForgetfulKeyring()
    keyring.kept["meshlight", "box/api_key"] = CANARY
    secrets = secrets_with(keyring)
    assert await secrets.get("box", origin=HERE) is not None
    with pytest.raises(SecretError, match="so it is not sent to"):
        await secrets.get("box", origin=THERE)


async def test_a_key_of_the_environment_stays_with_its_address_until_it_is_another_key(
    secrets_with: Made, environ: dict[str, str]
) -> None:
    environ["MESHLIGHT_SECRET_BOX"] = CANARY
    secrets = secrets_with(MemoryKeyring())
    assert await secrets.get("box", origin=HERE) is not None
    with pytest.raises(SecretError, match="so it is not sent to"):
        await secrets.get("box", origin=THERE)
    environ["MESHLIGHT_SECRET_BOX"] = "sk-new"
    assert await secrets.get("box", origin=THERE) is not None


async def test_choosing_the_file_holds_at_once_and_moves_what_is_stored(
    secrets_with: Made, tmp_path: Path
) -> None:
    keyring = MemoryKeyring()
    secrets = secrets_with(keyring)
    await secrets.set("box", CANARY)
    await secrets.use_file(on=True, backend_ids=("box", "none"))
    assert secrets.is_file
    assert keyring.kept == {}
    assert CANARY in (tmp_path / "secrets.json").read_text()
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert await revealed(secrets) == CANARY
    await secrets.use_file(on=False, backend_ids=("box",))
    assert await revealed(secrets) == CANARY
    assert CANARY not in (tmp_path / "secrets.json").read_text()


async def test_where_there_is_no_keyring_the_user_is_asked_and_the_file_works_right_after(
    secrets_with: Made,
) -> None:
    asked: list[str] = []
    secrets = secrets_with(no_keyring(), on_no_keyring=lambda: asked.append("now"))
    with pytest.raises(SecretError):
        await secrets.set("box", CANARY)
    assert asked == ["now"]
    assert (await secrets.storage()).state == "no-keyring"
    await secrets.use_file(on=True, backend_ids=("box",))
    await secrets.set("box", CANARY)
    assert await revealed(secrets) == CANARY
    assert (await secrets.storage()).state == "present"
    assert asked == ["now"]
    with pytest.raises(SecretError):
        await secrets.use_file(on=False, backend_ids=("box",))
    assert secrets.is_file, "what can't be moved stays where it is"
    assert await revealed(secrets) == CANARY


async def test_a_keyring_that_is_locked_keeps_its_secrets(secrets_with: Made) -> None:
    secrets = secrets_with(FailingKeyring(KeyringLocked()))
    with pytest.raises(SecretError, match="locked"):
        await secrets.use_file(on=True, backend_ids=("box",))
    assert not secrets.is_file


async def test_a_file_for_this_start_is_not_changed_by_the_configuration(secrets_with: Made) -> None:
    secrets = secrets_with(MemoryKeyring(), insecure=True)
    await secrets.use_file(on=False)
    secrets.switch(to_file=False)
    assert secrets.is_file


@pytest.mark.parametrize(
    ("choice", "is_made", "is_file"),
    [("ask", False, False), ("ask", True, True), ("keyring", True, False), ("file", False, True)],
)
def test_a_command_keeps_secrets_where_the_service_does(
    tmp_path: Path, choice: KeyStorage, *, is_made: bool, is_file: bool
) -> None:
    if is_made:
        (tmp_path / "secrets.json").write_text("{}")
    assert Secrets.without_service(tmp_path / "secrets.json", choice).is_file is is_file
