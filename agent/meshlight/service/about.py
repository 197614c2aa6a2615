"""What this program is built on: its packages and their licences, as their own metadata says."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from platform import python_version
from typing import Final

from meshlight import __version__
from meshlight.domain.settings_views import AboutView, Licence
from meshlight.domain.text import cut, sanitize

NAME: Final = "meshlight"
OWN_LICENCE: Final = "Apache-2.0"
PACKAGES_MAX: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""\bextra\s*==\s*['"]([\w.-]+)""")
OWN_EXTRAS: Final = frozenset({"local", "qt"})
_CELLS: Final = 60


def about() -> AboutView:
    """Return the versions and licences; reads files of all packages, so call it in a thread."""
    found: dict[str, Licence] = {}
    waiting = _needed(NAME)
    while waiting and len(found) < PACKAGES_MAX:
        name = waiting.pop()
        if name in found or name == NAME:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another system, or an extra that is not installed
        found[name] = Licence(name=name, version=sanitize(package.version), licence=licence_of(package))
        waiting |= _needed(name)
    packages = tuple(sorted(found.values(), key=lambda one: one.name))
    return AboutView(version=__version__, python=python_version(), licence=OWN_LICENCE, packages=packages)


def licence_of(package: Distribution) -> str:
    """Return a licence's short name, from the newest of the three places where packages put it."""
    metadata = package.metadata
    if expressions := metadata.get_all("License-Expression"):
        return cut(sanitize(expressions[0]), _CELLS)
    classifiers = metadata.get_all("Classifier") or []
    names = [
        one.rpartition(" :: ")[2]
        for one in classifiers
        if one.startswith("License ::") and one.count("::") > 1
    ]
    text = ", ".join(names) or "".join(metadata.get_all("License") or []).partition("\n")[0]
    return cut(sanitize(text), _CELLS) or "see its files"


def _needed(name: str) -> set[str]:
    """Return the packages that one needs, by their normalized names; of extras, only our own for users."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return set()
    found = set()
    for one in requirements:
        match, extra = _NAME.match(one), _EXTRA.search(one)
        if match and (extra is None or (name == NAME and extra[1] in OWN_EXTRAS)):
            found.add(re.sub(r"[-_.]+", "-", match[0]).lower())
    return found
