"""Changes of the configuration (a backend, the routing, a peer) as edits of its text.

A default value that is not in the file is not written; a value that is in the file is changed in place. A backend is
written with its id, so that a later edit by hand, of the order or of a name, can't give its secret to another one.
"""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import (
    Config,
    DiscoverySettings,
    LanSettings,
    LocalModelSettings,
    LocalSettings,
)
from meshlight.domain.errors import BadRequest, Conflict, NotFound
from meshlight.domain.peers import Peer
from meshlight.domain.rules import Routing, Rule
from meshlight.storage.config.backend_ids import account_identity, host_of, slug, url_fault
from meshlight.storage.config.parser import RingFor, parse
from meshlight.storage.config.toml_editor import (
    insert_entry,
    insert_lines,
    remove_entry,
    remove_value,
    set_value,
)
from meshlight.storage.config.toml_layout import KeyPath

_BACKENDS: KeyPath = ("backends",)
_RULES: KeyPath = ("routing", "rules")
_PEERS: KeyPath = ("peers",)
_LOCAL_MODELS: KeyPath = ("local", "models")


def put_backend(text: str, config: Config, backend: Backend, ring_for: RingFor) -> str:
    """Add a backend, or change the one of the same id; raises Conflict, BadRequest."""
    if fault := url_fault(backend.url):
        raise BadRequest(f"The URL {fault}.", "Write it as http://host:port.", param="url")
    duplicate = next((b for b in config.backends if b.id != backend.id and _is_duplicate(b, backend)), None)
    if duplicate is not None:
        raise Conflict(
            f"{backend.url} is already in the configuration, as {duplicate.id!r}.",
            f"Change {duplicate.id!r}, or remove it first.",
        )
    text = _pin_ids(text, config, ring_for)
    index = next((i for i, b in enumerate(config.backends) if b.id == backend.id), None)
    if index is not None:
        return _write_backend(text, index, backend, ring_for)
    wanted, defaults = _backend_values(backend, ring_for)
    values = {key: value for key, value in wanted.items() if value != defaults.get(key)}
    return insert_entry(text, _BACKENDS, len(config.backends), values)


def set_backends(text: str, old: Config, new: Sequence[Backend], ring_for: RingFor) -> str:
    """Change, remove and add backends until the list is `new`; those that stay keep their order."""
    stay = {backend.id for backend in new}
    for backend in old.backends:
        if backend.id not in stay:
            text = remove_backend(text, old, backend.id, ring_for)
            old = replace(old, backends=tuple(other for other in old.backends if other.id != backend.id))
    for backend in new:
        if backend not in old.backends:
            text = put_backend(text, old, backend, ring_for)
            listed = {other.id: other for other in old.backends} | {backend.id: backend}
            old = replace(old, backends=tuple(listed.values()))
    return text


def remove_backend(text: str, config: Config, id_: str, ring_for: RingFor) -> str:
    """Remove a backend, with the comments that belong to it; raises NotFound."""
    index = next((i for i, b in enumerate(config.backends) if b.id == id_), None)
    if index is None:
        raise NotFound(
            f"No backend {id_!r} is in the configuration.", "`meshlight backends list` shows them."
        )
    return remove_entry(_pin_ids(text, config, ring_for), _BACKENDS, index)[0]


def set_routing(text: str, old: Routing, new: Routing) -> str:
    """Write the routing settings that differ from `old`, the ones in the text."""
    if new.policy != old.policy:
        text = set_value(text, ("routing", "policy"), new.policy)
    if new.bound != old.bound:
        text = (
            remove_value(text, ("routing", "bound"))
            if new.bound is None
            else set_value(text, ("routing", "bound"), new.bound)
        )
    if new.queue != old.queue:
        text = set_value(text, ("routing", "queue"), new.queue)
    if new.queue_s != old.queue_s:
        text = (
            remove_value(text, ("routing", "queue_s"))
            if new.queue_s is None
            else set_value(text, ("routing", "queue_s"), _short(new.queue_s))
        )
    for name in old.aliases:
        if name not in new.aliases:
            text = remove_value(text, ("routing", "aliases", name))
    for name, model in new.aliases.items():
        if old.aliases.get(name) != model:
            text = set_value(
                text, ("routing", "aliases", name), model if isinstance(model, str) else list(model)
            )
    return text if new.rules == old.rules else _set_rules(text, old.rules, new.rules)


