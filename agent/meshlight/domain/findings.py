"""What hurts, as a list of findings: one rule for each kind, from counts and times that others have gathered.

A finding says what was seen (with numbers), why that is so, and one thing to do: a button of the page or a command.
Its severity is `suffer` only while requests are slower, worse or lost because of it; all else is worth a look.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import ModelDetail
from meshlight.domain.engine_faults import fault_of
from meshlight.domain.snapshot import Node
from meshlight.domain.text import count, duration, sanitize

Kind = Literal[
    "reloading",
    "prompt-cut",
    "failing",
    "giving-up",
    "demand",
    "slow",
    "unused",
    "fault",
    "disk",
    "bypass",
]
Severity = Literal["suffer", "look"]
Button = Literal["", "check", "disable"]
"""What the page can do at once with the finding's backend: check it, or switch it off."""

WINDOW_S = 600.0
"""How far back failures, clients that left and cut prompts count."""
LOADS_S = 900.0
"""How far back loads of a model count."""
LOADS_MANY = 3
WAITING_S = 120.0
"""Requests that wait for so long without a break say that there are too few slots."""
SLOW_S = 300.0
FAILED_MANY = 5
LEFT_MANY = 5
SHARE = 0.2
"""Failures and clients that left count from this share of the requests on."""
CUTS_MANY = 2
UNUSED_S = 600.0
COLD_S = 30.0
"""A request that runs so long while its model is not in memory waits for memory."""
DISK_SHARE = 0.05
DISK_BYTES = 10 * 1024**3
"""A disk is nearly full with less free than both."""
BYPASS_SEEN = 3
"""Looks in a row at which others were connected to an engine."""
EACH_MAX = 5
"""Findings of one kind."""
NAME_MAX = 60


class Finding(Struct, frozen=True, kw_only=True):
    """Something that hurts; either `command` or `button` is what to do, and `fix` says it in a sentence."""

    kind: Kind
    severity: Severity
    evidence: str
    why: str
    fix: str
    command: str = ""
    """To be pasted into a terminal; its words are quoted for a shell."""
    button: Button = ""
    backend: str = ""
    model: str = ""


class CutPrompts(Struct, frozen=True, kw_only=True):
    """Prompts that an engine counted far fewer tokens of than were sent."""

    times: int
    sent: int
    """Tokens of the longest one, as estimated."""
    counted: int
    """Tokens of it, as the engine counted them."""


class RouteSigns(Struct, frozen=True, kw_only=True):
    """What was seen of one model at one backend; an empty backend stands for the model's queue."""

    backend: str
    model: str
    requests: int = 0
    """That began in the last `WINDOW_S` seconds."""
    failed: int = 0
    """Answers of 5xx, and answers that broke off, in the same time."""
    left: int = 0
    """Clients that left before the first byte, in the same time."""
    cut: CutPrompts | None = None
    loads: tuple[float, ...] = ()
    """When the model came into memory; monotonic seconds."""
    idle_s: float | None = None
    """For how long no request ran here, as far as that was watched."""
    cold_s: float = 0.0
    """For how long requests have run while the model was not in memory."""


class Waiting(Struct, frozen=True, kw_only=True):
    """Requests that wait for a slot of a model."""

    model: str
    count: int
    since: float
    """Since when some have waited at each look."""


class SlowRoute(Struct, frozen=True, kw_only=True):
    """A route that takes more than twice its usual time."""

    backend: str
    model: str
    since: float


class Disk(Struct, frozen=True, kw_only=True):
    """The disk on which an engine stores its models."""

    backend: str
    path: str
    free: int
    total: int
    command: tuple[str, ...] = ()
    """Lists the models there."""
    least: int | None = None
    """With fewer bytes free it is nearly full, whatever its size; None for the usual measure."""


class Others(Struct, frozen=True, kw_only=True):
    """Connections to an engine of this machine that are not Meshlight's own."""

    backend: str
    connections: int
    programs: tuple[str, ...] = ()
    """The names of the programs, where the system tells."""
    seen: int = 0
    """Looks in a row at which there were some."""


class Signs(Struct, frozen=True, kw_only=True):
    """All that the rules look at."""

    now: float
    """Monotonic seconds, as all instants here."""
    time_of_day: Callable[[float], str]
    """Returns such an instant as the time of day, for people."""
    nodes: Mapping[str, Node]
    routes: Sequence[RouteSigns] = ()
    waiting: Sequence[Waiting] = ()
    slow: Sequence[SlowRoute] = ()
    disks: Sequence[Disk] = ()
    others: Sequence[Others] = ()


