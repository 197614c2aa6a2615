"""The setup for Windows: python.org's embeddable Python, our packages, two programs, packed by NSIS on Linux.

Nothing of it is compiled here. `meshlight.exe` (console) and `meshlightw.exe` (no console) are the launchers of
distlib, with which every pip on Windows makes its programs, followed by a line that names the Python beside them and
a zip archive with our start.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import dev_project
import dev_tree
import dev_uv
from dev_venv import ROOT, Failure, cache, tail

SCRIPTS = ROOT / "packaging" / "windows"
PYTHON = "3.13.12"
PYTHON_SHA256 = "76f238f606250c87c6beac75dccd35ee99070a13490555936abb6cb64ecce3d0"
PYTHON_URL = f"https://www.python.org/ftp/python/{PYTHON}/python-{PYTHON}-embed-amd64.zip"
DOWNLOAD_S = 120.0
LAUNCHERS = "distlib==0.4.4"
PROGRAMS = {"meshlight.exe": ("t64.exe", "python.exe"), "meshlightw.exe": ("w64.exe", "pythonw.exe")}
"""Each program with the launcher that it is made of, and the Python that it starts."""
START = "from meshlight.cli.entry import main\n\nmain()\n"
SITE = Path("app") / "Lib" / "site-packages"


def build(wheel: Path, out: Path, work: Path, python: Path | None) -> Path:
    """Pack the setup into the folder `out`; `python` stands in for the downloaded one. Raises Failure."""
    tree = work / "tree"
    assemble(tree, wheel, python or download(), work)
    return pack(tree, out)


def assemble(tree: Path, wheel: Path, python: Path, work: Path) -> None:
    """Write all files of the installation into the folder `tree`. Raises Failure."""
    app = tree / "app"
    _place_python(python, app)
    site = tree / SITE
    site.parent.mkdir(parents=True)
    version = ".".join(PYTHON.split(".")[:2])
    dev_uv.install([str(wheel)], site, version, dev_uv.WINDOWS)
    launchers = work / "launchers"
    dev_uv.install([LAUNCHERS], launchers, version, dev_uv.WINDOWS)
    dev_tree.slim(site)
    for name, (stub, interpreter) in PROGRAMS.items():
        content = program((launchers / "distlib" / stub).read_bytes(), interpreter)
        (tree / name).write_bytes(content)
    shutil.copyfile(ROOT / "icons" / "meshlight.ico", tree / "meshlight.ico")
    lines = "\n".join([*dev_tree.licences(site), f"{LAUNCHERS} (the two programs): PSF-2.0"])
    (tree / "licences.txt").write_text(
        f"Meshlight {dev_project.version()}: Apache-2.0, its fonts: OFL-1.1\n"
        f"Python {PYTHON}: see app\\LICENSE.txt\n{lines}\n", encoding="utf-8", newline="\r\n",
    )  # fmt: skip


def program(launcher: bytes, interpreter: str) -> bytes:
    """Return a program: a launcher, which Python it starts, and what that runs."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("__main__.py", (1980, 1, 1, 0, 0, 0)), START)
    return launcher + f"#!<launcher_dir>\\app\\{interpreter}\r\n".encode() + archive.getvalue()


def pack(tree: Path, out: Path) -> Path:
    """Make the setup of a folder with all files. Raises Failure."""
    out.mkdir(exist_ok=True)
    setup = out / setup_name()
    size = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file())
    words = {
        "VERSION": dev_project.version(), "TREE": str(tree), "SCRIPTS": str(SCRIPTS), "OUT": str(setup.resolve()),
        "SIZE_KB": str(size // 1024), "HOMEPAGE": dev_project.homepage(),
    }  # fmt: skip
    command = ["makensis", "-V2", "-WX", *(f"-D{name}={value}" for name, value in words.items())]
    done = subprocess.run(
        [*command, str(SCRIPTS / "setup.nsi")], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise Failure(f"makensis failed:\n{tail(done.stdout + done.stderr)}")
    return setup


def setup_name() -> str:
    """Return the name of the setup's file."""
    return f"meshlight-{dev_project.version()}-setup.exe"


def download() -> Path:
    """Return python.org's embeddable Python, from our cache after the first time. Raises Failure."""
    archive = cache() / PYTHON_URL.rpartition("/")[2]
    if not archive.is_file():
        print(f"Getting Python {PYTHON} for Windows …")
        try:
            with urllib.request.urlopen(PYTHON_URL, timeout=DOWNLOAD_S) as answer:
                content = answer.read()
        except (OSError, urllib.error.URLError) as error:
            raise Failure(
                f"{PYTHON_URL} could not be had ({error}).\nGet it by hand and call this with --python FILE."
            ) from error
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(content)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != PYTHON_SHA256:
        archive.unlink()
        raise Failure(f"{archive.name} has SHA-256 {digest}, expected was {PYTHON_SHA256}. It was deleted.")
    return archive


def _place_python(python: Path, app: Path) -> None:
    """Unpack or copy the embeddable Python, and make it find our packages. Raises Failure."""
    if python.is_dir():
        shutil.copytree(python, app)
    else:
        with zipfile.ZipFile(python) as archive:
            archive.extractall(app)
    version = "".join(PYTHON.split(".")[:2])
    paths = app / f"python{version}._pth"
    lost = [name for name in ("python.exe", "pythonw.exe", paths.name) if not (app / name).is_file()]
    if lost:
        raise Failure(f"{python} is not an embeddable Python {PYTHON}: it has no {', '.join(lost)}.")
    # With this file Python reads no registry, no variables and no folder of the user: it runs what is here alone.
    paths.write_text(f"python{version}.zip\n.\nLib\\site-packages\nimport site\n", encoding="ascii")


def make(out: Path, wheel: Path, python: Path | None) -> Path:
    """Pack the setup, using a temporary folder. Raises Failure."""
    with tempfile.TemporaryDirectory(prefix="meshlight-windows-") as folder:
        return build(wheel, out, Path(folder), python)
