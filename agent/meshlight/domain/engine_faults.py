"""Versions of engines with a fault that is known and repaired: a short table, each line with its source.

It names faults that hurt requests, or by which a request or a model can hurt the machine. A version that can't be
read has no fault here.
"""

import re

from msgspec import Struct

from meshlight.domain.backend import Kind

Version = tuple[int, ...]

_NUMBERS = re.compile(r"[bv]?(\d{1,9}(?:\.\d{1,9}){0,3})")


class Fault(Struct, frozen=True, kw_only=True):
    """A fault of an engine in the versions from `since` up to, and without, `fixed`."""

    kind: Kind
    since: Version = (0,)
    fixed: Version
    what: str
    """A sentence without its end, about what it does."""
    source: str
    update: str = ""
    """The command that installs a newer version, where one is the same on every machine."""

    @property
    def fixed_in(self) -> str:
        """The first version without it, as the engine writes it."""
        text = ".".join(str(number) for number in self.fixed)
        return f"b{text}" if self.kind == "llamacpp" else text


FAULTS: tuple[Fault, ...] = (
    Fault(
        kind="ollama",
        since=(0, 6, 0),
        fixed=(0, 6, 6),
        what="Gemma 3 takes more and more memory there, until it crashes",
        source="https://github.com/ollama/ollama/issues/10040",
    ),
    Fault(
        kind="ollama",
        fixed=(0, 17, 1),
        what="a crafted model lets strangers read its memory, with prompts and keys (CVE-2026-7482)",
        source="https://labs.cloudsecurityalliance.org/research/"
        "csa-research-note-ollama-bleeding-llama-cve-2026-7482-ai-inf/",
    ),
    Fault(
        kind="vllm",
        since=(0, 8, 3),
        fixed=(0, 14, 1),
        what="a crafted video in a request can run a program there, if its model takes videos (CVE-2026-22778)",
        source="https://github.com/vllm-project/vllm/security/advisories/GHSA-4r2x-xpjr-7cvv",
        update="pip install --upgrade vllm",
    ),
    Fault(
        kind="llamacpp",
        fixed=(8146,),
        what="a crafted model file can run a program there (CVE-2026-27940)",
        source="https://github.com/ggml-org/llama.cpp/security/advisories/GHSA-3p4r-fq3f-q74v",
    ),
)
"""For each engine, the one to tell first comes first."""


def fault_of(kind: Kind, version: str) -> Fault | None:
    """Return the fault of an engine's version as it reports it, such as `0.6.2` or `b6500-1a2b3c4`."""
    numbers = _read(version)
    if numbers is None:
        return None
    return next((one for one in FAULTS if one.kind == kind and one.since <= numbers < one.fixed), None)


def _read(version: str) -> Version | None:
    found = _NUMBERS.match(version)
    numbers = tuple(int(number) for number in found[1].split(".")) if found else ()
    return numbers if any(numbers) else None  # 0.0.0 is one that somebody built from any state of the sources
