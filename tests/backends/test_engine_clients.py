"""Who else is connected to an engine of this machine, as Linux tells it."""

import socket
import sys
from pathlib import Path

import pytest

from meshlight.backends.engine_clients import OTHER_MACHINE, Clients, EngineClients

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

PORTS = {"ollama": 0x2CAA, "vllm": 8000}
ENGINE, APP = "0100007F:2CAA", "0100007F:D431"
MAPPED = "0000000000000000FFFF0000"


def line(at: str, to: str, inode: int, state: str = "01") -> str:
    return f"   0: {at} {to} {state} 00000000:00000000 00:00000000 00000000 1000 0 {inode} 1 0 100 0 0 10 0\n"


class Proc:
    """A folder as the kernel shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connections()
        self.process("self", "meshlight")

    def connections(self, *lines: str, v6: str = "") -> None:
        net = self.folder / "self" / "net"
        net.mkdir(parents=True, exist_ok=True)
        (net / "tcp").write_text("  sl  local_address rem_address   st\n" + "".join(lines))
        (net / "tcp6").write_text(v6)

    def process(self, pid: str, name: str, *inodes: int) -> None:
        files = self.folder / pid / "fd"
        files.mkdir(parents=True, exist_ok=True)
        (self.folder / pid / "comm").write_text(f"{name}\n")
        for number, inode in enumerate(inodes):
            (files / str(number)).symlink_to(f"socket:[{inode}]")

    def look(self) -> dict[str, Clients]:
        return EngineClients(self.folder).look(PORTS)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_another_program_is_named_and_counted_once(proc: Proc) -> None:
    proc.process("77", "open-webui", 501)
    proc.connections(line(APP, ENGINE, 501), line(ENGINE, APP, 502))
    assert proc.look() == {"ollama": Clients(1, ("open-webui",))}


def test_meshlight_s_own_connections_do_not_count(proc: Proc) -> None:
    proc.process("self", "meshlight", 501)
    proc.connections(line(APP, ENGINE, 501), line(ENGINE, APP, 502))
    assert proc.look() == {}


def test_a_program_of_another_user_counts_without_a_name(proc: Proc) -> None:
    proc.connections(line(APP, ENGINE, 501), line(ENGINE, APP, 502))
    assert proc.look() == {"ollama": Clients(1)}


def test_another_machine_counts_where_the_engine_listens_to_it(proc: Proc) -> None:
    proc.connections(line("0501A8C0:1F40", "0901A8C0:C001", 502))
    assert proc.look() == {"vllm": Clients(1, (OTHER_MACHINE,))}


def test_the_two_ends_may_be_in_two_tables(proc: Proc) -> None:
    proc.process("77", "app", 501)
    proc.connections(line(APP, ENGINE, 501), v6=line(MAPPED + ENGINE, MAPPED + APP, 502))
    assert proc.look() == {"ollama": Clients(1, ("app",))}


def test_other_ports_and_states_and_rubbish_do_not_count(proc: Proc) -> None:
    proc.connections(line(APP, "0100007F:2CAB", 1), line(APP, ENGINE, 2, "06"), "rubbish 01\n", v6="\x00\n")
    assert proc.look() == {}
    assert EngineClients(proc.folder / "nowhere").look(PORTS) == {}


def test_this_process_sees_its_own_connection_as_its_own() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        port = server.getsockname()[1]
        assert EngineClients().look({"a": port}) == {}
