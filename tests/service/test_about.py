from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from meshlight.service.about import PACKAGES_MAX, about, licence_of


class Package(Distribution):
    """A package with this metadata."""

    def __init__(self, *lines: tuple[str, str]) -> None:
        self._lines = lines

    def read_text(self, filename: str) -> str | None:
        message = Message()
        for name, value in self._lines:
            message[name] = value
        return str(message) if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "long text")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: BSD License"), ("License", "x")], "BSD License"),
        ([("License", "Apache-2.0")], "Apache-2.0"),
        ([("License", "MIT\x1b[31m" + "x" * 500)], "MIT" + "x" * 56 + "…"),
        ([], "see its files"),
    ],
)
def test_a_licence_is_found_where_packages_put_it(lines: list[tuple[str, str]], licence: str) -> None:
    assert licence_of(Package(*lines)) == licence


def test_every_package_that_is_needed_is_listed_once_with_a_licence() -> None:
    found = about()
    names = [one.name for one in found.packages]
    assert {"litestar", "msgspec", "httpx", "anyio"} <= set(names)
    assert len(names) == len(set(names)) <= PACKAGES_MAX
    assert not {"meshlight", "mypy", "pip", "pytest"} & set(names), "what only its makers use is not in it"
    assert all(name == name.lower() and "_" not in name for name in names)
    assert all(one.licence and one.version for one in found.packages)
