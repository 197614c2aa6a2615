"""Reads the text of the configuration file: returns a valid `Config`, or an error that names line and key.

msgspec checks types and limits; its messages are reworded for people, and never repeat a value that may be a secret.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import msgspec
from msgspec import Meta, Struct, field

from meshlight.domain.allowed_callers import host_fault, origin_fault
from meshlight.domain.backend import (
    KINDS,
    NAMED_MODELS_MAX,
    RINGS,
    SLOTS_MAX,
    Backend,
    Kind,
    Ring,
    is_model_id,
)
from meshlight.domain.config import (
    DEFAULT_PORT,
    Config,
    DiscoverySettings,
    KeyStorage,
    LanSettings,
    LocalModelSettings,
    LocalSettings,
)
from meshlight.domain.errors import ConfigError, MeshlightError
from meshlight.domain.local_models import LOCAL_ID, RunnerName, StoreName
from meshlight.domain.local_settings import args_fault, memory_fault
from meshlight.domain.peers import Peer, is_node_id
from meshlight.domain.proxy import PROXY_MAX, proxy_fault
from meshlight.domain.rules import Policy, Routing, Rule
from meshlight.domain.text import similar_names
from meshlight.storage.config.backend_ids import (
    ID_PATTERN,
    EntryNames,
    account_identity,
    name_backends,
    url_fault,
)
from meshlight.storage.config.toml_layout import KeyPath, layout

RingFor = Callable[[Kind, str], Ring]
"""Returns the ring of a kind of backend at a URL; raises MeshlightError for a URL that can't be a backend's."""

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_NAME_MAX = 100
_PATH_MAX = 4_096
_LOCAL_SECONDS_MAX = 31_536_000
"""A year."""
_END_OF_TEXT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


class BackendEntry(Struct, frozen=True, kw_only=True):
    """One `[[backends]]` entry as the file has it: kind and url are required, everything else has a default."""

    kind: Kind
    url: str
    id: str | None = None
    name: str | None = None
    ring: Ring | None = None
    enabled: bool = True
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    slots: Annotated[int, Meta(ge=1, le=SLOTS_MAX)] | None = None
    first_byte_s: Seconds = 300.0
    idle_s: Seconds = 300.0
    has_secret: bool = False
    access_key: Annotated[str, Meta(max_length=256)] = ""
    ca_file: Annotated[str, Meta(max_length=4096)] = ""
    follow_clock: bool = True
    proxy: Annotated[str, Meta(max_length=PROXY_MAX)] = ""
    models: Annotated[tuple[str, ...], Meta(max_length=NAMED_MODELS_MAX)] = ()
    node_id: str = ""


class ConfigEntries(Struct, frozen=True, kw_only=True):
    """The contents of the whole file, before the checks that need more than one value."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = DEFAULT_PORT
    name: str = ""
    require_key: bool = True
    paused: bool = False
    key_storage: KeyStorage = "ask"
    notifications: bool = True
    keep_history: bool = True
    check_updates: bool = False
    lane: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    routing: Routing = field(default_factory=Routing)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    lan: LanSettings = field(default_factory=LanSettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    backends: tuple[BackendEntry, ...] = ()
    peers: tuple[Peer, ...] = ()


_TABLES: Mapping[str, type[Struct]] = {
    "routing": Routing,
    "rules": Rule,
    "discovery": DiscoverySettings,
    "lan": LanSettings,
    "backends": BackendEntry,
    "peers": Peer,
    "local": LocalSettings,
    "models": LocalModelSettings,
}
_TABLE_NAMES: Mapping[str, type[Struct]] = {
    "at the top of the file, above the first [table]": ConfigEntries,
    "under [routing]": Routing,
    "under [[routing.rules]]": Rule,
    "under [discovery]": DiscoverySettings,
    "under [lan]": LanSettings,
    "under [[backends]]": BackendEntry,
    "under [[peers]]": Peer,
    "under [local]": LocalSettings,
    "under [[local.models]]": LocalModelSettings,
}

_COMMON = frozenset({"name", "model", "enabled"})
"""Keys of more than one table, or too general to guess the table from."""
_BELONGS = "it belongs"
_SECRETS = (
    "Take it out. `meshlight backends add` puts a secret into the system's keyring; or set the variable "
    "MESHLIGHT_SECRET_<ID>, or MESHLIGHT_SECRET_<ID>_FILE to the path of a file."
)


def parse(text: str) -> dict[str, object]:
    """Parse TOML (with Unix line ends) to plain values; raises ConfigError with the line."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("The configuration is nested too deeply.", "Write it flatter.") from None
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
        match = _END_OF_TEXT.search(problem)
        if match and match[1]:
            line = int(match[1])
        else:
            unfinished = layout(text).unfinished
            last = len(text.rstrip("\n").split("\n"))
            line = last if unfinished is None else unfinished + 1
        what = _END_OF_TEXT.sub("", problem)
        raise ConfigError(f"line {line}: this is not TOML: {what}.", line=line) from None


def read_config(text: str, ring_for: RingFor) -> Config:
    """Read the whole configuration; raises ConfigError for the first thing that is wrong in it."""
    return _Reader(text, ring_for).config()


class _Reader:
    """Reads one text."""

    def __init__(self, text: str, ring_for: RingFor) -> None:
        self._text = text
        self._ring_for = ring_for

    def config(self) -> Config:
        data = parse(self._text)
        self._check_keys(data, ConfigEntries, ())
        try:
            entries = msgspec.convert(data, ConfigEntries)
        except msgspec.ValidationError as error:
            key_path, problem = describe(str(error), data)
            self._refuse(key_path, problem)
        if fault := _name_fault(entries.name):
            self._refuse(("name",), fault)
        return Config(
            port=entries.port,
            name=entries.name,
            require_key=entries.require_key,
            paused=entries.paused,
            key_storage=entries.key_storage,
            notifications=entries.notifications,
            keep_history=entries.keep_history,
            check_updates=entries.check_updates,
            lane=entries.lane,
            allowed_hosts=self._allowed("allowed_hosts", entries.allowed_hosts, host_fault),
            allowed_origins=self._allowed("allowed_origins", entries.allowed_origins, origin_fault),
            routing=entries.routing,
            discovery=entries.discovery,
            lan=entries.lan,
            local=self._local(entries.local),
            peers=self._peers(entries.peers),
            backends=self._backends(entries.backends),
        )

    def _check_keys(self, table: Mapping[str, object], shape: type[Struct], key_path: KeyPath) -> None:
        """Refuse secrets and unknown keys, before any value is checked."""
        for key, value in table.items():
            here = (*key_path, key)
            if key not in shape.__struct_fields__:
                suggestion = _suggest(key, shape)
                if is_secret_word(key) and not suggestion.startswith(_BELONGS):
                    self._refuse(here, "looks like a secret, and secrets don't belong in this file", _SECRETS)
                self._refuse(here, f"is unknown here; {suggestion}")
            inner = _TABLES.get(key)
            if inner is None:
                continue
            if isinstance(value, Mapping):
                self._check_keys(value, inner, here)
            elif isinstance(value, list):
                for index, each in enumerate(value):
                    if isinstance(each, Mapping):
                        self._check_keys(each, inner, (*here, index))

    def _allowed(
        self, key: str, names: tuple[str, ...], fault_of: Callable[[str], str | None]
    ) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if fault := fault_of(name):
                self._refuse((key, index), f"({name[:60]!r}) {fault}")
        return names

    def _peers(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        ids: set[str] = set()
        for index, peer in enumerate(peers):
            if not is_node_id(peer.id):
                self._refuse(("peers", index, "id"), "must be a node id: 64 hex digits")
            if peer.id in ids:
                self._refuse(("peers", index, "id"), "is there twice")
            ids.add(peer.id)
        return peers

    def _local(self, local: LocalSettings) -> LocalSettings:
        for key in ("folder", "llama_server"):
            if (value := getattr(local, key)) and (fault := path_fault(value)):
                self._refuse(("local", key), fault)
        for index, folder in enumerate(local.folders):
            if fault := path_fault(folder):
                self._refuse(("local", "folders", index), fault)
        if fault := memory_fault(local.memory):
            self._refuse(("local", "memory"), fault)
        for key in ("idle_s", "load_s"):
            if not getattr(local, key) <= _LOCAL_SECONDS_MAX:
                self._refuse(("local", key), f"must be at most {_LOCAL_SECONDS_MAX}")
        ids: set[str] = set()
        for index, model in enumerate(local.models):
            self._check_local_model(("local", "models", index), model)
            if model.id in ids:
                self._refuse(("local", "models", index, "id"), "is there twice")
            ids.add(model.id)
        return local

    def _check_local_model(self, key_path: KeyPath, model: LocalModelSettings) -> None:
        if not is_model_id(model.id):
            self._refuse((*key_path, "id"), "is not the name of a model")
        if model.idle_s is not None and not 0 <= model.idle_s <= _LOCAL_SECONDS_MAX:
            self._refuse((*key_path, "idle_s"), f"must be from 0 (never unloaded) to {_LOCAL_SECONDS_MAX}")
        if fault := args_fault(model.args):
            self._refuse((*key_path, "args"), fault)

    def _backends(self, entries: tuple[BackendEntry, ...]) -> tuple[Backend, ...]:
        for index, entry in enumerate(entries):
            self._check_entry(index, entry)
        self._check_unique(entries)
        names = name_backends([EntryNames(entry.url, entry.id, entry.name) for entry in entries])
        return tuple(
            Backend(
                id=id_,
                name=name,
                kind=entry.kind,
                ring=self._ring(index, entry),
                url=entry.url,
                enabled=entry.enabled,
                priority=entry.priority,
                slots=entry.slots,
                first_byte_s=entry.first_byte_s,
                idle_s=entry.idle_s,
                has_secret=entry.has_secret,
                access_key=entry.access_key,
                ca_file=entry.ca_file,
                follow_clock=entry.follow_clock,
                proxy=entry.proxy,
                models=tuple(dict.fromkeys(entry.models)),
                node_id=entry.node_id,
            )
            for index, (entry, (id_, name)) in enumerate(zip(entries, names, strict=True))
        )

    def _check_entry(self, index: int, entry: BackendEntry) -> None:
        key_path: KeyPath = ("backends", index)
        if entry.kind == "local":
            self._refuse(
                (*key_path, "kind"),
                "can't be local: this machine's models are there by themselves",
                "Take the entry out, and set what you want under [local].",
            )
        if entry.id == LOCAL_ID:
            self._refuse((*key_path, "id"), "is the one of this machine's own models", "Choose another id.")
        if fault := url_fault(entry.url):
            self._refuse((*key_path, "url"), fault, _SECRETS if "password" in fault else "")
        if entry.id is not None and not ID_PATTERN.fullmatch(entry.id):
            self._refuse((*key_path, "id"), "must consist of small letters, digits and dashes, at most 64")
        if entry.name is not None and (fault := _name_fault(entry.name) or _empty_fault(entry.name)):
            self._refuse((*key_path, "name"), fault)
        for key, value in (("access_key", entry.access_key), ("ca_file", entry.ca_file)):
            if not value.isprintable():
                self._refuse((*key_path, key), "has a control character in it")
        if fault := proxy_fault(entry.proxy):
            self._refuse((*key_path, "proxy"), fault)
        for number, model in enumerate(entry.models):
            if not is_model_id(model):
                self._refuse((*key_path, "models", number), "is not the name of a model")

    def _check_unique(self, entries: tuple[BackendEntry, ...]) -> None:
        ids: dict[str, int] = {}
        urls: dict[object, int] = {}
        for index, entry in enumerate(entries):
            if entry.id is not None and ids.setdefault(entry.id, index) != index:
                self._refuse_duplicate(index, "id", ids[entry.id])
            identity = account_identity(entry.kind, entry.url, entry.access_key)
            if identity is not None and urls.setdefault(identity, index) != index:
                self._refuse_duplicate(index, "url", urls[identity])

    def _ring(self, index: int, entry: BackendEntry) -> Ring:
        try:
            # Called in any case, because it refuses URLs that can't be a backend's.
            default = self._ring_for(entry.kind, entry.url)
        except MeshlightError as error:
            self._refuse(("backends", index, "url"), f"can't be used: {error.title}", error.hint)
        return entry.ring or default

    def _refuse_duplicate(self, index: int, key: str, duplicate: int) -> NoReturn:
        first: KeyPath = ("backends", duplicate, key)
        line = layout(self._text).line_of(first)
        self._refuse(
            ("backends", index, key),
            f"is the same as {show_path(first)} in line {line}",
            "Remove one of the two." if key == "url" else "Give each backend its own id.",
        )

    def _refuse(self, key_path: KeyPath, problem: str, hint: str = "") -> NoReturn:
        line = layout(self._text).line_of(key_path)
        where = f"line {line}: {show_path(key_path)}" if line else show_path(key_path)
        end = "" if problem.endswith((".", "?")) else "."
        raise ConfigError(f"{where} {problem}{end}", hint, line=line) from None


def _suggest(key: str, shape: type[Struct]) -> str:
    """Return where a key that is unknown in `shape` belongs, or which key was probably meant."""
    for where, other in _TABLE_NAMES.items():
        if other is not shape and key in other.__struct_fields__ and key not in _COMMON:
            return f"{_BELONGS} {where}"
    if similar := similar_names(key, shape.__struct_fields__):
        return f"did you mean {similar[0]}?"
    return f"known: {', '.join(shape.__struct_fields__)}"


def _name_fault(name: str) -> str | None:
    if not name.isprintable():
        return "has a control character in it"
    return f"is longer than {_NAME_MAX} characters" if len(name) > _NAME_MAX else None


def path_fault(path: str) -> str | None:
    """Return why a text is no path that always means the same place, or None."""
    if not path.isprintable() or len(path) > _PATH_MAX:
        return "is no path: it has a control character in it, or is too long"
    if not (Path(path).is_absolute() or path == "~" or path.startswith(("~/", "~\\"))):
        return "must be a whole path, from the root or from ~"
    return None


def _empty_fault(name: str) -> str | None:
    return None if name.strip() else "is empty; leave it out, and the id or the host is taken"


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": tuple(kind for kind in KINDS if kind != "local"),
    "ring": RINGS,
    "bound": RINGS,
    "spill": RINGS,
    "policy": get_args(Policy),
    "key_storage": get_args(KeyStorage),
    "runner": ("auto", *get_args(RunnerName)),
    "look_in": get_args(StoreName),
    "context": ("auto", "a number of tokens"),
}
_TYPES: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "time": "a time",
    "datetime": "a date",
}
_LIMITS: Mapping[str, str] = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_SECRET_WORDS = frozenset(
    {"key", "apikey", "token", "secret", "secrets", "password", "passwd", "bearer", "authorization", "auth"}
    | {"credential", "credentials"}
)
_SECRET_ENDINGS = ("_key", "_apikey", "_token", "_secret", "_password")
_SHOWN_MAX = 24
"""A longer value is no typing error; it may be a secret in the wrong setting."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_OUT_OF_RANGE = re.compile(r"Expected `\w+` (>=|<=|>|<) (-?[\d.e+]+)")


def show_path(key_path: KeyPath) -> str:
    """Return a key path as people write it: `backends[1].ring`."""
    shown = ""
    for step in key_path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            word = step if _BARE.fullmatch(step) else json.dumps(step)
            shown += f".{word}" if shown else word
    return shown


def is_secret_word(key: str) -> bool:
    """Whether a key of this name would contain a secret."""
    word = key.lower().replace("-", "_")
    return word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS)