def set_discovery(text: str, old: DiscoverySettings, new: DiscoverySettings) -> str:
    """Write the discovery settings that differ from `old`, the ones in the text."""
    if new.enabled != old.enabled:
        text = set_value(text, ("discovery", "enabled"), new.enabled)
    if new.ignored != old.ignored:
        text = set_value(text, ("discovery", "ignored"), list(new.ignored))
    return text


def set_lan(text: str, old: LanSettings, new: LanSettings) -> str:
    """Write the LAN settings that differ from `old`, the ones in the text."""
    for key in new.__struct_fields__:
        value = getattr(new, key)
        if value != getattr(old, key):
            text = set_value(text, ("lan", key), list(value) if isinstance(value, tuple) else value)
    return text


def set_local(text: str, old: LocalSettings, new: LocalSettings) -> str:
    """Write the settings of this machine's own models that differ from `old`, the ones in the text."""
    for key in new.__struct_fields__:
        value = getattr(new, key)
        if key != "models" and value != getattr(old, key):
            text = set_value(text, ("local", key), _plain(value))
    return text if new.models == old.models else _set_local_models(text, old.models, new.models)


def _set_local_models(text: str, old: Sequence[LocalModelSettings], new: Sequence[LocalModelSettings]) -> str:
    """Write the settings of single models: removed ones go with their comments, new ones are added at the end."""
    wanted = {model.id: model for model in new}
    for index in reversed(range(len(old))):
        if old[index].id not in wanted:
            text = remove_entry(text, _LOCAL_MODELS, index)[0]
    kept = [model.id for model in old if model.id in wanted]
    for model_id in [model_id for model_id in wanted if model_id not in kept]:
        text = insert_entry(text, _LOCAL_MODELS, len(kept), {"id": model_id})
        kept.append(model_id)
    for index, model_id in enumerate(kept):
        model = wanted[model_id]
        values = {key: _plain(getattr(model, key)) for key in model.__struct_fields__}
        defaults: dict[str, object] = {"keep": False, "args": [], "hidden": False}
        raw = _entries(text, _LOCAL_MODELS)[index]
        text = _write_entry(text, (*_LOCAL_MODELS, index), raw, values, defaults)
    return text


def _plain(value: object) -> object:
    """Return a setting as TOML has it."""
    if isinstance(value, tuple):
        return list(value)
    return _short(value) if isinstance(value, float) else value


def set_peers(text: str, old: Sequence[Peer], new: Sequence[Peer]) -> str:
    """Write the paired peers: removed ones go with their comments, new ones are added at the end."""
    wanted = {peer.id: peer for peer in new}
    for index in reversed(range(len(old))):
        if old[index].id not in wanted:
            text = remove_entry(text, _PEERS, index)[0]
    kept = [peer.id for peer in old if peer.id in wanted]
    for peer_id in [peer_id for peer_id in wanted if peer_id not in kept]:
        text = insert_entry(text, _PEERS, len(kept), {"id": peer_id, "name": wanted[peer_id].name, "url": ""})
        kept.append(peer_id)
    for index, peer_id in enumerate(kept):
        values, defaults = _peer_values(wanted[peer_id])
        text = _write_entry(text, (*_PEERS, index), _entries(text, _PEERS)[index], values, defaults)
    return text


def _peer_values(peer: Peer) -> tuple[dict[str, object], dict[str, object]]:
    wanted: dict[str, object] = {
        "name": peer.name,
        "url": peer.url,
        "share_rings": list(peer.share_rings),
        "share_models": None if peer.share_models is None else list(peer.share_models),
        "use": None if peer.use is None else list(peer.use),
        "max_in_flight": peer.max_in_flight,
        "paused": peer.paused,
        "may_manage": peer.may_manage,
        "paired_at": peer.paired_at,
    }
    defaults: dict[str, object] = {
        "share_rings": ["machine"],
        "share_models": None,
        "use": None,
        "max_in_flight": 4,
        "paused": False,
        "may_manage": False,
        "paired_at": 0.0,
    }
    return wanted, defaults


def _is_duplicate(one: Backend, other: Backend) -> bool:
    identity = account_identity(one.kind, one.url, one.access_key)
    return identity is not None and identity == account_identity(other.kind, other.url, other.access_key)


