"""The table of client apps is complete, and recognises their requests."""

from pathlib import Path

import pytest

from meshlight.domain.client_apps import APPS, apps_of, caller_name

SEEN = {
    b"claude-cli/2.1.197 (external, sdk-cli)": ["claude"],
    b"codex_exec/0.171.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.171.0)": ["codex"],
    b"opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14": ["opencode"],
    b"OpenAI/Python 2.20.0": ["aider", "langchain", "openai-python"],
    b"AsyncOpenAI/Python 2.20.0": ["aider", "langchain", "openai-python"],
    b"OpenAI/JS 6.1.0": ["continue", "openai-js"],
    b"ls/JS 5.23.2": ["continue", "openai-js"],
    b"Zed/1.2.0 (linux; x86_64)": ["zed"],
    b"curl/8.5.0": ["curl"],
    b"Python/3.11 aiohttp/3.12": ["open-webui"],
}


@pytest.mark.parametrize("user_agent", SEEN)
def test_requests_are_recognised_by_what_the_apps_really_send(user_agent: bytes) -> None:
    assert apps_of(user_agent) == SEEN[user_agent]


@pytest.mark.parametrize("user_agent", [b"", b"Mozilla/5.0", b"meshlight", b"\xff\xfe", b"x" * 100_000])
def test_others_are_nobody(user_agent: bytes) -> None:
    assert apps_of(user_agent) == []


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (b"claude-cli/2.1.197 (external, sdk-cli)", "Claude Code"),
        (b"OpenAI/Python 2.20.0", "OpenAI's Python client"),
        (b"ls/JS 5.23.2", "OpenAI's JavaScript client"),
        (b"tools/JS 5.23.2", "tools"),
        (b"Mozilla/5.0 (X11)", "Mozilla"),
        (b"my\x1b[31m app\x07/1", "my app"),
        (b"x" * 100_000, "x" * 40),
        (b"", ""),
    ],
)
def test_callers_are_called_as_in_the_table_or_by_their_own_word(user_agent: bytes, name: str) -> None:
    assert caller_name(user_agent, 40) == name


def test_each_row_says_where_its_facts_are_from_and_what_suits_it() -> None:
    for app in APPS.values():
        assert app.docs.startswith("https://"), app.id
        assert app.fits.endswith("."), app.id
        assert app.user_agents or app.unconfirmed, app.id
        assert bool(app.program) == bool(app.install), app.id


def test_a_shared_sign_is_said_to_be_one() -> None:
    for app in APPS.values():
        shared = any(
            set(app.user_agents) & set(other.user_agents) for other in APPS.values() if other is not app
        )
        assert not shared or app.shared_client, app.id


def test_the_documentation_has_every_row() -> None:
    text = (Path(__file__).parents[2] / "docs/apps.md").read_text(encoding="utf-8")
    for app in APPS.values():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {app.name} |"))
        assert app.docs in row
