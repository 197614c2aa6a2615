"""This machine's own models in Ollama's API: in memory, load and unload, download, delete, what they are.

A download goes on when its client leaves: it is in the list of downloads, where it can be paused or cancelled.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from meshlight.domain.errors import BadRequest, EveryRouteDown, NotFound, RouteUnavailable
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import DownloadView, LocalModelView
from meshlight.gateway.inference.request import ClientLeft, InferenceRequest
from meshlight.gateway.models.keep_alive import FINITE_MAX_S
from meshlight.gateway.translation.ollama.writer import (
    SYSTEM,
    AnswerOptions,
    error_line,
    moment,
    without_prompt,
)
from meshlight.local_models.interfaces import LocalModels

T = TypeVar("T")

LOOK_S = 0.25
"""How often a download is looked at while a client follows it."""
REPEAT_AFTER = 40
"""Looks after which a line is sent again though nothing has changed, so that no proxy ends a quiet stream."""
BARE_MAX = 4_096
"""Bytes of a request without a prompt, at most."""
_HUBS = ("https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/")
_IN_MEMORY = frozenset({"ready", "draining"})
_NOT_LOADED = frozenset({"on-disk", "failed", "missing"})
_CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "chat": ("completion", "tools"),
    "embedding": ("embedding",),
    "rerank": (),
}
_encode = msgspec.json.Encoder().encode


class _Pull(Struct):
    model: str = ""
    name: str = ""
    stream: bool | None = None


class _Bare(Struct):
    prompt: str | None = None
    suffix: str | None = None
    images: list[msgspec.Raw] | None = None
    messages: list[msgspec.Raw] | None = None


_pull = msgspec.json.Decoder(_Pull)
_bare = msgspec.json.Decoder(_Bare)


class OllamaLocal:
    """Answers what Ollama's API can do with models on this machine; `wall` is Unix seconds, `pause` waits."""

    def __init__(
        self,
        local: LocalModels,
        *,
        wall: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._local = local
        self._wall = wall
        self._pause = pause
        self._is_over = False

    def close(self) -> None:
        """End the answers that follow a download: the service is ending."""
        self._is_over = True

    @property
    def is_enabled(self) -> bool:
        """Whether this machine's models are switched on."""
        return self._local.view().enabled

    def find(self, *names: str) -> LocalModelView | None:
        """Return the model of the first of these names that is one's id or further name here."""
        for name in names:
            try:
                return self._local.model(without_hub(name))
            except NotFound:
                continue
        return None

    def sizes(self) -> dict[str, int]:
        """Return the bytes on disk of each model, by id."""
        return {view.id: view.size_bytes for view in self._local.view().models}

    def running(self) -> dict[str, dict[str, Any]]:
        """Return what `/api/ps` says of each model in memory, by id, beyond what it says of every model.

        `size_vram` is 0: how much of a model lies on a GPU is not known. `expires_at` is left out while it answers:
        until then nothing is decided.
        """
        now = self._wall()
        found: dict[str, dict[str, Any]] = {}
        for view in self._local.view().models:
            if view.state not in _IN_MEMORY:
                continue
            entry: dict[str, Any] = {"size": view.need_bytes or view.size_bytes, "size_vram": 0}
            entry["details"] = details(view)
            if view.context:
                entry["context_length"] = view.context
            if view.expires_in_s is not None:
                entry["expires_at"] = moment(now + max(view.expires_in_s, 0.0))
            elif view.keep or not view.in_flight:
                entry["expires_at"] = moment(now + FINITE_MAX_S)  # Ollama's own "for ever"
            found[view.id] = entry
        return found

    def is_without_prompt(self, inbound: InferenceRequest) -> bool:
        """Whether a request has no prompt: it means to load a model, or to unload it."""
        return len(inbound.body) <= BARE_MAX and _is_bare(inbound)

    async def without_prompt(self, inbound: InferenceRequest, model: str) -> bytes:
        """Load or unload a model for a request without a prompt, and return the answer.

        Raises Conflict for one that answers now or can't fit, EveryRouteDown for one that can't be loaded.
        """
        kind: Literal["chat", "generate"] = "chat" if inbound.operation == "api/chat" else "generate"
        view = self._local.model(model)
        keep_alive_s = inbound.keep_alive_s
        if keep_alive_s == 0:
            if view.state not in _NOT_LOADED:
                await self._local.unload(view.id)
        elif keep_alive_s is None:
            view = await self._local.load(view.id, wait=True)
            if view.state == "failed" and view.reason is not None:
                raise EveryRouteDown(view.reason.text, view.reason.fix)
        else:
            try:
                await self._local.route(view.id, Demand(keep_alive_s=keep_alive_s))
            except RouteUnavailable as error:
                raise EveryRouteDown(error.title, error.hint) from None
        name = inbound.head.model if inbound.named is None else inbound.named
        options = AnswerOptions(name, operation=kind)
        return without_prompt(options, SYSTEM, "unload" if keep_alive_s == 0 else "load").body

    async def pull(
        self, body: bytes, has_left: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[bytes, None] | bytes:
        """Begin a download, and return the lines that tell how far it is; the last of them if no stream is wanted.

        Raises NotFound, BadRequest, Conflict or BackendCheckFailed when it can't begin. Without a stream, raises
        ClientLeft once `has_left` says so.
        """
        request = read(body, _pull)
        downloads = self._local.downloads
        name = self._pull_name(request.model or request.name)
        download = await downloads.pull(name)
        if request.stream is not False:
            return self._follow(download)
        current: DownloadView | None = download
        while self._is_open(current):
            await self._pause(LOOK_S)
            if has_left():
                raise ClientLeft
            current = self._download(download.id)
        if (why := self._failure(current, name)) is not None:
            raise EveryRouteDown(why)
        await self._notice()
        return _encode({"status": "success"})

    async def delete(self, name: str, *further: str) -> bytes:
        """Delete a model's files from our own folder; NotFound, or Conflict for those of another program."""
        view = self.find(name, *further)
        if view is None:
            raise NotFound(
                f"model '{name[:200]}' not found.", "Only models in Meshlight's own folder are deleted."
            )
        await self._local.delete(view.id)
        return b""

    async def _follow(self, download: DownloadView) -> AsyncGenerator[bytes, None]:
        yield _line(status="pulling manifest")
        told, quiet = b"", 0
        current: DownloadView | None = download
        while current is not None and self._is_open(current):
            line = _progress(current)
            quiet += 1
            if line != told or quiet >= REPEAT_AFTER:
                told, quiet = line, 0
                yield line
            await self._pause(LOOK_S)
            current = self._download(download.id)
        if (why := self._failure(current, download.name)) is not None:
            yield error_line(why)
            return
        if current is not None and current.total_bytes:
            yield _progress(current)
        for status in ("verifying sha256 digest", "writing manifest"):
            yield _line(status=status)
        await self._notice()
        yield _line(status="success")

    async def _notice(self) -> None:
        """Have what has arrived in all lists: clients ask for it in the next moment."""
        await self._local.refresh()
        await self._pause(LOOK_S)

    def _download(self, download_id: str) -> DownloadView | None:
        return next((view for view in self._local.downloads.views() if view.id == download_id), None)

    def _is_open(self, download: DownloadView | None) -> bool:
        return download is not None and download.state not in {"done", "failed"} and not self._is_over

    def _failure(self, download: DownloadView | None, name: str) -> str | None:
        """Return why a download has not ended well."""
        if download is None:
            return f"The download of {name} was cancelled."
        if download.state == "failed":
            reason = download.reason
            return (
                f"The download of {name} has failed."
                if reason is None
                else f"{reason.text} {reason.fix}".strip()
            )
        return None if download.state == "done" else "The service is ending: it goes on at its next start."

    def _pull_name(self, name: str) -> str:
        if not name:
            raise BadRequest("The request names no model.", 'Send {"model": NAME}.', "model")
        if len(name) > 256 or not name.isprintable():
            raise BadRequest(
                "That is no name of a model to download.", "Send hf.co/OWNER/REPO:QUANT.", "model"
            )
        known = {"starter", *(starter.name for starter in self._local.downloads.starters())}
        for wanted in (name, without_hub(name)):
            if wanted.removesuffix(":latest") in known or "/" in wanted:
                return without_hub(wanted).removesuffix(":latest")
        raise NotFound(
            f"pull model manifest: {name[:200]!r} is not on Hugging Face.",
            "Send hf.co/OWNER/REPO:QUANT or starter; for a name of Ollama's library, pull the model on the machine "
            "that shall run it, with Ollama.",
        )


def show_local(view: LocalModelView, capabilities: list[str], started: int) -> bytes:
    """Return a model as `POST /api/show` describes it; `capabilities` are those that it reports, if any."""
    architecture = view.architecture or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture, "general.basename": view.id}
    if context := view.context_max or view.context:
        info[f"{architecture}.context_length"] = context
    if view.parameters:
        info["general.size_label"] = view.parameters
    known = list(capabilities or _CAPABILITIES[view.purpose])
    if view.sees_images and "vision" not in known:
        known.append("vision")
    return _encode(
        {"details": details(view), "model_info": info, "capabilities": known, "modified_at": moment(started)}
    )


def details(view: LocalModelView) -> dict[str, Any]:
    """Return Ollama's `details` of a model."""
    return {
        "parent_model": "",
        "format": "",
        "family": view.architecture,
        "families": [view.architecture] if view.architecture else None,
        "parameter_size": view.parameters,
        "quantization_level": view.quantization,
    }


def without_hub(name: str) -> str:
    """Return `owner/repo:QUANT` of a name that begins with a hub's host, as Ollama's clients write it."""
    lower = name[:32].lower()
    return next((name[len(hub) :] for hub in _HUBS if lower.startswith(hub)), name)


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a small body; raises BadRequest."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not the JSON object it should be.", 'Send {"model": NAME}.') from error


def _is_bare(inbound: InferenceRequest) -> bool:
    try:
        body = _bare.decode(inbound.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # what is wrong with it is told where it is read
    if inbound.operation == "api/chat":
        return not body.messages
    return inbound.operation == "api/generate" and not (body.prompt or body.suffix or body.images)


def _line(**fields: object) -> bytes:
    return _encode(fields) + b"\n"


def _progress(download: DownloadView) -> bytes:
    if download.state == "checking":
        return _line(status="verifying sha256 digest")
    if download.state in {"queued", "paused"}:
        return _line(status=f"{download.state}: {download.name}")
    # Clients draw a bar for each digest; what is downloaded here is one.
    digest = sha256(download.name.encode("utf-8", "replace")).hexdigest()
    numbers = {"digest": f"sha256:{digest}", "total": download.total_bytes, "completed": download.done_bytes}
    return _line(status=f"pulling {digest[:12]}", **numbers)
