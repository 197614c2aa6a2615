import json
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from api_client.local_api import LocalApi
from cli.terminal import WAIT_S, Terminal
from desktop.samples import backend, mesh
from meshlight.cli.chat import INPUT_MAX
from meshlight.desktop.system.process import program
from meshlight.domain.api_types import RouteExplanation
from meshlight.domain.backend import ModelDetail
from servers.api_server import Answer, Request

Type = Callable[..., Any]
CHAT = ("POST", "/v1/chat/completions")
ESCAPES = ("\x1b", "]0;owned\x07\x1b[2", "Jsafe\x9b31m \u202etxt\x00\x08!", "\n\tkept")


def stream(*texts: str, thoughts: Iterable[str] = (), ends: bool = True) -> Iterator[bytes]:
    """Yield an answer as a model streams it."""
    deltas = [{"reasoning_content": text} for text in thoughts] + [{"content": text} for text in texts]
    for delta in deltas:
        yield b"data: " + msgspec.json.encode({"choices": [{"delta": delta}]}) + b"\n\n"
    if ends:
        yield b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
        yield b'data: {"choices":[],"usage":{"completion_tokens":7}}\n\ndata: [DONE]\n\n'


def answers(api: LocalApi, *bodies: Iterable[bytes], **told: str) -> None:
    """Let models give these answers, one after the other."""
    waiting = list(bodies)
    headers = {"x-meshlight-backend": "a", **{f"x-meshlight-{name}": text for name, text in told.items()}}

    def respond(_: Request) -> Answer:
        body = waiting.pop(0) if waiting else stream("Again.")
        return Answer(body, content_type="text/event-stream", headers=headers)

    api.routes[CHAT] = respond


def asked(api: LocalApi) -> list[Any]:
    """Return the bodies of all that models were asked."""
    return [request.body for request in api.asked if (request.method, request.path) == CHAT]


def run(home: Path, *words: str, given: str = "") -> "subprocess.CompletedProcess[bytes]":
    """Run a word with pipes for its three streams."""
    environ = {"MESHLIGHT_HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        program("chat", *words),
        input=given.encode(),
        capture_output=True,
        timeout=WAIT_S,
        env=environ,
        check=False,
    )


@pytest.fixture
def service(api: LocalApi) -> LocalApi:
    """A service with three models, one of them for embeddings."""
    loaded = {"qwen3:4b": ModelDetail(loaded=True)}
    api.says(
        "GET",
        "/mesh/snapshot",
        mesh(
            backend("b", name="Far", ring="cloud", models=("gpt", "bge-m3")),
            backend("a", name="Ollama", details=loaded),
        ),
    )
    for model in ("qwen3:4b", "gpt"):
        explained = RouteExplanation(asked=model, model=model, policy="local-first", answers="a", routes=())
        api.says("GET", f"/mesh/route?model={model.replace(':', '%3A')}", explained)
    answers(api)
    return api


def test_one_question_prints_the_answer_alone_and_tells_the_rest_beside_it(
    service: LocalApi, type_words: Type
) -> None:
    answers(service, stream("It ", "scatters."), attempts="2", why="the first choice failed")
    said = type_words("chat", "qwen3:4b", "Why", "is it blue?", "--temperature", "0.5")
    assert (said.code, said.out) == (0, "It scatters.\n")
    for words in ("Ollama answered", "after 2 attempts", "the first choice failed", "7 tokens"):
        assert words in said.err
    (body,) = asked(service)
    assert (body["model"], body["temperature"], body["stream"]) == ("qwen3:4b", 0.5, True)
    assert body["messages"] == [{"role": "user", "content": "Why is it blue?"}]
    assert "max_tokens" not in body


def test_a_pipe_brings_the_question_or_what_it_is_about(service: LocalApi, tmp_path: Path) -> None:
    done = run(tmp_path, "qwen3:4b", "Review this.", given="a\nb\n")
    assert (done.returncode, done.stdout) == (0, b"Again.\n")
    assert b"Ollama answered" in done.stderr
    assert run(tmp_path, given="What is best?").stdout == b"Again.\n"
    assert [(b["model"], b["messages"][-1]["content"]) for b in asked(service)] == [
        ("qwen3:4b", "Review this.\n\na\nb"),
        ("qwen3:4b", "What is best?"),
    ]


def test_a_part_of_a_name_that_one_model_alone_has_stands_for_it(service: LocalApi, type_words: Type) -> None:
    for part in ("QWEN3", "zz"):
        service.fails("GET", f"/mesh/route?model={part}", 404, "model_not_found", "No such model.", "Look.")
    said = type_words("chat", "QWEN3", "Hello")
    assert (said.code, said.err.splitlines()[0]) == (0, "Asking qwen3:4b.")
    assert [body["model"] for body in asked(service)] == ["qwen3:4b"]
    said = type_words("chat", "zz", "Hello")
    assert (said.code, said.err.splitlines()) == (1, ["Error: No such model.", "Look."])


def test_an_empty_or_endless_input_is_refused_before_anything_is_asked(
    service: LocalApi, type_words: Type
) -> None:
    said = type_words("chat", "qwen3:4b")
    assert said.code == 1
    assert "There is no question" in said.err
    assert "over 8 MB" in type_words("chat", "qwen3:4b", given="x" * (INPUT_MAX + 1)).err
    assert asked(service) == []