def find(signs: Signs) -> tuple[Finding, ...]:
    """Return the findings: those first that make requests suffer."""
    found = [finding for rule in _RULES for finding in rule(signs)[:EACH_MAX]]
    return tuple(sorted(found, key=lambda finding: finding.severity != "suffer"))


class FindingList(Struct, frozen=True):
    """`GET /mesh/findings`: what hurts now, those first that make requests suffer."""

    findings: tuple[Finding, ...]


def suffering(findings: Sequence[Finding]) -> str:
    """Return what the first finding that makes requests suffer has seen; empty when there is none."""
    return next((one.evidence for one in findings if one.severity == "suffer"), "")


def _reloading(signs: Signs) -> list[Finding]:
    found = []
    for backend, routes in _by_backend(signs).items():
        loads = {
            route.model: recent
            for route in routes
            if (recent := sum(at > signs.now - LOADS_S for at in route.loads))
        }
        most = max(loads, key=lambda model: loads[model], default="")
        if loads.get(most, 0) < LOADS_MANY:
            continue
        others = [model for model, times in loads.items() if model != most and times > 1]
        is_ollama = signs.nodes[backend].backend.kind == "ollama"
        in_turn = f", in turn with {_text(others[0])}" if others else ""
        found.append(
            _finding(
                signs,
                "reloading",
                "suffer",
                backend,
                most,
                evidence=f"{_name(signs, backend)} has loaded {_text(most)} {loads[most]} times in the last "
                f"{duration(LOADS_S)}{in_turn}.",
                why="Its memory does not hold them together: each one pushes the other out, and every change costs "
                "a load."
                if others
                else "It leaves memory between requests, and the next one waits until it is loaded again.",
                fix="See how much memory each one takes; then use a smaller one, or have one of them on another "
                "machine."
                if others
                else "Have it kept in memory longer, where the engine is started.",
                command=(("ollama ps",) if others else ("OLLAMA_KEEP_ALIVE=30m ollama serve",))
                if is_ollama
                else ("meshlight", "route", most),
            )
        )
    return found


def _prompt_cut(signs: Signs) -> list[Finding]:
    found = []
    for route in signs.routes:
        cut, node = route.cut, signs.nodes.get(route.backend)
        if cut is None or cut.times < CUTS_MANY or node is None:
            continue
        need = _room(cut.sent)
        kind = node.backend.kind
        command: tuple[str, ...] = ("meshlight", "route", route.model)
        if kind == "ollama":
            command = (f"OLLAMA_CONTEXT_LENGTH={need} ollama serve",)
        elif kind == "lmstudio":
            command = ("lms", "load", route.model, "--context-length", str(need))
        found.append(
            _finding(
                signs,
                "prompt-cut",
                "suffer",
                route.backend,
                route.model,
                evidence=f"{_name(signs, route.backend)} cut {count(cut.times, 'prompt')} for {_text(route.model)}: "
                f"of about {cut.sent:,} tokens sent it read {cut.counted:,}.",
                why="Its context is smaller than the prompt, and it drops the beginning without an error.",
                fix=f"Give the model a context of {need:,} tokens, if memory allows.",
                command=command,
            )
        )
    return found


def _failing(signs: Signs) -> list[Finding]:
    found = []
    for route in signs.routes:
        if route.backend not in signs.nodes or not _is_many(route.failed, FAILED_MANY, route.requests):
            continue
        has_others = _is_served_elsewhere(signs, route)
        found.append(
            _finding(
                signs,
                "failing",
                "suffer",
                route.backend,
                route.model,
                evidence=f"{route.failed:,} of {route.requests:,} requests for {_text(route.model)} failed at "
                f"{_name(signs, route.backend)} in the last {duration(WINDOW_S)}.",
                why="The engine answers with errors of its own (5xx) or breaks off: its log says why.",
                fix="Switch it off until it is repaired: other machines have the model."
                if has_others
                else "Restart the engine, and check it again.",
                button="disable" if has_others else "check",
            )
        )
    return found


