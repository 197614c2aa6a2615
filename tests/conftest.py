"""What holds for every test."""

from pathlib import Path

import hypothesis
import pytest

SLOW = frozenset(
    {"cli", "clients", "clouds", "desktop", "faults", "netns", "real", "security", "service", "web"}
)
"""Folders whose tests start processes, browsers or real engines; `-m "not slow"` leaves them out."""
COVERED = frozenset({"cli"})
"""The slow folders that dev.py runs with coverage, as it does the quick ones: most of it is one process."""
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


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--lane") == "off":
        import node  # noqa: PLC0415 - the whole service, for one attribute

        node.LANE = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow by its folder, and put it first: files run in parallel, and a long one must not end alone."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder in SLOW:
            item.add_marker("slow")
        if item.get_closest_marker("slow") is None or folder in COVERED:
            item.add_marker("covered")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
