"""What holds for every test."""

from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest

SLOW = frozenset(
    {"cli", "clients", "clouds", "desktop", "faults", "netns", "real", "security", "service", "web"}
)
"""Folders whose tests start processes, browsers or real engines; `-m "not slow"` leaves them out."""
COVERED = frozenset({"cli"})
"""Slow folders that are of the quick part all the same, run with coverage by dev.py: most of it is one process."""
TESTS = Path(__file__).parent

# A machine that is busy with other work is no failure: no test here is about how long one example takes.
hypothesis.settings.register_profile("meshlight", deadline=None)
hypothesis.settings.load_profile("meshlight")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lane",
        choices=("on", "off"),
        default="on",
        help="whether the services of the tests answer ordinary requests in the lane",
    )
    parser.addoption(
        "--part",
        choices=("quick", "slow"),
        help="only these folders; the files of the others are not even read",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    part = config.getoption("--part")
    folder = _folder(collection_path)
    if part is None or not folder or collection_path.parent != TESTS or not collection_path.is_dir():
        return None
    is_quick = folder not in SLOW or folder in COVERED
    return True if is_quick != (part == "quick") else None


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--lane") == "off":
        import node  # noqa: PLC0415 - the whole service, for one attribute

        node.LANE = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow by its folder, and put it first: files run in parallel, and a long one must not end alone."""
    for item in items:
        if _folder(item.path) in SLOW:
            item.add_marker("slow")
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            # Tracing doubles the time of a hundred examples, and what chance reaches should not count as covered.
            item.add_marker("no_cover")
    left_out = [
        *(["lane"] if config.getoption("--lane") == "off" else []),
        *(["plain"] if _is_compiled() else []),
    ]
    for marker in left_out:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def _is_compiled() -> bool:
    """Whether extension modules stand in for those of the relay, as `dev.py test --compiled` has it."""
    found = find_spec("meshlight.http_client.connection")
    return found is not None and not str(found.origin).endswith(".py")


def _folder(path: Path) -> str:
    """Return the folder of the tests that a path is or lies in; empty for another path."""
    parts = path.relative_to(TESTS).parts if path.is_relative_to(TESTS) else ()
    return parts[0] if parts else ""
