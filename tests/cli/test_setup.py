"""The first run in a terminal."""

import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from api_client.local_api import LocalApi
from cli.terminal import Terminal
from desktop.samples import backend, mesh, scenario
from meshlight.domain.api_types import RefreshProgress
from meshlight.domain.local_views import LocalView
from meshlight.domain.welcome import WelcomeView
from process_fixture import Home

Type = Callable[..., Any]
KEY = "gsk_of-the-test"
FRESH = WelcomeView(done=(), is_over=False, login_asked=False, has_demo=False, providers=())


def test_from_nothing_to_an_answer_and_on_where_it_was_ended(home: Home) -> None:
    with Terminal(home.folder, "setup") as term:
        term.until("Which one")
        demo = re.search(r"(\d)  Just show me", term.screen)
        assert demo is not None
        term.type(demo[1])
        term.until("End the demo and choose something real?")
        term.type("n")
        term.until("Ask demo-chat-3b")
        term.ctrl_c()
        assert term.end() == 1
        assert "Go on with: meshlight setup" in term.screen
    with Terminal(home.folder, "setup") as term:
        term.until("End the demo and choose something real?")
        assert "Which one" not in term.screen
        term.type("n")
        term.until("Ask demo-chat-3b")
        term.type("Who are you?")
        term.until("3. Use it in your apps")
        term.until("Enter goes on")
        assert "This is a demo" in term.screen
        assert re.search(r"Demo .* answered · .*first token after", term.screen)
        assert f"http://127.0.0.1:{home.port}/v1" in term.screen
        term.until("Enter goes on")
        term.type("")
        assert term.end() == 0
    with Terminal(home.folder, "setup") as term:  # typed again when it is over, it begins again
        term.until("End the demo and choose something real?")
        term.type("y")
        term.until("Which one")
        assert "Nothing answers here yet." in term.screen
        term.type("0")
        assert term.end() == 0


def test_a_key_is_recognised_and_sent_after_a_yes(api: LocalApi) -> None:
    empty = replace(scenario(), backends=(), models=())
    added = backend("groq", name="Groq", models=("m1", "m2"))
    seen = [empty]
    api.says("GET", "/mesh/welcome", FRESH)
    api.says("GET", "/mesh/models", LocalView(enabled=False))
    api.says("GET", "/mesh/snapshot", lambda: seen[-1])
    api.says("POST", "/mesh/backends", added)

    def look() -> RefreshProgress:
        seen.append(mesh(added))  # what has come is in the mesh after a look, not before
        return RefreshProgress(id="r", done=1, total=1)

    api.says("POST", "/mesh/refresh?wait=true", look)
    with Terminal(api.home, "setup") as term:
        term.until("Which one")
        term.type("1")
        term.until("Paste the key")
        term.type(KEY)
        term.until("Send the key to api.groq.com, and nowhere else, to check it?")
        assert not any(request.method == "POST" for request in api.asked)
        term.type("y")
        term.until("Added Groq: 2 models.")
        term.until("Ask m1")
        assert KEY not in term.screen
    sent = [request.body for request in api.asked if request.path == "/mesh/backends"]
    assert sent == [
        {"kind": "openai-compatible", "url": "https://api.groq.com/openai/v1", "name": "Groq", "api_key": KEY}
    ]


def test_a_script_is_told_what_to_use(type_words: Type) -> None:
    said = type_words("setup")
    assert said.code == 1
    assert "meshlight backends add" in said.err
