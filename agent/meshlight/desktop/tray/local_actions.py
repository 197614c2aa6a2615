"""What a click on one of this machine's own models or downloads does, through the local API."""

from collections.abc import Callable, Sequence
from typing import Final

from meshlight.api_client.client import ApiClient, SharedClient
from meshlight.desktop.tray.local_menu import idle_models, short_name
from meshlight.desktop.tray.menu_items import Action, Verb
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.local_views import DownloadView, LocalView
from meshlight.domain.text import sanitize

LOCAL_VERBS: Final[frozenset[Verb]] = frozenset(
    {
        "load",
        "unload",
        "keep",
        "release",
        "free-memory",
        "pull",
        "pause-download",
        "resume-download",
        "cancel-download",
    }
)
"""The actions on own models and downloads."""


class LocalActions:
    """Sends actions to the service; `notify` (title, text) tells the user what failed."""

    def __init__(self, client: SharedClient, notify: Callable[[str, str], None]) -> None:
        self._client = client
        self._notify = notify

    def send(self, action: Action, local: LocalView | None) -> None:
        """Do what a click requests; its effect arrives as events. Blocks, for minutes while a model loads."""
        targets: tuple[str, ...] = (action.target,)
        if action.verb == "free-memory":
            targets = () if local is None else idle_models(local)
        for target in targets:
            try:
                with self._client.use() as client:
                    self._send_one(client, action.verb, target)
            except ServiceError as error:
                if action.verb != "load":  # the service may have ended since, which the icon shows
                    self._notify(error.title, error.hint)
            except MeshlightError as error:
                self._notify(error.title, error.hint)

    def _send_one(self, client: ApiClient, verb: Verb, target: str) -> None:
        match verb:
            case "load":
                model = client.load_model(target, wait=True)
                if model.state == "failed" and model.reason is not None:
                    why = f"{sanitize(model.reason.text)} {sanitize(model.reason.fix)}".strip()
                    self._notify(f"{short_name(target)} could not be loaded.", why)
            case "unload" | "free-memory":
                client.unload_model(target)
            case "keep" | "release":
                client.change_model(target, {"keep": verb == "keep"})
            case "pull":
                client.pull_model(target)
            case "pause-download":
                client.pause_download(target)
            case "resume-download":
                client.resume_download(target)
            case "cancel-download":
                client.cancel_download(target)


def ended_downloads(before: LocalView | None, now: LocalView) -> Sequence[DownloadView]:
    """Return the downloads that were running before and are over now."""
    states = {} if before is None else {one.id: one.state for one in before.downloads}
    return [
        one
        for one in now.downloads
        if one.state in {"done", "failed"} and states.get(one.id, one.state) != one.state
    ]


def download_text(download: DownloadView) -> tuple[str, str]:
    """Return the title and the text of the notification of a download that is over."""
    name = short_name(download.model or download.name)
    if name == "starter":  # the word for `pull`, not a name
        name = "the starter model"
    if download.state == "done":
        return f"{name} is here.", "It is loaded when it is asked for."
    reason = download.reason
    why = "" if reason is None else f"{sanitize(reason.text)} {sanitize(reason.fix)}".strip()
    return f"The download of {name} failed.", why
