"""The tree of the Linux packages: one virtual environment for every Python from 3.11 to 3.14.

It stands on the distribution's own `/usr/bin/python3`, so that GTK's modules of the distribution fit. The extension
modules of all these Pythons lie side by side, each under the name that only its Python looks for.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dev_uv
from dev_venv import Failure, tail, tool

PREFIX = Path("opt/meshlight")
UNUSED_FOLDERS = ("bin", "faker", "polyfactory")
"""Litestar makes up examples for its API description with the last two; we give none, and it runs without them."""
UNUSED_MODULES = ("PIL/_avif", "PIL/_webp", "PIL/_imagingft", "PIL/_imagingcms", "PIL/_imagingtk")
"""Pillow draws icons here: no AVIF, WebP, fonts or colour profiles."""
UNUSED_RECORDS = ("RECORD", "direct_url.json", "uv_cache.json", "uv_build.json")
"""Of each `.dist-info`: what lay where while the tree was made."""
UNUSED_SUFFIXES = frozenset({".c", ".cpp", ".h", ".pxd", ".pyi", ".pyx", ".pyc"})
LAUNCHER = """\
#!/{prefix}/bin/python3 -sP
from meshlight.cli.entry import main

main()
"""
CONFIG = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3\n"
STRIP = {"amd64": "x86_64-linux-gnu-strip", "arm64": "aarch64-linux-gnu-strip"}


def make(root: Path, wheel: Path, architecture: str, work: Path) -> None:
    """Write the tree with Meshlight from a wheel below `root`, using the folder `work`. Raises Failure."""
    site = root / PREFIX / "lib" / "python3" / "site-packages"
    for python in dev_uv.PYTHONS:
        part = work / f"site-{python}"
        dev_uv.install([str(wheel)], part, python, dev_uv.LINUX[architecture])
        merge(part, site)
        shutil.rmtree(part)
    slim(site)
    _strip(site, architecture)
    _make_venv(root / PREFIX)


def merge(part: Path, site: Path) -> None:
    """Move the files of one Python's packages to those of the others. Raises Failure where two differ."""
    for file in sorted(file for file in part.rglob("*") if file.is_file()):
        target = site / file.relative_to(part)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        elif not _is_record(target.relative_to(site)) and not filecmp.cmp(file, target, shallow=False):
            raise Failure(
                f"{target.relative_to(site)} is not the same file for every Python, so they can't share a tree."
            )


def slim(site: Path) -> None:
    """Delete what no installation uses: whole packages, modules, sources, and libraries that nothing links to."""
    for name in UNUSED_FOLDERS:
        for folder in (site / name, *site.glob(f"{name}-*.dist-info")):
            shutil.rmtree(folder, ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    for name in UNUSED_MODULES:
        for file in site.glob(f"{name}.*"):
            file.unlink()
    for file in [file for file in site.rglob("*") if file.suffix in UNUSED_SUFFIXES]:
        file.unlink()
    for name in UNUSED_RECORDS:
        for file in site.glob(f"*.dist-info/{name}"):
            file.unlink()
    for folder in list(site.rglob("__pycache__")):
        folder.rmdir()
    for folder in site.glob("*.libs"):
        for file in unlinked(folder, site / folder.stem.replace("pillow", "PIL")):
            file.unlink()


def unlinked(libraries: Path, package: Path) -> set[Path]:
    """Return the libraries that no extension module of the package needs, not even through another library."""
    left = set(libraries.iterdir())
    linking = list(package.rglob("*.so"))
    while linking:
        content = linking.pop().read_bytes()
        needed = {file for file in left if file.name.encode() in content}
        linking += needed
        left -= needed
    return left


def licences(folder: Path) -> list[str]:
    """Return one line for each package below a folder: its name, version and licence."""
    lines = []
    for metadata in sorted(folder.rglob("*.dist-info/METADATA"), key=lambda path: str(path).lower()):
        fields = dict(_fields(metadata.read_text(encoding="utf-8", errors="replace")))
        licence = fields.get("License-Expression") or fields.get("License") or fields.get("Classifier", "")
        lines.append(f"{fields['Name']} {fields['Version']}: {licence.strip()[:60] or 'see its own files'}")
    return lines


def _fields(metadata: str) -> Iterator[tuple[str, str]]:
    """Yield the header fields; of the classifiers, only the one that names a licence."""
    for line in metadata.partition("\n\n")[0].splitlines():
        name, separator, value = line.partition(": ")
        if not separator or line[0].isspace():
            continue
        if name != "Classifier":
            yield name, value
        elif value.startswith("License :: "):
            yield name, value.rpartition(" :: ")[2]


def _strip(site: Path, architecture: str) -> None:
    """Remove debugging symbols from the extension modules: half of the tree. Raises Failure."""
    strip = tool(STRIP[architecture])
    if strip is None:
        raise Failure(f"{STRIP[architecture]} is not here.")
    files = [str(file) for file in site.rglob("*") if re.search(r"\.so(\.\d+)*$", file.name)]
    # Not what manylinux's tools have moved to the end of a library: strip would break its program headers.
    modules = [file for file in files if ".libs/" not in file]
    done = subprocess.run([strip, "--strip-unneeded", *modules], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{strip} failed:\n{tail(done.stderr)}")


def _make_venv(prefix: Path) -> None:
    """Make the tree a virtual environment of `/usr/bin/python3`, whichever of our Pythons that is."""
    for python in dev_uv.PYTHONS:
        (prefix / "lib" / f"python{python}").symlink_to("python3")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3").symlink_to("/usr/bin/python3")
    (prefix / "pyvenv.cfg").write_text(CONFIG, encoding="utf-8")
    launcher = prefix / "bin" / "meshlight"
    launcher.write_text(LAUNCHER.format(prefix=PREFIX), encoding="utf-8")
    launcher.chmod(0o755)
    for path in prefix.rglob("*"):
        if not path.is_symlink() and path != launcher:
            path.chmod(0o755 if path.is_dir() else 0o644)
    prefix.chmod(0o755)


def _is_record(path: Path) -> bool:
    """Whether a file only describes an installation (which wheel, which files)."""
    return path.parts[0].endswith(".dist-info") or path.parts[0] == "bin"
