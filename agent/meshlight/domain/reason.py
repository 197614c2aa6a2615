"""Why a backend is not healthy, in words for people, with the way to mend it."""

from msgspec import Struct


class Reason(Struct, frozen=True):
    """A code for programs, a sentence that names the cause, a sentence that names the fix."""

    code: str
    text: str
    fix: str = ""


OK = Reason("ok", "Answers as it should.")
NOT_CHECKED = Reason("not-checked", "Not checked yet.", "Wait a moment, or press Refresh.")