def _giving_up(signs: Signs) -> list[Finding]:
    found = []
    left: dict[str, int] = {}
    requests: dict[str, int] = {}
    for route in signs.routes:
        left[route.model] = left.get(route.model, 0) + route.left
        requests[route.model] = requests.get(route.model, 0) + route.requests
    for model, times in left.items():
        if not _is_many(times, LEFT_MANY, requests[model]):
            continue
        where = max(
            (route for route in signs.routes if route.model == model and route.backend in signs.nodes),
            key=lambda route: route.left,
            default=None,
        )
        found.append(
            _finding(
                signs,
                "giving-up",
                "suffer",
                where.backend if where is not None else "",
                model,
                evidence=f"{count(times, 'client')} left before the first byte for {_text(model)} in the last "
                f"{duration(WINDOW_S)}.",
                why="They wait longer for the answer to begin than their own limit is.",
                fix="Measure how long it takes, then raise the limit of the client, or use a faster machine.",
                command=("meshlight", "test", model),
            )
        )
    return found


def _demand(signs: Signs) -> list[Finding]:
    return [
        _finding(
            signs,
            "demand",
            "suffer",
            "",
            wait.model,
            evidence=f"{count(wait.count, 'request waits', 'requests wait')} for {_text(wait.model)}, and some have "
            f"waited all the time since {signs.time_of_day(wait.since)}.",
            why="More requests come than its backends have slots.",
            fix="Raise the slots of an engine, or use one more machine: the list of routes names those that are not "
            "used yet.",
            command=("meshlight", "route", wait.model),
        )
        for wait in sorted(signs.waiting, key=lambda wait: -wait.count)
        if wait.count and signs.now - wait.since >= WAITING_S
    ]


def _slow(signs: Signs) -> list[Finding]:
    return [
        _finding(
            signs,
            "slow",
            "suffer",
            route.backend,
            route.model,
            evidence=f"{_text(route.model)} on {_name(signs, route.backend)} answers at less than half its usual "
            f"speed since {signs.time_of_day(route.since)}.",
            why="Something else uses that machine, it is hot, or a part of the model left its graphics memory.",
            fix="Look what else runs there; requests go elsewhere while another machine is faster.",
            button="check",
        )
        for route in signs.slow
        if route.backend in signs.nodes and signs.now - route.since >= SLOW_S
    ]


def _unused(signs: Signs) -> list[Finding]:
    waiting = {wait.model for wait in signs.waiting if wait.count}
    found = []
    for backend, routes in _by_backend(signs).items():
        node = signs.nodes[backend]
        hungry = [
            route.model
            for route in routes
            if _detail(node, route.model).loaded is False
            and (route.cold_s >= COLD_S or route.model in waiting)
        ]
        if not hungry:
            continue
        for route in routes:
            if _detail(node, route.model).loaded is not True or (route.idle_s or 0.0) < UNUSED_S:
                continue
            found.append(
                _finding(
                    signs,
                    "unused",
                    "suffer",
                    backend,
                    route.model,
                    evidence=f"{_text(route.model)} is in the memory of {_name(signs, backend)}, without a request "
                    f"for {duration(route.idle_s or 0.0)}, while {_text(hungry[0])} waits for memory.",
                    why="The engine keeps a model in memory for a while after its last answer, or until it is told.",
                    fix="Take it out of memory; the next request for it loads it again.",
                    command=_unload(node, route.model),
                )
            )
    return found


def _fault(signs: Signs) -> list[Finding]:
    found = []
    for backend, node in signs.nodes.items():
        version = node.about.get("Version", "")
        fault = fault_of(node.backend.kind, version) if node.backend.enabled else None
        if fault is not None:
            found.append(
                _finding(
                    signs,
                    "fault",
                    "look",
                    backend,
                    "",
                    evidence=f"{_name(signs, backend)} is version {_text(version)}: {fault.what}.",
                    why=f"It is a known fault: {fault.source}",
                    fix=f"Update the engine: {fault.fixed_in} and later are without it.",
                    command=(fault.update,) if fault.update else (),
                )
            )
    return found


def _disk(signs: Signs) -> list[Finding]:
    return [
        _finding(
            signs,
            "disk",
            "look",
            disk.backend,
            "",
            evidence=f"{disk.free / 1024**3:.1f} of {disk.total / 1024**3:.0f} GB are free where "
            f"{_name(signs, disk.backend)} stores its models ({_text(disk.path)}).",
            why="The next download of a model may fail half-way, and an engine without room for its files fails too."
            if disk.least is None
            else "A download leaves some room for everything else, so even a small model does not fit any more.",
            fix="Delete models that you don't use."
            if disk.least is None
            else "Delete models that you don't use (`meshlight models rm NAME`), or set another `folder` in [local].",
            command=disk.command,
        )
        for disk in signs.disks
        if disk.backend in signs.nodes and _is_nearly_full(disk)
    ]


