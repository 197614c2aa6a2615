"""The folder of pinned certificates: what it says of a peer is what that peer's key says."""

import os
import stat
from pathlib import Path

import pytest

from meshlight.storage.node_key import identity_of, new_key
from meshlight.storage.peer_certificates import LIMIT, PeerCertificates

ANNA = identity_of(new_key())
BEN = identity_of(new_key())


def test_a_pinned_peer_is_there_after_a_restart(tmp_path: Path) -> None:
    PeerCertificates(tmp_path).put(ANNA.node_id, ANNA.certificate_pem)
    PeerCertificates(tmp_path).put(BEN.node_id, BEN.certificate_pem)
    assert PeerCertificates(tmp_path).all() == {
        ANNA.node_id: ANNA.certificate_pem,
        BEN.node_id: BEN.certificate_pem,
    }


def test_a_removed_peer_is_gone_and_removing_it_again_is_no_error(tmp_path: Path) -> None:
    pinned = PeerCertificates(tmp_path)
    pinned.put(ANNA.node_id, ANNA.certificate_pem)
    assert pinned.remove(ANNA.node_id)
    assert not pinned.remove(ANNA.node_id)
    assert pinned.all() == {}


def test_before_the_first_pairing_there_is_nobody(tmp_path: Path) -> None:
    assert PeerCertificates(tmp_path / "new").all() == {}
    assert not PeerCertificates(tmp_path / "new").remove(ANNA.node_id)


def test_a_certificate_can_not_be_pinned_for_somebody_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not that of the peer"):
        PeerCertificates(tmp_path).put(ANNA.node_id, BEN.certificate_pem)
    assert PeerCertificates(tmp_path).all() == {}


@pytest.mark.parametrize("node_id", ["", "..", "../../evil", "A" * 64, "a" * 63, "a" * 64 + "/b"])
def test_no_other_file_is_touched_by_a_strange_id(tmp_path: Path, node_id: str) -> None:
    outside = tmp_path / "evil.pem"
    outside.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"."):
        PeerCertificates(tmp_path).put(node_id, ANNA.certificate_pem)
    with pytest.raises(ValueError, match="not a node id"):
        PeerCertificates(tmp_path).remove(node_id)
    assert outside.read_bytes() == b"mine"


def test_files_that_do_not_hold_what_their_name_says_let_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pinned = PeerCertificates(tmp_path)
    pinned.put(ANNA.node_id, ANNA.certificate_pem)
    folder = tmp_path / "peers"
    (folder / f"{BEN.node_id}.pem").write_bytes(ANNA.certificate_pem)
    (folder / f"{'0' * 64}.pem").write_bytes(b"garbage")
    (folder / f"{'1' * 64}.pem").write_bytes(b"\xff" * 10)
    (folder / f"{'2' * 64}.pem").write_bytes(ANNA.certificate_pem + b"#" * LIMIT)
    (folder / f"{'3' * 64}.pem").mkdir()
    (folder / "note.txt").write_text("not a certificate")
    assert pinned.all() == {ANNA.node_id: ANNA.certificate_pem}
    assert caplog.text.count("pair it again") == 5


def test_a_file_holds_one_certificate_and_nothing_else(tmp_path: Path) -> None:
    pinned = PeerCertificates(tmp_path)
    with pytest.raises(ValueError, match=r"."):
        pinned.put(ANNA.node_id, ANNA.certificate_pem + BEN.certificate_pem)
    pinned.put(ANNA.node_id, ANNA.certificate_pem + b"\n\n")
    assert pinned.all() == {ANNA.node_id: ANNA.certificate_pem}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_certificate_is_public_and_its_folder_is_not(tmp_path: Path) -> None:
    PeerCertificates(tmp_path).put(ANNA.node_id, ANNA.certificate_pem)
    file = tmp_path / "peers" / f"{ANNA.node_id}.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
