"""How fast a route answers, learned from the times of answers that flow anyway; all values are seconds.

What counts is what was seen in the last two minutes. Where that is too little, it is what is usual there: so a place
that was slow for a while is tried again, and one that is slow again is noticed after a few answers.
"""

from typing import Final

from meshlight.domain.choice import Prompt
from meshlight.domain.kept_speed import Kept

KEPT: Final = 9
"""Answers of which the present speed is the median."""
ENOUGH: Final = 3
"""With fewer fresh ones, the usual speed counts."""
FRESH_S: Final = 120.0
USUAL_KEPT: Final = 30
USUAL_EVERY_S: Final = 60.0
"""How often the present speed is noted for the usual one."""
SLOW_EVERY_S: Final = 600.0
"""The same while it is slow."""
SHORT_TOKENS: Final = 200
"""Shorter prompts say how long any answer takes to begin, longer ones how fast a prompt is read."""
WHOLE_TOKENS: Final = 20
"""An answer in one piece tells how fast it was written from so many tokens on."""
STREAM_TOKENS: Final = 10
LONGEST_S: Final = 3_600.0
"""No single time is taken for longer."""
CACHED_SHARE: Final = 0.8
"""How much of a conversation's prompt is in the cache of the place where it was before."""
USUAL_ANSWER: Final = 300.0
"""Tokens of an answer, as long as none was seen."""
SLOW: Final = 2.0
"""So many times its usual seconds, a place is slow."""
QUEUED: Final = 3.0
"""A first byte that takes so many times as long as expected has waited for another answer."""
QUEUED_SEEN: Final = 3
"""It takes so many of them to believe in a number of slots."""
SLOTS_KEPT_S: Final = 600.0
"""After that, learned slots are put to the test again."""
SLOTS_MAX: Final = 64
CROWD: Final = 0.3
"""Answers that an engine writes at the same time share its speed: each of n takes n to the power of this as long.

Of engines that were not measured, between 0.1 (many answers cost little more than one) and 0.7 (hardly anything is
shared), the choice is better with it than without (`dev.py simulate`); and a crowd is not taken for a slow place.
"""
_CROWD_MAX: Final = 64
_CROWDS: Final = tuple(max(number, 1) ** CROWD for number in range(_CROWD_MAX + 1))
_NEVER: Final = float("inf")


