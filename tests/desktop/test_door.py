import socket
import threading
from pathlib import Path

import msgspec
import pytest

from desktop.local_api import KEY, LocalApi
from desktop.samples import mesh
from meshlight.desktop.client import LocalService
from meshlight.domain.errors import ServiceError
from meshlight.domain.runtime import Runtime


def test_without_a_runtime_file_one_learns_how_to_start_the_service(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="isn't running") as caught:
        LocalService.connect(tmp_path / "runtime.json")
    assert "meshlight serve" in caught.value.hint


def test_a_runtime_file_left_over_by_a_killed_service_is_not_a_running_service(tmp_path: Path) -> None:
    with LocalApi(tmp_path) as api:
        pass
    with pytest.raises(ServiceError, match=f"nobody answers at {api.url}"):
        LocalService.connect(api.runtime_file)


def test_a_broken_runtime_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "runtime.json").write_text("{")
    with pytest.raises(ServiceError, match=r"runtime\.json can't be read"):
        LocalService.connect(tmp_path / "runtime.json")


def test_a_stranger_on_the_port_never_gets_the_key(api: LocalApi) -> None:
    api.instance = "somebody else"
    with pytest.raises(ServiceError, match="Another program answers"):
        LocalService.connect(api.runtime_file)
    assert [one.path for one in api.asked] == ["/healthz"]
    assert all(KEY not in str(one.headers) for one in api.asked)


def test_a_key_that_cannot_be_read_is_said(api: LocalApi) -> None:
    (api.home / "local.key").unlink()
    with pytest.raises(ServiceError, match=r"local\.key can't be read"):
        LocalService.connect(api.runtime_file)


def test_the_proxies_of_the_environment_are_not_asked(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    api.says("GET", "/mesh/snapshot", mesh())
    with LocalService.connect(api.runtime_file) as service:
        assert service.snapshot() == mesh()


def test_a_key_that_the_environment_gives_is_used(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    (api.home / "local.key").unlink()
    monkeypatch.setenv("MESHLIGHT_KEY", KEY)
    api.says("GET", "/mesh/snapshot", mesh())
    with LocalService.connect(api.runtime_file) as service:
        assert service.snapshot() == mesh()


def test_a_server_that_speaks_no_http_is_another_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        runtime = Runtime(
            url=f"http://127.0.0.1:{server.getsockname()[1]}", pid=1, instance="i", key_file="k", version="0"
        )
        (tmp_path / "runtime.json").write_bytes(msgspec.json.encode(runtime))

        def answer() -> None:
            guest, _ = server.accept()
            with guest:
                guest.recv(4096)
                guest.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServiceError, match="Another program answers"):
            LocalService.connect(tmp_path / "runtime.json")
        thread.join()