def _pin_ids(text: str, config: Config, ring_for: RingFor) -> str:
    """Write the ids that depend on the order of the file, before an edit can change that order."""
    raw = _entries(text, _BACKENDS)
    for index, (entry, backend) in enumerate(zip(raw, config.backends, strict=True)):
        base = slug(str(entry.get("name", ""))) or slug(host_of(backend.url)) or "backend"
        if "id" not in entry and backend.id != base:
            text = _write_backend(text, index, backend, ring_for)
    return text


def _write_backend(text: str, index: int, backend: Backend, ring_for: RingFor) -> str:
    wanted, defaults = _backend_values(backend, ring_for)
    return _write_entry(text, (*_BACKENDS, index), _entries(text, _BACKENDS)[index], wanted, defaults)


def _backend_values(backend: Backend, ring_for: RingFor) -> tuple[dict[str, object], dict[str, object]]:
    """Return the values of an entry, in the order in which they are written, and the defaults."""
    wanted: dict[str, object] = {
        "id": backend.id,
        "name": backend.name,
        "kind": backend.kind,
        "url": backend.url,
        "ring": backend.ring,
        "enabled": backend.enabled,
        "priority": backend.priority,
        "slots": backend.slots,
        "first_byte_s": _short(backend.first_byte_s),
        "idle_s": _short(backend.idle_s),
        "has_secret": backend.has_secret,
        "access_key": backend.access_key,
        "ca_file": backend.ca_file,
        "follow_clock": backend.follow_clock,
        "proxy": backend.proxy,
        "models": list(backend.models),
        "node_id": backend.node_id,
    }
    defaults: dict[str, object] = {
        "name": backend.id,
        "ring": ring_for(backend.kind, backend.url),
        "enabled": True,
        "priority": 0,
        "slots": None,
        "first_byte_s": 300,
        "idle_s": 300,
        "has_secret": False,
        "access_key": "",
        "ca_file": "",
        "follow_clock": True,
        "proxy": "",
        "models": [],
        "node_id": "",
    }
    return wanted, defaults


def _short(seconds: float) -> float:
    """Return 300 rather than 300.0."""
    return int(seconds) if float(seconds).is_integer() else seconds


def _set_rules(text: str, old: Sequence[Rule], new: Sequence[Rule]) -> str:
    """Remove, insert and move whole entries (with their comments), then change single values."""
    changes = SequenceMatcher(
        None, [r.model for r in old], [r.model for r in new], autojunk=False
    ).get_opcodes()
    removed: dict[str, list[str]] = {}
    for kind, first, end, _, _ in reversed(changes):
        if kind in {"delete", "replace"}:
            for index in reversed(range(first, end)):
                text, removed[old[index].model] = remove_entry(text, _RULES, index)
    for kind, _, _, first, end in changes:
        if kind in {"insert", "replace"}:
            for index in range(first, end):
                if moved := removed.pop(new[index].model, None):
                    text = insert_lines(text, _RULES, index, moved)
                else:
                    text = insert_entry(text, _RULES, index, {"model": new[index].model})
    for index, rule in enumerate(new):
        wanted: dict[str, object] = {
            "model": rule.model,
            "pin": list(rule.pin),
            "prefer": list(rule.prefer),
            "also": list(rule.also),
            "bound": rule.bound,
            "spill": rule.spill,
            "fallback": list(rule.fallback),
        }
        defaults: dict[str, object] = {"spill": "company", "bound": None}
        defaults |= {key: [] for key in ("pin", "prefer", "also", "fallback")}
        text = _write_entry(text, (*_RULES, index), _entries(text, _RULES)[index], wanted, defaults)
    return text


def _write_entry(
    text: str,
    key_path: KeyPath,
    raw: Mapping[str, object],
    wanted: Mapping[str, object],
    defaults: Mapping[str, object],
) -> str:
    """Change the keys of one entry that differ from `wanted`."""
    for key, value in wanted.items():
        if key in raw and value is None:
            text = remove_value(text, (*key_path, key))
        elif raw[key] != value if key in raw else value != defaults.get(key):
            text = set_value(text, (*key_path, key), value)
    return text


def _entries(text: str, table: KeyPath) -> list[dict[str, Any]]:
    """Return the entries of a list of tables, as they are in the text."""
    data: Any = parse(text)
    for step in table:
        data = data.get(step, {})
    return list(data)
