"""Ollama's own client works on servers that speak OpenAI's API only."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import ollama
import pytest

from gateway.translation.messages_talk import EVENTS, JSON, chunk, completion, stream
from gateway.translation.test_ollama_embed import vectors
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.ollama_chat import translate_chat
from meshlight.gateway.translation.ollama_embed import translate_embed, translate_embeddings
from meshlight.gateway.translation.ollama_generate import translate_generate
from meshlight.gateway.translation.ollama_immediate import Immediate

CALL = {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5}
TURN = [{"role": "user", "content": "1 + 2?"}]
FACES: dict[str, Callable[..., Any]] = {
    "/api/chat": translate_chat,
    "/api/generate": translate_generate,
    "/api/embed": translate_embed,
    "/api/embeddings": translate_embeddings,
}


@pytest.fixture
def serve() -> Iterator[Callable[..., ollama.Client]]:
    """A server that translates, with an engine behind it that always says the same."""
    servers: list[ThreadingHTTPServer] = []

    def start(data: bytes, content_type: bytes = JSON, status: int = 200) -> ollama.Client:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                made = FACES[self.path](body, "tiny")
                self.send_response(status)
                if isinstance(made, Immediate):
                    self.send_header("content-type", made.content_type.decode())
                    self.end_headers()
                    self.wfile.write(made.body)
                    return
                way = made.back
                way.begin(content_type)
                self.send_header("content-type", way.content_type.decode())
                self.end_headers()
                if status != 200:
                    self.wfile.write(way.error(status, data))
                    return
                try:
                    for place in range(0, len(data), 7):
                        self.wfile.write(way.feed(data[place : place + 7]))
                    self.wfile.write(way.end())
                except Untranslated as fault:
                    self.wfile.write(way.broken(fault.title) or b"")

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return ollama.Client(f"http://127.0.0.1:{server.server_port}", trust_env=False)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Serve = Callable[..., ollama.Client]


def test_it_reads_an_answer(serve: Serve) -> None:
    message = {"reasoning": "Hm.", "content": "I add.", "tool_calls": [CALL]}
    client = serve(completion(message, "tool_calls", usage=USAGE))
    found = client.chat("tiny", TURN, options={"num_ctx": 4096, "temperature": 0}, keep_alive="5m")
    assert found.message.thinking == "Hm."
    assert found.message.content == "I add."
    assert found.message.tool_calls is not None
    assert found.message.tool_calls[0].function.arguments == {"a": 1}
    assert (found.done_reason, found.prompt_eval_count, found.eval_count) == ("stop", 12, 5)


def test_it_reads_a_stream_and_can_send_it_back(serve: Serve) -> None:
    data = stream(
        chunk({"reasoning_content": "Hm."}),
        *(chunk({"content": text}) for text in ("I ", "add. \U0001f600")),
        chunk({"tool_calls": [CALL]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": USAGE},
    )
    client = serve(data, EVENTS)
    found = list(client.chat("tiny", TURN, stream=True))
    assert "".join(part.message.content or "" for part in found) == "I add. \U0001f600"
    assert found[-1].done
    assert found[-1].eval_count == 5
    called = next(part.message for part in found if part.message.tool_calls)
    result = {"role": "tool", "tool_name": "add", "content": "3"}
    assert list(client.chat("tiny", [*TURN, called, result], stream=True))


def test_it_generates_and_loads(serve: Serve) -> None:
    client = serve(completion({"content": "3"}))
    assert client.generate("tiny", "1 + 2?", system="Be short.").response == "3"
    assert client.generate("tiny", "").done_reason == "load"


def test_it_embeds(serve: Serve) -> None:
    client = serve(vectors((0, [0.5, 1])))
    assert client.embed("tiny", "a").embeddings == [[0.5, 1]]
    assert client.embeddings("tiny", "a").embedding == [0.5, 1]


def test_it_raises_what_failed(serve: Serve) -> None:
    client = serve(b'{"detail":"No such model"}', status=404)
    with pytest.raises(ollama.ResponseError, match="No such model") as caught:
        client.chat("tiny", TURN)
    assert caught.value.status_code == 404


def test_it_raises_what_broke_in_mid_stream(serve: Serve) -> None:
    data = stream(chunk({"content": "I"}), done=False) + b'data: {"error":{"message":"slot lost"}}\n\n'
    with pytest.raises(ollama.ResponseError, match="slot lost"):
        list(serve(data, EVENTS).chat("tiny", TURN, stream=True))
