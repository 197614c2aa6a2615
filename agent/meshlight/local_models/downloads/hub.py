"""Hugging Face's hub, or another address with its API: which files a repository has, and where they are fetched."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.backend import Reason
from meshlight.domain.errors import BackendCheckFailed, BadRequest, MeshlightError, NotFound
from meshlight.local_models.downloads.fetch import Source
from meshlight.local_models.downloads.names import Wanted, is_safe_path, parse_name
from meshlight.local_models.downloads.offers import HubFile, Offer, offers_of
from meshlight.local_models.downloads.problems import DownloadFailed, TryLater
from meshlight.local_models.downloads.web import Web

ENDPOINT = "https://huggingface.co"
LIST_MAX = 8 << 20
"""Bytes of one page of a list of files."""
PAGES_MAX = 10
FILES_MAX = 10_000
TOKEN_MAX = 1_000
_TRUE = frozenset({"1", "true", "yes", "on"})
_TOKEN = re.compile(r"[\x21-\x7e]{1,1000}")
_NEXT = re.compile(r'<([^<>]{1,4096})>\s*;\s*rel="?next"?')


class _Lfs(Struct):
    oid: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0)]


class _Entry(Struct):
    """One row of the list; files that are not of interest may have any hash."""

    type: Annotated[str, Meta(max_length=20)]
    path: Annotated[str, Meta(max_length=4096)]
    lfs: msgspec.Raw = msgspec.Raw(b"null")


class Listing(Struct, frozen=True):
    """The models of a repository, and what has to be said about them."""

    offers: Sequence[Offer]
    note: str = ""


class HubSettings(Struct, frozen=True, kw_only=True):
    """Where the hub is, and where its token lies; as `huggingface_hub` has it."""

    endpoint: str = ENDPOINT
    token: str = ""
    token_file: str = ""
    is_offline: bool = False

    def __repr__(self) -> str:
        return f"HubSettings({self.endpoint!r})"

    @classmethod
    def here(cls, environ: Mapping[str, str], home: Path) -> "HubSettings":
        """Return what the environment says: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_OFFLINE."""
        folder = environ.get("HF_HOME") or str(
            Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface"
        )
        is_silent = environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _TRUE
        return cls(
            endpoint=environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT,
            token=(environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or "").strip(),
            token_file="" if is_silent else environ.get("HF_TOKEN_PATH") or str(Path(folder) / "token"),
            is_offline=environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE,
        )

    def read_token(self) -> str:
        """Return the token, of the file if the environment has none; empty without one, or an unusable one."""
        token = self.token
        if not token and self.token_file:
            with suppress(OSError, ValueError), Path(self.token_file).expanduser().open("rb") as file:
                token = file.read(TOKEN_MAX + 1).decode("ascii").strip()
        return token if _TOKEN.fullmatch(token) else ""


class Hub:
    """Asks the hub; `web` sends its token to nobody else."""

    def __init__(self, settings: HubSettings, web: Web | None = None) -> None:
        self._settings = settings
        self.web = web or Web(origin=settings.endpoint, token=settings.read_token)

    @property
    def host(self) -> str:
        """Its name and port."""
        return urlsplit(self._settings.endpoint).netloc.rpartition("@")[2]

    def parse(self, name: str) -> Wanted:
        """Read the name of a model; see `parse_name`."""
        return parse_name(name, self.host)

    async def listing(self, repository: str) -> Listing:
        """Return the models of `owner/repo`.

        Raises NotFound, BackendCheckFailed (it can't be reached, is gated, or answers nonsense).
        """
        if self._settings.is_offline:
            raise BackendCheckFailed(
                "HF_HUB_OFFLINE is set: the hub is not asked.", "Unset it for the service to download models."
            )
        try:
            files, odd = await self._files(repository)
        except DownloadFailed as failed:
            raise as_error(failed) from failed
        offers, incomplete = offers_of(repository, files)
        if not offers:
            raise NotFound(
                f"{repository} has no whole model in the format GGUF.",
                "Look for a repository whose name ends in -GGUF.",
                param="name",
            )
        notes = [f"{odd} files with unusual names or without a checksum are left out."] if odd else []
        notes += [f"{incomplete} models lack a part."] if incomplete else []
        return Listing(offers, " ".join(notes))

    def source(self, repository: str, file: HubFile) -> Source:
        """Return where a file is fetched."""
        return Source(
            url=f"{self._settings.endpoint}/{repository}/resolve/main/{quote(file.path)}",
            name=file.name,
            size=file.size,
            sha256=file.sha256,
        )

    async def _files(self, repository: str) -> tuple[list[HubFile], int]:
        """Return the GGUF files of a repository, and the number of those that can't be used."""
        url = f"{self._settings.endpoint}/api/models/{repository}/tree/main?recursive=true"
        files: dict[str, HubFile] = {}
        odd = 0
        for _ in range(PAGES_MAX):
            async with self.web.get(url, what=repository) as answer:
                body = await answer.read(LIST_MAX)
                link = _NEXT.search(answer.headers.get("link", ""))
            for entry in self._entries(body):
                if entry.type != "file" or not entry.path.lower().endswith(".gguf"):
                    continue
                lfs = _lfs_of(entry)
                if lfs is None or not is_safe_path(entry.path):
                    odd += 1
                else:
                    files[entry.path] = HubFile(entry.path, lfs.size, lfs.oid)
            if link is None or len(files) >= FILES_MAX:
                break
            url = link[1]
            if not url.startswith(f"{self._settings.endpoint}/"):
                break
        return list(files.values()), odd

    def _entries(self, body: bytes) -> list[_Entry]:
        try:
            return msgspec.json.decode(body, type=list[_Entry])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DownloadFailed(
                Reason(
                    "not-a-hub",
                    f"{self.host} did not answer with a list of files.",
                    "Check HF_ENDPOINT, and whether this network asks to log in first.",
                )
            ) from error


def as_error(failed: DownloadFailed) -> MeshlightError:
    """Return the error of the API for a download that can't begin: nothing is tried again by itself then."""
    reason = failed.reason
    if reason.code == "not-found":
        return NotFound(reason.text, reason.fix, param="name")
    if reason.code == "address":
        return BadRequest(reason.text, reason.fix, param="name")
    if reason.code == "offline":
        return BackendCheckFailed(
            reason.text, "Check the network, and its proxy (HTTPS_PROXY) if it needs one; then try again."
        )
    return BackendCheckFailed(
        reason.text, "Try again in a while." if isinstance(failed, TryLater) else reason.fix
    )


def _lfs_of(entry: _Entry) -> _Lfs | None:
    """Return the size and hash of a large file; None without."""
    try:
        return msgspec.json.decode(entry.lfs, type=_Lfs)
    except msgspec.MsgspecError:
        return None