def test_what_a_model_says_can_do_nothing_to_the_terminal(service: LocalApi, type_words: Type) -> None:
    answers(service, stream(*ESCAPES), backend="\x1b[31ma")
    said = type_words("chat", "qwen3:4b", "Hello")
    assert said.out == "safe txt!\n\tkept\n"
    assert "\x1b" not in said.err


def test_an_answer_that_breaks_off_or_is_refused_says_so_in_the_words_of_the_service(
    service: LocalApi, type_words: Type
) -> None:
    answers(service, stream("Half", ends=False), [b'data: {"error":{"message":"Ollama broke off."}}\n\n'])
    said = type_words("chat", "qwen3:4b", "Hello")
    assert (said.code, said.out) == (1, "Half\n")
    assert "broke off before its end" in said.err
    assert "Ollama broke off." in type_words("chat", "qwen3:4b", "Hello").err
    service.fails(*CHAT, 503, "every_route_down", "Every route is down.", "Start Ollama.")
    said = type_words("chat", "qwen3:4b", "Hello")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == ["Error: Every route is down.", "Start Ollama."]
    service.routes[CHAT] = Answer(b'{"error":{"message":"temperature is too high"}}', 400)
    assert "temperature is too high" in type_words("chat", "qwen3:4b", "Hello").err


def test_thoughts_are_shown_only_if_wanted_and_never_as_the_answer(
    service: LocalApi, type_words: Type
) -> None:
    for flags, shown in (((), False), (("--reasoning",), True)):
        answers(service, stream("<thi", "nk>More</th", "ink>\nYes.", thoughts=["Hm. "]))
        said = type_words("chat", "qwen3:4b", "Well?", *flags)
        assert said.out == "Yes.\n"
        assert ("Hm. More" in said.err) is shown


def test_a_conversation_chooses_a_model_goes_on_and_obeys_commands(service: LocalApi, tmp_path: Path) -> None:
    answers(service, stream("First."), stream("Second."), stream("Third."))
    with Terminal(tmp_path, "chat") as term:
        term.until("Number, or part of a name [1]: ")
        assert "1  qwen3:4b" in term.screen
        assert "bge-m3" not in term.screen
        term.type("gp")
        term.until("You ask gpt.")
        term.type("One?")
        term.until("Ollama answered")
        term.type("/system Be brief.")
        term.until("This is the system prompt now.")
        term.type("Two?")
        term.until("Second.")
        term.type("/help")
        term.until("/quit")
        term.type("/new")
        term.until("Forgotten.")
        term.type("/model qwen3:4b")
        term.until("You ask qwen3:4b now.")
        term.type("Three?")
        term.until("Third.")
        term.type("/quit")
        assert term.end() == 0
    one, two, three = asked(service)
    assert one["messages"] == [{"role": "user", "content": "One?"}]
    assert [m["content"] for m in two["messages"]] == ["Be brief.", "One?", "First.", "Two?"]
    assert (three["model"], [m["content"] for m in three["messages"]]) == (
        "qwen3:4b",
        ["Be brief.", "Three?"],
    )


def test_ctrl_c_ends_the_answer_and_where_none_is_coming_the_conversation(
    service: LocalApi, tmp_path: Path
) -> None:
    has_left = Event()

    def endless(request: Request) -> Answer:
        def body() -> Iterator[bytes]:
            yield from stream("Once upon", ends=False)
            while not request.has_gone():
                has_left.wait(0.05)
            has_left.set()

        return Answer(body(), content_type="text/event-stream", headers={"x-meshlight-backend": "a"})

    service.routes[CHAT] = endless
    with Terminal(tmp_path, "chat", "qwen3:4b") as term:
        term.until("> ")
        term.type("A tale?")
        term.until("Once upon")
        term.ctrl_c()
        term.until("Stopped.")
        assert has_left.wait(WAIT_S)
        answers(service)
        term.type("Go on")
        term.until("Again.")
        assert [m["content"] for m in asked(service)[1]["messages"]] == ["A tale?", "Once upon", "Go on"]
        term.until("tokens\n> ")  # with the prompt, which would look like what Ctrl-C has done
        term.ctrl_c()
        assert term.end() == 128 + signal.SIGINT


def test_an_unknown_model_is_refused_before_the_first_question_and_an_error_ends_no_conversation(
    service: LocalApi, tmp_path: Path
) -> None:
    service.fails("GET", "/mesh/route?model=nope", 404, "model_not_found", "No model is called nope.")
    service.fails(*CHAT, 503, "every_route_down", "Every route is down.")
    with Terminal(tmp_path, "chat", "nope") as term:
        assert term.end() == 1
        assert "No model is called nope." in term.screen
    with Terminal(tmp_path, "chat", "qwen3:4b") as term:
        term.type("Hello")
        term.until("Every route is down.")
        answers(service)
        term.type("/model nope")
        term.until("No model is called nope.")
        term.type("Hello again")
        term.until("Again.")
        term.type("\x04")
        term.until("\n")
        term.type("/quit")
        assert term.end() == 0
    assert [m["content"] for m in asked(service)[-1]["messages"]] == ["Hello again"]
    assert json.dumps(asked(service)).count("system") == 0
