"""A catalog is made anew when something in it may have changed, and otherwise is the very same one."""

import msgspec

from fake_clock import FakeMesh, backend
from meshlight.backends.base import Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.health import Answered, Failed
from meshlight.domain.peers import Peer, SharedCatalog
from meshlight.peers.catalogs import Catalogs

ANNA = Peer(id="a" * 64, name="Anna", url="")


class Shop(FakeMesh):
    def __init__(self) -> None:
        super().__init__()
        self.offers = Catalogs()
        self.registry.put(backend("study"))
        self.probe()

    def probe(self, *models: str) -> None:
        details = {"m": ModelDetail(context=4096)}
        self.registry.record_probe(
            "study", Probe(fact=Answered(0.01), models=models or ("m",), details=details)
        )

    def catalog(self, peer: Peer = ANNA, *, sees: bool | None = None) -> SharedCatalog:
        return self.offers.catalog(self.registry.snapshot, peer, "b" * 64, "Ben", sees_you=sees)


def test_probes_that_bring_nothing_new_leave_the_catalog_as_it_is() -> None:
    shop = Shop()
    first = shop.catalog()
    shop.probe()
    shop.registry.record_about("study", {"Version": "2"})

    assert shop.catalog() is first


def test_models_health_terms_and_whether_the_peer_is_reached_make_another() -> None:
    shop = Shop()
    hashes = [shop.catalog().hash]
    shop.probe("m", "n")
    hashes.append(shop.catalog().hash)
    hashes.append(shop.catalog(sees=True).hash)
    hashes.append(shop.catalog(msgspec.structs.replace(ANNA, share_models=("n",))).hash)
    for _ in range(3):
        shop.registry.record_fact("study", Failed(Reason("refused", "No.", "")))
    hashes.append(shop.catalog().hash)

    assert len(set(hashes)) == 5


def test_slots_that_the_owner_sets_are_told_to_peers() -> None:
    shop = Shop()
    shop.registry.put(msgspec.structs.replace(shop.registry.node("study").backend, slots=3))
    [shared] = shop.catalog().backends
    assert shared.details["m"] == ModelDetail(context=4096, slots=3)


def test_who_is_no_peer_any_more_is_forgotten() -> None:
    shop = Shop()
    first = shop.catalog()
    shop.offers.forget({ANNA.id})
    assert shop.catalog() is first
    shop.offers.forget(set())
    assert shop.catalog() is not first
