import io

import pytest
from rich.console import Console

from desktop.samples import scenario
from meshlight.cli.output.console import LIGHTS, OFF, STATES, TerminalStyle, glyph_of
from meshlight.cli.output.status import status_report


def test_no_two_states_share_shape_or_word() -> None:
    for signs in ([*STATES.values(), OFF], list(LIGHTS.values())):
        for look in ("shape", "plain", "word"):
            assert len({getattr(sign, look) for sign in signs}) == len(signs)


def test_a_backend_that_is_off_looks_off_whatever_its_health() -> None:
    off = scenario().backends[-1]
    assert off.health.state == "healthy"
    assert glyph_of(off) is OFF


@pytest.mark.parametrize(
    ("encoding", "starts"), [("utf-8", "▲ Amber"), ("ascii", "! Amber"), ("cp1252", "! Amber")]
)
def test_a_terminal_gets_the_shapes_that_it_can_show(encoding: str, starts: str) -> None:
    out = io.BytesIO()
    console = Console(file=io.TextIOWrapper(out, encoding, errors="replace", write_through=True), width=80)
    console.print(status_report(scenario(), "http://127.0.0.1:6374", TerminalStyle.of(console)))
    assert out.getvalue().decode(encoding).startswith(starts)


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    piped, shown = io.StringIO(), io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    for file, terminal in ((piped, False), (shown, True)):
        console = Console(file=file, width=80, force_terminal=terminal)
        console.print(status_report(scenario(), "http://127.0.0.1:6374", TerminalStyle.of(console)))
    assert "\x1b" not in piped.getvalue()
    assert "\x1b[31m✖ unhealthy\x1b[0m  Big box" in shown.getvalue()
