from pathlib import Path

from meshlight.cli.doctor_checks import check_keyring
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config
from meshlight.storage.paths import Paths


def test_a_backend_whose_key_is_gone_is_wrong(tmp_path: Path) -> None:
    places = Paths.here({"MESHLIGHT_HOME": str(tmp_path)})
    places.secrets_file.write_text("{}")
    places.secrets_file.chmod(0o600)
    keyed = Backend(id="far", name="Far", kind="vllm", ring="lan", url="http://far", has_secret=True)
    plain, missing = check_keyring(places, Config(backends=(keyed,)))
    assert "plain file" in plain.message
    assert (missing.level, missing.message.startswith("The API key of Far can't be read")) == ("wrong", True)
    assert len(check_keyring(places, Config())) == 1
    [chosen] = check_keyring(places, Config(key_storage="file"))
    assert (chosen.level, "as you chose" in chosen.message) == ("ok", True)
