"""The tree of the Linux packages: one virtual environment for every Python from 3.11 to 3.14.

It stands on the distribution's own `/usr/bin/python3`, so that GTK's modules of the distribution fit. The extension
modules of all these Pythons lie side by side, each under the name that only its Python looks for.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
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
GLIBC_MINOR = 28
"""Our own modules must load where those of manylinux_2_28 do."""
TRIPLES = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


def make(root: Path, wheels: Mapping[str, Path], architecture: str, work: Path) -> None:
    """Write the tree below `root`, using the folder `work`, with the wheel of Meshlight of each Python.

    Raises Failure.
    """
    site = root / PREFIX / "lib" / "python3" / "site-packages"
    for python in dev_uv.PYTHONS:
        part = work / f"site-{python}"
        dev_uv.install([str(wheels[python])], part, python, dev_uv.LINUX[architecture])
        merge(part, site)
        shutil.rmtree(part)
    slim(site)
    _strip(site, architecture)
    for module in (*site.glob("meshlight/**/*.so"), *site.glob("meshlight__*.so")):
        fault = link_fault(_binutils("objdump", architecture, "--private-headers", str(module)))
        if fault is not None:
            raise Failure(f"{module.relative_to(site)} {fault}.")
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


def link_fault(headers: str) -> str | None:
    """Return why a module with these headers (of objdump) is not for every machine; None when it is."""
    folder = re.search(r"^ +(?:RPATH|RUNPATH) +(\S+)", headers, re.MULTILINE)
    if folder:
        return f"looks for libraries in {folder[1]}, a folder of the machine that it was made on"
    needed = max((int(minor) for minor in re.findall(r" GLIBC_2\.(\d+)", headers)), default=0)
    if needed > GLIBC_MINOR:
        return f"needs glibc 2.{needed}, and the packages are for 2.{GLIBC_MINOR} and newer"
    return None


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
    files = [str(file) for file in site.rglob("*") if re.search(r"\.so(\.\d+)*$", file.name)]
    # Not what manylinux's tools have moved to the end of a library: strip would break its program headers.
    modules = [file for file in files if ".libs/" not in file]
    _binutils("strip", architecture, "--strip-unneeded", *modules)


def _binutils(name: str, architecture: str, *words: str) -> str:
    """Run a tool of binutils for an architecture; returns what it said. Raises Failure."""
    program = f"{TRIPLES[architecture]}-{name}"
    path = tool(program)
    if path is None:
        raise Failure(f"{program} is not here.")
    done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{program} failed:\n{tail(done.stderr)}")
    return done.stdout


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
