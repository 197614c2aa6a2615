import re
import tomllib

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.storage.config.parser import BackendEntry, ConfigEntries, read_config
from meshlight.storage.config.starter import STARTER
from storage.memory_storage import ring_for

SETTING = re.compile(r"^# (\[.*|[\w\"-]+ = .*)$", re.MULTILINE)


def test_the_starter_changes_nothing() -> None:
    assert read_config(STARTER, ring_for) == Config()


def test_with_its_settings_uncommented_it_is_a_good_configuration() -> None:
    config = read_config(SETTING.sub(r"\1", STARTER), ring_for)
    assert config.backends == (
        Backend(
            id="gpu-box",
            name="GPU box",
            kind="openai-compatible",
            ring="lan",
            url="http://gpu-box:8000",
        ),
    )
    assert config.routing.rules[0].bound == "lan"
    assert (config.port, config.require_key) == (Config().port, Config().require_key)


def test_it_names_every_setting_that_a_person_may_want() -> None:
    shown = tomllib.loads(SETTING.sub(r"\1", STARTER))
    assert set(shown) == set(ConfigEntries.__struct_fields__) - {"peers"}, "pairing writes those"
    assert set(shown["backends"][0]) == set(BackendEntry.__struct_fields__) - {"has_secret", "node_id"}
    assert set(shown["routing"]) == {"policy", "aliases", "rules"}