def describe(message: str, data: object) -> tuple[KeyPath, str]:
    """Turn msgspec's message about `data` into the key path and the end of a sentence for people."""
    match = _PATH.match(message)
    problem, path = (match["problem"], match["path"] or "") if match else (message, "")
    key_path = _key_path(path, data)
    return key_path, _reworded(problem, key_path, _value(key_path, data))


def _reworded(problem: str, key_path: KeyPath, value: object) -> str:
    name = next((step for step in reversed(key_path) if isinstance(step, str)), "")
    if "Invalid enum value" in problem:
        shown = f", not {value!r}" if len(str(value)) <= _SHOWN_MAX else ""
        return f"must be one of {', '.join(_CHOICES[name])}{shown}"
    if missing := _MISSING.match(problem):
        choice = f": one of {', '.join(_CHOICES[missing[1]])}" if missing[1] in _CHOICES else ""
        return f"needs {missing[1]}{choice}"
    if wrong := _WRONG_TYPE.match(problem):
        wanted = " or ".join(_TYPES.get(word, word) for word in wrong[1].split(" | ") if word != "null")
        # The value is not shown: a key pasted into the wrong setting would end up in the log.
        got = "text" if wrong[2] == "str" else _TYPES.get(wrong[2], wrong[2])
        return f"must be {wanted}, not {got}"
    if limit := _OUT_OF_RANGE.match(problem):
        return f"must be {_LIMITS[limit[1]]} {limit[2].removesuffix('.0')}, not {value!r}"
    return f"is wrong: {problem}"


def _key_path(path: str, data: object) -> KeyPath:
    """Parse a path such as `.backends[1].ring`; `[...]` stands for a value in a table of texts."""
    key_path: list[str | int] = []
    for name, index in _STEP.findall(path):
        if name:
            key_path.append(name)
        elif index == "...":
            table = _value(tuple(key_path), data)
            if isinstance(table, Mapping):
                key_path.extend([next((key for key, each in table.items() if not _is_text(each)), "")])
        else:
            key_path.append(int(index))
    return tuple(key_path)


def _is_text(value: object) -> bool:
    """Whether a value is a text, or a list of texts."""
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _value(key_path: KeyPath, data: object) -> object:
    for step in key_path:
        if isinstance(step, int) and isinstance(data, list):
            data = data[step]
        elif isinstance(step, str) and isinstance(data, Mapping):
            data = data.get(step)
    return data
