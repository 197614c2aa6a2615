from pathlib import Path

import pytest

from meshlight.domain.errors import SecretError
from meshlight.storage.secrets.environment import checked, secret_of_environment, variable
from storage.memory_storage import CANARY


def test_the_variable_is_named_after_the_backend() -> None:
    assert variable("gpu-box", "api_key") == "MESHLIGHT_SECRET_GPU_BOX"
    assert variable("gpu-box", "hmac_key") == "MESHLIGHT_SECRET_GPU_BOX_HMAC_KEY"


def test_the_environment_gives_a_secret_or_none() -> None:
    found = secret_of_environment({"MESHLIGHT_SECRET_BOX": f" {CANARY}\n"}, "box", "api_key")
    assert found is not None
    assert found.reveal() == CANARY
    assert secret_of_environment({"MESHLIGHT_SECRET_BOX": " "}, "box", "api_key") is None
    assert secret_of_environment({}, "box", "api_key") is None


def test_a_file_gives_it_too_and_is_read_anew_each_time(tmp_path: Path) -> None:
    environ = {"MESHLIGHT_SECRET_BOX_FILE": str(tmp_path / "key")}
    for value in ("one", "two"):
        (tmp_path / "key").write_text(f"{value}\n")
        found = secret_of_environment(environ, "box", "api_key")
        assert found is not None
        assert found.reveal() == value


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_gives_none_is_named_by_its_variable_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / CANARY
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretError) as caught:
        secret_of_environment({"MESHLIGHT_SECRET_BOX_FILE": str(path)}, "box", "api_key")
    assert caught.value.state == "missing"
    assert "MESHLIGHT_SECRET_BOX_FILE" in caught.value.title
    assert CANARY not in f"{caught.value.title} {caught.value.hint}"


def test_a_secret_that_could_not_go_into_a_header_is_refused() -> None:
    with pytest.raises(SecretError) as caught:
        checked(f"{CANARY}\r\nx-evil: 1", "this request")
    assert caught.value.state == "refused"
    assert CANARY not in f"{caught.value.title} {caught.value.hint}"
