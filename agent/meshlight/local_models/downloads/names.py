"""What people call a model of a hub, and which names of a hub's files are safe to use on a disk."""

import re
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from meshlight.domain.errors import BadRequest
from meshlight.domain.text import sanitize, sanitize_line, shorten

NAME_MAX = 512
PATH_MAX = 400
SEGMENT_MAX = 200
DEPTH_MAX = 6
_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
"""An owner or a repository; one that ends in a dot would be another folder on Windows."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HOSTS = frozenset({"hf.co", "huggingface.co", "www.huggingface.co"})
_OLLAMA = frozenset({"ollama.com", "registry.ollama.ai", "library"})
_ODD = frozenset('<>:"|?*\\')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
"""Names of Windows' devices."""


class Wanted(Struct, frozen=True):
    """A repository, and which of its models."""

    repository: str
    """`owner/repo`."""
    tag: str = ""
    """The quantisation, or the name of a file without its ending; empty if there was none."""
    file: str = ""
    """The path of a file in the repository, if a file's address was given."""


def parse_name(name: str, hub_host: str = "") -> Wanted:
    """Read `owner/repo[:QUANT]`, with or without a host, or the address of a repository or file.

    `hub_host` is a further host name of the hub. Raises BadRequest.
    """
    text = name.strip()
    if not text or len(text) > NAME_MAX or sanitize(text) != text or " " in text:
        raise _unreadable(name)
    parts = _segments(text)
    head = parts[0].lower() if parts else ""
    is_hub = head in _HOSTS or (hub_host != "" and head == hub_host.lower())
    if head in _OLLAMA or (len(parts) == 1 and not is_hub):
        raise BadRequest(
            f"{shorten(sanitize_line(text), 60)} is a name of Ollama's library, not of a repository.",
            f"Let Ollama pull it (`ollama pull {shorten(sanitize_line(text), 60)}`): its models are found by"
            " themselves. From Hugging Face it is OWNER/REPOSITORY.",
            param="name",
        )
    if is_hub:
        parts = parts[1:]
    if len(parts) < 2:
        raise _unreadable(name)
    owner, (repository, _, tag) = parts[0], parts[1].partition(":")
    file = ""
    if len(parts) > 4 and parts[2] in {"blob", "resolve"} and not tag:
        file = "/".join(parts[4:])
        if not is_safe_path(file):
            raise _unreadable(name)
    elif len(parts) > 2 and parts[2] != "tree":
        raise _unreadable(name)
    if not is_repository(f"{owner}/{repository}") or (tag and not _TAG.fullmatch(tag)):
        raise _unreadable(name)
    return Wanted(f"{owner}/{repository}", tag.removesuffix(".gguf"), file)


def is_repository(name: str) -> bool:
    """Whether it has the form `owner/repo`, both fit for folders."""
    words = name.split("/")
    return len(words) == 2 and all(
        _WORD.fullmatch(word) and ".." not in word and not _RESERVED.fullmatch(word) for word in words
    )


def is_safe_path(path: str) -> bool:
    """Whether a file's path in a repository can be used below a folder here, on each system."""
    segments = path.split("/")
    return len(path) <= PATH_MAX and len(segments) <= DEPTH_MAX and all(map(_is_safe_segment, segments))


def _is_safe_segment(segment: str) -> bool:
    return (
        0 < len(segment) <= SEGMENT_MAX
        and len(segment.encode("utf-8", "replace")) <= SEGMENT_MAX
        and segment[0] != "."
        and segment[-1] not in ". "
        and sanitize(segment) == segment
        and not _ODD & set(segment)
        and not _RESERVED.fullmatch(segment)
    )


def _segments(text: str) -> list[str]:
    """Return the parts of a name between slashes, its host among them; of a URL without query and fragment."""
    if "://" in text:
        try:
            url = urlsplit(text)
        except ValueError:
            return []
        if url.scheme not in {"http", "https"} or "@" in url.netloc:
            return []
        path = unquote(url.path)
        text = f"{url.netloc}/{path.strip('/')}"
    return [part for part in text.split("/") if part]


def _unreadable(name: str) -> BadRequest:
    return BadRequest(
        f"{shorten(sanitize_line(name), 60) or 'An empty name'} is not the name of a model of Hugging Face.",
        "It is OWNER/REPOSITORY or OWNER/REPOSITORY:QUANTISATION, such as Qwen/Qwen3-4B-GGUF:Q4_K_M,"
        " or the address of its page.",
        param="name",
    )