def _is_nearly_full(disk: Disk) -> bool:
    if disk.least is not None:
        return disk.free < disk.least
    return disk.free < DISK_BYTES and disk.free < disk.total * DISK_SHARE


def _bypass(signs: Signs) -> list[Finding]:
    found = []
    for others in signs.others:
        if others.backend not in signs.nodes or others.seen < BYPASS_SEEN or not others.connections:
            continue
        names = ", ".join(_text(program) for program in others.programs[:3])
        by = f" by {names}" if names else ""
        found.append(
            _finding(
                signs,
                "bypass",
                "look",
                others.backend,
                "",
                evidence=f"{count(others.connections, 'connection')} to {_name(signs, others.backend)} "
                f"{'goes' if others.connections == 1 else 'go'} past Meshlight{by}.",
                why="Requests that Meshlight does not see take slots and memory that it counts as free.",
                fix="Give these programs Meshlight's address instead of the engine's.",
                command=("meshlight", "env"),
            )
        )
    return found


_RULES: tuple[Callable[[Signs], list[Finding]], ...] = (
    _prompt_cut,
    _failing,
    _giving_up,
    _demand,
    _reloading,
    _slow,
    _unused,
    _fault,
    _bypass,
    _disk,
)


def _finding(  # noqa: PLR0913 - one place where findings are made, all parts by name
    signs: Signs,
    kind: Kind,
    severity: Severity,
    backend: str,
    model: str,
    *,
    evidence: str,
    why: str,
    fix: str,
    command: tuple[str, ...] = (),
    button: Button = "",
) -> Finding:
    """Make a finding; without a command that is safe to paste, or a button, the backend can be checked."""
    node = signs.nodes.get(backend)
    line = _shell(command, model)
    if not line and not button:
        line, button = ("meshlight status", "") if node is None else ("", "check")
    if line and node is not None and node.backend.ring != "machine" and command[0] != "meshlight":
        fix += f" The command is for {_name(signs, backend)}."
    return Finding(
        kind=kind,
        severity=severity,
        evidence=evidence,
        why=why,
        fix=fix,
        command=line,
        button=button,
        backend=backend,
        model=model,
    )


def _shell(words: tuple[str, ...], model: str) -> str:
    """Return a command as one line; a single word is one already. Empty where a model's id may be more than a name.

    An id that begins with a hyphen would be taken for an option.
    """
    if model in words and (model.startswith("-") or model != sanitize(model)):
        return ""
    return "".join(words) if len(words) <= 1 else shlex.join(words)


def _unload(node: Node, model: str) -> tuple[str, ...]:
    """Return the command that takes a model out of memory; empty where the engine has none."""
    match node.backend.kind:
        case "ollama":
            return "ollama", "stop", model
        case "lmstudio":
            return "lms", "unload", model
        case "local":
            return "meshlight", "models", "unload", model
    return ()


def _by_backend(signs: Signs) -> dict[str, list[RouteSigns]]:
    routes: dict[str, list[RouteSigns]] = {}
    for route in signs.routes:
        if route.backend in signs.nodes:
            routes.setdefault(route.backend, []).append(route)
    return routes


def _is_many(some: int, many: int, of: int) -> bool:
    return some >= many and some >= of * SHARE


def _is_served_elsewhere(signs: Signs, route: RouteSigns) -> bool:
    return any(
        node.backend.enabled and node.health.state == "healthy" and node.serves(route.model)
        for backend, node in signs.nodes.items()
        if backend != route.backend
    )


def _detail(node: Node, model: str) -> ModelDetail:
    return node.details.get(model) or node.details.get(node.names.get(model, ""), _NO_DETAIL)


_NO_DETAIL = ModelDetail()


def _room(tokens: int) -> int:
    """Return a usual size of context in which so many tokens and an answer have room."""
    size = 4_096
    while size < tokens + 1_024:
        size *= 2
    return size


def _name(signs: Signs, backend: str) -> str:
    return _text(signs.nodes[backend].backend.name) or backend


def _text(name: str) -> str:
    return sanitize(name, NAME_MAX)
