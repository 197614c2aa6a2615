import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pytest

from api_client.local_api import INSTANCE, KEY, LocalApi
from desktop.samples import mesh
from meshlight.api_client.client import ApiClient, SharedClient
from meshlight.domain.config import Runtime
from meshlight.domain.errors import NotRunning, ServiceError


class Impostor:
    """Whoever listens at the port of a service that has ended; gives everybody the same answer."""

    def __init__(self, home: Path, answer: bytes, port: int = 0) -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", port))
        url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        (home / "local.key").write_text(KEY)
        runtime = Runtime(
            url=url, pid=1, instance=INSTANCE, key_file=str(home / "local.key"), version="0.1.0"
        )
        (home / "runtime.json").write_bytes(msgspec.json.encode(runtime))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                guest, _ = self._server.accept()
            except OSError:
                return
            with guest, suppress(OSError):
                self.heard.append(guest.recv(65_536))
                guest.sendall(self._answer)
                guest.shutdown(socket.SHUT_WR)
                while more := guest.recv(65_536):
                    self.heard[-1] += more


def test_without_a_runtime_file_one_learns_how_to_start_the_service(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="isn't running") as caught:
        ApiClient.connect(tmp_path / "runtime.json")
    assert "meshlight" in caught.value.hint


def test_a_runtime_file_left_over_by_a_killed_service_is_not_a_running_service(tmp_path: Path) -> None:
    with LocalApi(tmp_path) as api:
        pass
    with pytest.raises(NotRunning, match=f"nothing answers at {api.url}"):
        ApiClient.connect(api.runtime_file)


def test_a_broken_runtime_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "runtime.json").write_text("{")
    with pytest.raises(ServiceError, match=r"runtime\.json can't be read"):
        ApiClient.connect(tmp_path / "runtime.json")


def test_a_stranger_on_the_port_never_gets_the_key(api: LocalApi) -> None:
    api.instance = "somebody else"
    with pytest.raises(ServiceError, match="Another program answers"):
        ApiClient.connect(api.runtime_file)
    assert (api.proofs, api.asked) == (1, [])


def test_a_program_that_knows_the_instance_but_not_the_key_never_gets_it(api: LocalApi) -> None:
    api.key = "what a stranger guesses"
    with pytest.raises(ServiceError, match="Another program answers"):
        ApiClient.connect(api.runtime_file)
    assert (api.proofs, api.asked) == (1, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"proof":"\xff"}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"proof":""}HTTP/1.1 200 OK\r\n',
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 20_000,
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_server_that_proves_nothing_is_another_program(tmp_path: Path, answer: bytes) -> None:
    with (
        Impostor(tmp_path, answer) as impostor,
        pytest.raises(ServiceError, match="Another program answers at http"),
    ):
        ApiClient.connect(tmp_path / "runtime.json")
    assert all(KEY.encode() not in heard for heard in impostor.heard)


def test_whoever_takes_the_port_over_while_a_client_lives_never_gets_the_key(tmp_path: Path) -> None:
    with LocalApi(tmp_path) as api:
        api.says("GET", "/mesh/snapshot", mesh())
        service = ApiClient.connect(api.runtime_file)
        api.hangs_up = True
        assert service.snapshot() == mesh()
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"proof":""}'
    with service, Impostor(tmp_path, answer, api.port) as impostor:
        for ask in (service.snapshot, service.one_time_link, service.peers):
            with pytest.raises(ServiceError, match="Another program answers"):
                ask()
        with pytest.raises(ServiceError, match="Another program answers"):
            next(service.events())
    assert len(impostor.heard) == 4
    assert all(KEY.encode() not in heard for heard in impostor.heard)


def test_a_key_that_cannot_be_read_is_said(api: LocalApi) -> None:
    (api.home / "local.key").unlink()
    with pytest.raises(ServiceError, match=r"local\.key can't be read"):
        ApiClient.connect(api.runtime_file)


def test_the_proxies_of_the_environment_are_not_asked(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    api.says("GET", "/mesh/snapshot", mesh())
    with ApiClient.connect(api.runtime_file) as service:
        assert service.snapshot() == mesh()


def test_a_key_that_the_environment_gives_is_used(api: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    (api.home / "local.key").unlink()
    monkeypatch.setenv("MESHLIGHT_KEY", KEY)
    api.says("GET", "/mesh/snapshot", mesh())
    with ApiClient.connect(api.runtime_file) as service:
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
            ApiClient.connect(tmp_path / "runtime.json")
        thread.join()


def test_a_shared_client_proves_its_connection_once_and_keeps_it(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    shared = SharedClient(api.runtime_file)
    for _ in range(3):
        with shared.use() as client:
            assert client.snapshot() == mesh()
    shared.close()
    assert api.proofs == 1
    assert [asked.path for asked in api.asked] == ["/healthz"] + 3 * ["/mesh/snapshot"]


def test_a_shared_client_whose_connection_was_closed_proves_the_next_one(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    shared = SharedClient(api.runtime_file)
    with shared.use() as client:
        api.hangs_up = True
        client.snapshot()  # its response closes the connection
    api.hangs_up = False
    for _ in range(2):
        with shared.use() as client:
            assert client.snapshot() == mesh()
    shared.close()
    assert api.proofs == 2


def test_a_shared_client_never_gives_the_key_to_whoever_takes_the_port_over(tmp_path: Path) -> None:
    with LocalApi(tmp_path) as api:
        api.says("GET", "/mesh/snapshot", mesh())
        shared = SharedClient(api.runtime_file)
        with shared.use() as client:
            api.hangs_up = True
            client.snapshot()
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"proof":""}'
    with (
        Impostor(tmp_path, answer, api.port) as impostor,
        pytest.raises(ServiceError, match="Another program answers"),
        shared.use() as client,
    ):
        client.snapshot()
    shared.close()
    assert all(KEY.encode() not in heard for heard in impostor.heard)


def test_a_shared_client_connects_again_when_the_service_was_started_again(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    shared = SharedClient(api.runtime_file)
    with shared.use() as old:
        runtime = msgspec.structs.replace(old.runtime, instance="start-2")
        api.runtime_file.write_bytes(msgspec.json.encode(runtime))
        api.instance = "start-2"
        with shared.use() as new:
            assert new is not old
            assert new.snapshot() == mesh()
        assert old.snapshot() == mesh()  # a client in use is closed only after its last user
    shared.close()


def test_a_shared_client_without_a_service_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="isn't running"), SharedClient(tmp_path / "runtime.json").use():
        pass


def test_a_shared_client_that_is_used_after_its_end_leaves_no_connection_open(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    shared = SharedClient(api.runtime_file)
    shared.close()
    with shared.use() as client:
        assert client.snapshot() == mesh()
    with pytest.raises(RuntimeError, match="closed"):
        client.snapshot()


def test_a_shared_client_follows_a_key_that_was_replaced(api: LocalApi) -> None:
    shared = SharedClient(api.runtime_file)
    with shared.use() as first:
        pass
    api.key = "the-key-after-it"
    (api.home / "local.key").write_text(api.key)
    with shared.use() as second:
        assert second is not first
        assert second.has_key(api.key)
    shared.close()
