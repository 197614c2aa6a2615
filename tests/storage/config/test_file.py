import os
import stat
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import BadRequest, ConfigError, Conflict, NotFound
from meshlight.domain.rules import Routing
from meshlight.storage.config.file import ConfigFile
from storage.memory_storage import ring_for

BOX = Backend(id="box", name="GPU box", kind="vllm", ring="lan", url="http://box:8000")
BY_HAND = """\
# mine
port = 7000 # the usual one is taken

[[backends]]
kind = "mlx"
url = "http://mac:8080" # Ann's
"""
BROKEN = BY_HAND + "ring = 'wan'\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mesh" / "config.toml"


@pytest.fixture
def file(path: Path) -> ConfigFile:
    return ConfigFile(path, ring_for)


def by_hand(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_without_a_file_the_defaults_apply_and_no_file_is_made(file: ConfigFile, path: Path) -> None:
    assert file.load() == Config()
    assert file.load_or_last_good() == (Config(), None)
    assert not path.parent.exists()


def test_the_first_edit_makes_a_private_file(file: ConfigFile, path: Path) -> None:
    assert file.put_backend(BOX) == Config(backends=(BOX,))
    assert ConfigFile(path, ring_for).load() == Config(backends=(BOX,))
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_edit_keeps_what_was_written_by_hand(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    config = file.put_backend(BOX)
    assert path.read_text() == (
        BY_HAND + '\n[[backends]]\nid = "box"\nname = "GPU box"\nkind = "vllm"\nurl = "http://box:8000"\n'
    )
    assert [b.id for b in config.backends] == ["mac", "box"]
    file.remove_backend("box")
    assert path.read_text() == BY_HAND


def test_a_found_backend_that_is_changed_becomes_the_users_own(file: ConfigFile) -> None:
    [kept] = file.put_backend(replace(BOX, source="found", enabled=False)).backends
    assert kept.source == "config"
    assert not kept.enabled
    assert file.load().backends == (kept,)


def test_all_settings_can_be_changed(file: ConfigFile) -> None:
    file.set_value("port", 7001)
    file.set_value("name", "desk")
    file.set_value("require_key", value=False)
    file.set_routing(Routing(policy="fastest", aliases={"gpt-4": "qwen"}))
    config = file.set_discovery(DiscoverySettings(ignored=("http://127.0.0.1:8080",)))
    assert config == file.load() == file.last_good
    assert (config.port, config.name, config.require_key) == (7001, "desk", False)
    assert config.routing.aliases == {"gpt-4": "qwen"}
    assert config.discovery.ignored == ("http://127.0.0.1:8080",)


def test_setting_what_is_set_writes_nothing(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    before = file.current_signature()
    assert file.set_value("port", 7000).port == 7000
    assert file.current_signature() == before == file.last_signature


def test_an_edit_sees_what_was_saved_by_hand_a_moment_ago(file: ConfigFile, path: Path) -> None:
    file.load()
    by_hand(path, BY_HAND)
    config = file.set_value("name", "desk")
    assert (config.port, config.name) == (7000, "desk")
    assert "# the usual one is taken" in path.read_text()


def test_a_broken_file_is_not_edited_and_its_line_is_named(file: ConfigFile, path: Path) -> None:
    by_hand(path, BROKEN)
    with pytest.raises(ConfigError) as caught:
        file.put_backend(BOX)
    assert caught.value.line == 7
    assert caught.value.title.startswith(
        "line 7: backends[0].ring must be one of machine, lan, company, cloud"
    )
    assert str(path) in caught.value.hint
    assert path.read_text() == BROKEN


def test_a_refused_edit_does_not_hide_a_change_made_by_hand(file: ConfigFile, path: Path) -> None:
    file.load()
    by_hand(path, BY_HAND)
    with pytest.raises(NotFound):
        file.remove_backend("nobody")
    assert file.current_signature() != file.last_signature


def test_a_service_with_a_broken_file_starts_with_the_last_good_one(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    good = file.load()
    by_hand(path, BROKEN)
    config, error = ConfigFile(path, ring_for).load_or_last_good()
    assert config == good
    assert error is not None
    assert error.line == 7
    assert file.backup.read_text() == BY_HAND


def test_a_broken_file_without_a_last_good_one_means_the_defaults(file: ConfigFile, path: Path) -> None:
    by_hand(path, BROKEN)
    config, error = file.load_or_last_good()
    assert config == Config()
    assert error is not None


def test_before_an_edit_the_last_good_content_is_kept_beside_it(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    file.set_value("name", "desk")
    assert file.backup == path.with_name("config.toml.bak")
    assert file.backup.read_text() == BY_HAND


def test_a_wrong_value_is_a_bad_request_and_leaves_the_file(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    with pytest.raises(BadRequest) as caught:
        file.set_value("port", 99_999)
    assert caught.value.title == "The configuration stays as it is: port must be at most 65535, not 99999."
    with pytest.raises(Conflict):
        file.put_backend(replace(BOX, url="http://mac:8080/"))
    assert path.read_text() == BY_HAND


def test_a_deleted_file_is_written_anew_from_what_is_in_force(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    file.load()
    path.unlink()
    assert file.set_value("name", "desk").port == 7000
    assert "# the usual one is taken" in path.read_text()


def test_a_file_that_was_there_and_is_gone_is_no_reason_to_forget_it(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    good = file.load()
    path.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        file.load(must_exist=True)
    assert file.last_good == good


def test_a_change_that_a_layout_does_not_allow_is_refused_and_not_half_done(
    file: ConfigFile, path: Path
) -> None:
    # The rule for rings answers differently each time, so that no text can ever say what is wanted.
    rings: list[Ring] = ["lan", "cloud"] * 50
    file = ConfigFile(path, lambda *_: rings.pop())
    by_hand(path, BY_HAND)
    with pytest.raises(ConfigError, match="can't be made"):
        file.set_value("name", "desk")
    assert path.read_text() == BY_HAND


def test_an_edit_begins_again_when_somebody_saves_in_between(path: Path) -> None:
    by_hand(path, BY_HAND)
    saves = ["# theirs\n" + BY_HAND]

    def saving_ring(kind: Kind, url: str) -> Ring:
        if saves:
            by_hand(path, saves.pop())
        return ring_for(kind, url)

    ConfigFile(path, saving_ring).set_value("name", "desk")
    text = path.read_text()
    assert text.startswith("# theirs\n# mine\n")
    assert 'name = "desk"' in text


def test_a_file_that_never_comes_to_rest_is_not_edited(path: Path) -> None:
    by_hand(path, BY_HAND)
    turns = iter(range(1000))

    def restless(kind: Kind, url: str) -> Ring:
        by_hand(path, BY_HAND + f"# {next(turns)}\n")
        return ring_for(kind, url)

    with pytest.raises(ConfigError, match="keeps changing"):
        ConfigFile(path, restless).set_value("name", "desk")


def test_edits_from_several_threads_are_all_kept(file: ConfigFile) -> None:
    def add(number: int) -> None:
        file.put_backend(replace(BOX, id=f"b{number}", url=f"http://b{number}"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {b.id for b in file.load().backends} == {f"b{number}" for number in range(8)}


def test_a_file_that_is_no_file_is_an_error_with_its_path(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        ConfigFile(path, ring_for).load()
    assert str(path) in caught.value.title
    assert ConfigFile(path, ring_for).load_or_last_good()[0] == Config()


def test_where_nothing_can_be_written_the_user_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / ("c" * 250)  # the temporary file beside it would have too long a name
    with pytest.raises(ConfigError) as caught:
        ConfigFile(path, ring_for).set_value("name", "desk")
    assert "can't be written" in caught.value.title


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_a_linked_file_stays_linked_and_keeps_its_permissions(
    file: ConfigFile, path: Path, tmp_path: Path
) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(BY_HAND)
    real.chmod(0o644)
    path.parent.mkdir()
    path.symlink_to(real)
    file.set_value("name", "desk")
    assert path.is_symlink()
    assert "desk" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o644


def test_a_file_from_windows_stays_one(file: ConfigFile, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf# mine\r\nport = 7000\r\n")
    file.set_value("name", "desk")
    assert path.read_bytes() == b'\xef\xbb\xbf# mine\r\nport = 7000\r\nname = "desk"\r\n'


def test_backends_and_other_settings_change_in_one_edit(file: ConfigFile, path: Path) -> None:
    by_hand(path, BY_HAND)
    mac = file.load().backends[0]
    near = replace(BOX, id="near", url="http://10.0.0.8:8000")

    new = file.change(lambda old: replace(old, name="Lab", backends=(*old.backends, BOX, near)))
    assert (new.name, new.backends) == ("Lab", (mac, BOX, near))
    moved = replace(BOX, url="http://10.0.0.9:8000")
    file.change(lambda old: replace(old, name="", backends=(mac, moved)))
    assert file.load().backends == (mac, moved)
    assert "# Ann's" in path.read_text()
    file.change(lambda old: replace(old, backends=()))
    assert file.load().backends == ()


def test_a_backend_that_can_not_be_added_keeps_the_other_settings_as_they_are(
    file: ConfigFile, path: Path
) -> None:
    by_hand(path, BY_HAND)
    before = file.load()
    with pytest.raises(Conflict):
        file.change(
            lambda old: replace(
                old, name="Lab", backends=(*old.backends, replace(BOX, kind="mlx", url="http://mac:8080"))
            )
        )
    assert file.load() == before
    assert path.read_text() == BY_HAND