class Pace:
    """One value: as it is now, and as it usually is."""

    __slots__ = ("_at", "_expected", "_next", "_noted_at", "_usuals", "_values", "until", "usual")

    def __init__(self, usual: float | None = None) -> None:
        self._values = [0.0] * KEPT
        self._at = [-_NEVER] * KEPT
        self._next = 0
        self._usuals: list[float] = [] if usual is None else [usual]
        self._noted_at = -_NEVER
        self._expected: float | None = None
        self.until = -_NEVER
        """Until when the expected value stays, without a new one."""
        self.usual = usual
        """The value in its better times; None while it is not known."""

    def add(self, value: float, now: float) -> None:
        """Take in a value, in the place of the oldest one."""
        at = self._next
        self._values[at] = value
        self._at[at] = now
        self._next = at + 1 if at + 1 < KEPT else 0
        self.until = -_NEVER

    def at(self, now: float) -> float | None:
        """Return the value that is expected now; None while nothing is known."""
        if now < self.until:
            return self._expected
        oldest = now - FRESH_S
        values, times = self._values, self._at
        fresh = [values[at] for at in range(KEPT) if times[at] > oldest]
        self.until = min([at for at in times if at > oldest], default=_NEVER) + FRESH_S
        if len(fresh) >= ENOUGH:
            self._expected = value = _middle(fresh)
            # A slow hour is not soon taken for what is usual.
            every_s = SLOW_EVERY_S if _is_slow(value, self.usual) else USUAL_EVERY_S
            if now - self._noted_at >= every_s:
                self._noted_at = now
                self._usuals = [*self._usuals[-(USUAL_KEPT - 1) :], value]
                self.usual = sorted(self._usuals)[(len(self._usuals) - 1) // 4]
        elif self.usual is not None:
            self._expected = self.usual
        else:
            seen = [values[at] for at in range(KEPT) if times[at] > -_NEVER]
            self._expected = _middle(seen) if seen else None
        return self._expected


def _middle(values: list[float]) -> float:
    """Return the median, of an even number of values the lower one of the two."""
    values.sort()
    return values[(len(values) - 1) // 2]


class Speeds:
    """The speed of one route. `begin_s`, `read_s`, `write_s` and `load_s` are as of the last `refresh`."""

    __slots__ = (
        "_answer",
        "_first",
        "_load",
        "_queued",
        "_read",
        "_slots_at",
        "_write",
        "begin_s",
        "due",
        "is_one_engine",
        "keep_s",
        "learned_slots",
        "load_s",
        "read_s",
        "seen_at",
        "slow_since",
        "warm_since",
        "write_s",
    )

    def __init__(self, kept: Kept | None = None) -> None:
        kept = kept or Kept()
        self._first = Pace(kept.first_s)
        self._read = Pace(kept.read_s)
        self._write = Pace(kept.write_s)
        self._load = Pace(kept.load_s)
        self._answer = USUAL_ANSWER if kept.answer is None else kept.answer
        self._queued = [0] * (SLOTS_MAX + 1)
        self._slots_at = -_NEVER
        self.learned_slots: int | None = None
        """How many requests it answers at the same time, as far as that was seen."""
        self.is_one_engine = True
        """Whether answers at the same time share one engine."""
        self.begin_s: float | None = None
        """Until the first byte of an answer to a short prompt."""
        self.read_s: float | None = None
        """For each token of a prompt."""
        self.write_s: float | None = None
        """For each token of an answer."""
        self.load_s: float | None = None
        """To load the model."""
        self.due = -_NEVER
        """From when on the four values above are to be worked out anew."""
        self.seen_at = -_NEVER
        """When an answer last had content: then the model was in memory."""
        self.keep_s: float | None = None
        """For how long after an answer the model stays in memory, as far as a request said; None for the usual."""
        self.warm_since = -_NEVER
        """When the first of these answers after it was cold had content."""
        self.slow_since: float | None = None
        """Since when it takes more than twice its usual time; None if it does not."""

    def learn(
        self,
        now: float,
        first_s: float,
        total_s: float,
        prompt: int,
        answer: int,
        *,
        is_cold: bool = False,
        is_cached: bool = False,
        is_timed: bool = False,
    ) -> None:
        """Take in the times and token counts of an answer.

        `is_cold`: the model was not in memory. `is_cached`: the prompt was, so its time says nothing. `is_timed`: the
        engine has measured it better (`learn_timings`).
        """
        if not 0.0 <= first_s <= total_s <= LONGEST_S:
            return
        self.due = -_NEVER
        rest_s = total_s - first_s
        is_whole = rest_s < total_s * 0.05
        if is_cold:
            self._load.add(max(first_s - self._expected_s(prompt, answer if is_whole else 0), 0.0), now)
        elif is_whole and answer >= WHOLE_TOKENS:
            if not is_timed:
                self._write.add(total_s / answer, now)
        elif prompt < SHORT_TOKENS:
            self._first.add(first_s, now)
        elif not is_cached and not is_timed:
            self._read.add(first_s / prompt, now)
        if is_timed:
            return
        if not is_whole and answer >= STREAM_TOKENS:
            self._write.add(rest_s / (answer - 1), now)
        if answer > 0:
            self._answer += (answer - self._answer) / 8

    def learn_timings(self, now: float, read: tuple[int, float], wrote: tuple[int, float]) -> None:
        """Take in what an engine measured itself: tokens and seconds of the prompt, and of the answer."""
        self.due = -_NEVER
        if read[0] >= SHORT_TOKENS and 0 < read[1] <= LONGEST_S:
            self._read.add(read[1] / read[0], now)
        if wrote[0] >= STREAM_TOKENS and 0 < wrote[1] <= LONGEST_S:
            self._write.add(wrote[1] / wrote[0], now)
            self._answer += (wrote[0] - self._answer) / 8

    def learn_slots(self, now: float, running: int, first_s: float, prompt: int) -> None:
        """Take in how long the first byte of a stream took beside `running` others, of a model in memory.

        It is judged by what was expected at the last `refresh`.
        """
        if not 0 < running <= SLOTS_MAX or self.begin_s is None or self.write_s is None:
            return
        begin_s = self._expected_s(prompt, 0)
        # Engines that answer many at once begin a little later then; one that has no slot, only after an answer.
        waited = first_s > QUEUED * begin_s and first_s - begin_s > self._answer * self.write_s / 2
        if not waited:
            for number in range(running + 1):
                self._queued[number] = 0
            if self.learned_slots is not None and self.learned_slots <= running:
                self.learned_slots = None
            return
        self._queued[running] += 1
        if self._queued[running] >= QUEUED_SEEN and (
            self.learned_slots is None or running < self.learned_slots
        ):
            self.learned_slots, self._slots_at = running, now

    def slower_by(self, running: int) -> float:
        """Return how many times as long an answer takes among so many, itself included.

        What is learned and expected here is the time of an answer alone.
        """
        return _CROWDS[min(running, _CROWD_MAX)] if self.is_one_engine else 1.0

    def refresh(self, now: float) -> None:
        """Work out what is expected now."""
        if now < self.due:
            return
        self.begin_s, self.read_s = self._first.at(now), self._read.at(now)
        self.write_s, self.load_s = self._write.at(now), self._load.at(now)
        self.due = min(self._first.until, self._read.until, self._write.until, self._load.until)
        if self.learned_slots is not None:
            if now - self._slots_at >= SLOTS_KEPT_S:
                self.learned_slots, self._queued = None, [0] * (SLOTS_MAX + 1)
            else:
                self.due = min(self.due, self._slots_at + SLOTS_KEPT_S)
        if not (
            _is_slow(self.write_s, self._write.usual)
            or _is_slow(self.begin_s, self._first.usual)
            or _is_slow(self.read_s, self._read.usual)
        ):
            self.slow_since = None
        elif self.slow_since is None:
            self.slow_since = now

    def work_s(self, prompt: Prompt, *, is_home: bool = False) -> float | None:
        """Return how long an answer is expected to take; None while nothing is known. `refresh` comes first."""
        begin_s, read_s, write_s = self.begin_s, self.read_s, self.write_s
        if begin_s is None and read_s is None and write_s is None:
            return None
        work_s = begin_s or 0.0
        if read_s is not None and prompt.tokens:
            prompt_s = prompt.tokens * read_s * (1.0 - CACHED_SHARE if is_home else 1.0)
            work_s = max(work_s, prompt_s)
        if write_s is not None:
            most = prompt.answer_tokens
            answer = self._answer
            work_s += write_s * (most if 0 < most < answer else answer)
        return work_s

    def usual_s(self, prompt: Prompt) -> float | None:
        """Return how long it usually takes; None while that is not known."""
        begin_s, read_s, write_s = self._first.usual, self._read.usual, self._write.usual
        if begin_s is None and read_s is None and write_s is None:
            return None
        most = prompt.answer_tokens
        answer = most if 0 < most < self._answer else self._answer
        return max(begin_s or 0.0, prompt.tokens * (read_s or 0.0)) + answer * (write_s or 0.0)

    def kept(self) -> Kept:
        """Return what is worth keeping over a restart."""
        return Kept(
            self._first.usual, self._read.usual, self._write.usual, self._load.usual, round(self._answer, 1)
        )

    def _expected_s(self, prompt: int, answer: int) -> float:
        begin_s = max(self.begin_s or 0.0, prompt * (self.read_s or 0.0))
        return begin_s + answer * (self.write_s or 0.0)


def _is_slow(value: float | None, usual: float | None) -> bool:
    return value is not None and usual is not None and value > SLOW * usual
