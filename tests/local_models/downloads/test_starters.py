"""The table of starters."""

from meshlight.domain.local_views import Fit
from meshlight.local_models.downloads.names import is_repository, is_safe_path, parse_name
from meshlight.local_models.downloads.offers import quantization_of
from meshlight.local_models.downloads.starters import STARTERS, TINY, find_starter, starter_views


def test_the_first_one_comes_with_all_its_hashes() -> None:
    assert STARTERS[0] is TINY
    assert TINY.wheel is not None
    assert (TINY.wheel.member_size, TINY.wheel.member_sha256) == (TINY.size, TINY.sha256)


def test_each_is_found_by_its_name_and_gets_an_id_that_says_what_it_is() -> None:
    for starter in STARTERS:
        assert find_starter(starter.name.upper()) is starter
        assert is_repository(starter.repository)
        assert is_safe_path(starter.file)
        assert starter.model == f"{starter.repository}:{quantization_of(starter.file)}"
        assert starter.wheel or parse_name(starter.name).repository == starter.repository
    assert find_starter("nothing") is None


def test_an_offer_says_whether_it_fits_and_is_here() -> None:
    def fits(size: int) -> tuple[Fit, int]:
        return ("now", 0) if size < 1_000_000_000 else ("never", size)

    views = starter_views(fits, lambda model: model == TINY.model)
    assert [(view.fits, view.is_here) for view in views] == [("now", True), ("now", False), ("never", False)]
    assert all(view.licence and view.good_for for view in views)
