"""Each failure names its cause and its fix; the errors are those that the upstream really raises."""

import asyncio
import socket

import pytest

from backends.playback import PAGE, Playback, answer, backend, probe, probe_answer
from meshlight.backends.diagnostics import for_new, not_this_kind, reason
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Reason
from meshlight.domain.errors import ConnectCause, ConnectError, RemoteProtocolError, UpstreamError
from meshlight.domain.health import Failed, Limited, Loading, Refused

OLLAMA, LLAMACPP, ANY = KINDS["ollama"], KINDS["llamacpp"], KINDS["openai-compatible"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def why(url: str, kind: str = "openai-compatible", secret: str | None = None) -> Reason:
    probed = await probe(KINDS[kind], url, secret)  # type: ignore[index]
    assert isinstance(probed.fact, Failed)
    return probed.fact.reason


async def test_nobody_listens_there() -> None:
    port = free_port()
    found = await why(f"http://127.0.0.1:{port}", "ollama")
    assert found == Reason(
        "refused",
        f"Connection refused at 127.0.0.1:{port} — is Ollama running?",
        "Start Ollama (`ollama serve`), or remove this backend.",
    )
    assert "is the server running?" in (await why(f"http://127.0.0.1:{port}")).text


async def test_the_name_does_not_exist() -> None:
    found = await why("http://no-such-host.invalid:8080")
    assert found.code == "name-not-found"
    assert "no-such-host.invalid" in found.text
    assert "spelling" in found.fix


@pytest.mark.parametrize(
    ("cause", "text", "fix"),
    [
        ("name", "api.openai.com can't be resolved.", "No network?"),
        ("refused", "Connection refused at api.openai.com:443.", "No network?"),
        ("timeout", "No connection to api.openai.com:443 within 10 s.", "No network?"),
        ("unreachable", "api.openai.com:443 can't be reached: no route to that network.", "No network?"),
        (
            "tls",
            "No TLS with api.openai.com:443: its certificate is for another host name.",
            "Something in between",
        ),
        (
            "tls",
            "No TLS with api.openai.com:443: its certificate has expired.",
            "Correct this machine's clock.",
        ),
        ("tls", "The CA file /x.pem can't be read: No such file.", "Check the path of the CA file"),
        ("proxy", "The proxy p:1 refuses.", "What to do there."),
    ],
)
def test_the_address_of_a_known_cloud_is_never_called_wrong(cause: ConnectCause, text: str, fix: str) -> None:
    error = ConnectError(cause, text, "What to do there.")
    found = reason(error, backend(KINDS["openai"], "https://api.openai.com"), "OpenAI")
    assert found.text == text
    assert found.fix.startswith(fix)
    own = reason(error, backend(KINDS["openai"], "https://gateway.example"), "OpenAI")
    assert own.code == found.code
    assert "No network?" not in own.fix


async def test_an_address_that_may_not_be_spoken_to() -> None:
    found = await why("http://169.254.169.254")
    assert found.code == "forbidden-address"
    assert "169.254.169.254" in found.text


async def test_it_takes_the_connection_and_closes_it() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    found = await why(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "llamacpp")
    server.close()
    assert found.code == "connection-lost"
    assert "llama.cpp may have crashed" in found.fix


async def test_it_speaks_something_else_than_http() -> None:
    async with Playback({"*": b"SSH-2.0-OpenSSH_9.6\r\n\r\n"}) as server:
        found = await why(server.url)
    assert found.code == "bad-reply"
    assert "https://" in found.fix


async def test_https_is_asked_of_a_server_that_speaks_http() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    found = await why(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    assert found.code == "tls"
    assert found.fix == "Write http:// instead of https:// in the URL, or check the port."


@pytest.mark.parametrize(
    ("title", "fix"),
    [
        ("No TLS with h:1: its certificate has expired (or this machine's clock is wrong).", "Renew"),
        ("No TLS with h:1: its certificate is not valid yet (is a clock wrong?).", "clock"),
        ("No TLS with h:1: its certificate is self-signed.", "authority"),
        ("No TLS with h:1: its certificate is signed by an authority that is unknown.", "authority"),
        ("No TLS with h:1: its certificate is for another host name.", "name"),
        ("No TLS with h:1: it closed the connection during the handshake.", "proxy"),
        ("No TLS with h:1: something new.", "certificate"),
    ],
)
def test_each_flaw_of_a_certificate_has_its_own_fix(title: str, fix: str) -> None:
    found = reason(ConnectError("tls", title), backend(ANY, "https://h:1"), ANY.label)
    assert found.code == "tls"
    assert found.text == title
    assert fix in found.fix


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectError("timeout", "No connection to h:1 within 2 s."), "timed-out"),
        (ConnectError("unreachable", "h:1 can't be reached: no route to that network."), "unreachable"),
        (RemoteProtocolError("h:1 does not speak HTTP as it should.\r\n\x1b[2J"), "bad-reply"),
        (UpstreamError("odd"), "upstream"),
    ],
)
def test_what_the_network_does_is_told_with_a_fix(error: UpstreamError, code: str) -> None:
    found = reason(error, backend(ANY, "http://h:1"), ANY.label)
    assert found.code == code
    assert found.fix
    assert found.text.isprintable()


async def test_more_comes_than_a_list_can_be() -> None:
    async with Playback({"*": answer(b"x" * (9 << 20))}) as server:
        assert (await why(server.url)).code == "reply-too-large"


async def test_a_key_is_wanted_or_the_given_one_is_refused() -> None:
    reply = answer({"error": {"message": "Invalid API Key: sk-1234"}}, 401)
    without = await probe_answer(LLAMACPP, "/v1/models", reply)
    with_key = await probe_answer(LLAMACPP, "/v1/models", reply, "sk-1234")
    assert isinstance(without.fact, Refused)
    assert isinstance(with_key.fact, Refused)
    assert without.fact.reason.code == with_key.fact.reason.code == "unauthorized"
    assert "wants an API key" in without.fact.reason.text
    assert without.fact.reason.fix.startswith("Give it: `meshlight backends set ")
    assert for_new(without.fact.reason).fix == "Give its API key."
    assert "refuses the API key" in with_key.fact.reason.text
    assert for_new(with_key.fact.reason).fix.startswith("Copy the key once more")
    assert "sk-1234" not in str(with_key)


def test_what_is_not_listed_yet_is_never_said_to_be_removed() -> None:
    refused = Reason("refused", "Connection refused.", "Start it, or remove this backend.")
    assert for_new(refused).fix == "Start it."
    other = for_new(not_this_kind(backend(KINDS["vllm"], "http://127.0.0.1:1"), "vLLM"))
    given = Reason(
        "unauthorized", "It refuses.", "Give one from x.example: `meshlight backends set x --key`."
    )
    assert for_new(given).fix == "Give one from x.example."
    assert other.fix == "Check the port, or choose the kind of what is there."


async def test_the_key_is_good_but_may_not() -> None:
    probed = await probe_answer(ANY, "/v1/models", answer({"error": "sk-9 may not list"}, 403), "sk-9")
    assert isinstance(probed.fact, Refused)
    assert probed.fact.reason.code == "forbidden"
    assert probed.fact.reason.text.endswith("It says: *** may not list")


async def test_too_many_requests_wait_as_long_as_the_server_says() -> None:
    probed = await probe_answer(ANY, "/v1/models", answer({"error": "slow down"}, 429, Retry_After="7"))
    assert isinstance(probed.fact, Limited)
    assert probed.fact.reason.code == "rate-limited"
    assert probed.fact.retry_after_s == 7.0


async def test_it_is_still_loading() -> None:
    reply = answer({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)
    probed = await probe_answer(ANY, "/v1/models", reply)
    assert isinstance(probed.fact, Loading)
    assert probed.fact.reason.code == "loading"


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (PAGE, "not-an-api", "this is a web page, not an API"),
        (answer(b"<html>nope</html>", 404, Content_Type="text/html"), "not-an-api", "web page"),
        (answer({"hello": "world"}), "bad-reply", "not with a list of models"),
        (answer({"detail": "Not Found"}, 404), "v1-missing", "no list of models"),
        (answer(b"", 301, Location="https://h/v1/models"), "redirected", "https://h/v1/models"),
        (answer({"error": "out of memory"}, 500), "server-error", "out of memory"),
        (answer(b"<html>Bad gateway</html>", 502, Content_Type="text/html"), "server-error", "A proxy at"),
        (answer({"error": "queue is full"}, 503), "server-error", "queue is full"),
        (answer({"error": "what?"}, 400), "bad-reply", "answers 400"),
    ],
)
async def test_each_wrong_answer_is_told_apart(reply: bytes, code: str, words: str) -> None:
    probed = await probe_answer(ANY, "/v1/models", reply)
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.code == code
    assert words in probed.fact.reason.text
    assert probed.fact.reason.fix


async def test_a_url_that_goes_on_behind_the_version_says_where_to_end_it() -> None:
    async with Playback({}) as server:
        found = await why(f"{server.url}/v1/chat")
    assert found.code == "v1-doubled"
    assert found.fix.startswith("End the URL with /v1. ")
    assert found.fix.endswith("end it with /v1/chat/chat/completions.")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/inference", "/inference/models"),
        ("/v1/ACCOUNT/GATEWAY/compat", "/v1/ACCOUNT/GATEWAY/compat/models"),
        (
            "/openai/deployments/gpt?api-version=2024-10-21",
            "/openai/deployments/gpt/models?api-version=2024-10-21",
        ),
        ("/odd/chat/completions", "/odd/models"),
    ],
)
async def test_a_server_without_a_list_is_told_to_name_its_models(path: str, asked: str) -> None:
    async with Playback({}) as server:
        found = await why(f"{server.url}{path}")
        assert server.asked == [asked]
    assert found.code == "v1-missing"
    assert "name its models: `meshlight backends set" in found.fix
    assert "without" not in found.fix


async def test_a_path_that_v1_follows_says_how_to_write_one_that_it_does_not() -> None:
    async with Playback({}) as server:
        found = await why(f"{server.url}/llm")
        assert server.asked == ["/llm/v1/models"]
    assert found.fix.startswith("Try the URL without /llm.")
    assert found.fix.endswith("end it with /llm/chat/completions.")


async def test_a_url_with_a_path_too_much_says_so() -> None:
    async with Playback({}) as server:
        assert (await why(f"{server.url}/api", "ollama")).fix == "Try the URL without /api."
        assert server.asked == ["/api/api/tags"]


async def test_an_engine_gone_from_its_port_is_told_from_one_that_is_ill() -> None:
    async with Playback({}) as server:
        found = await why(server.url, "llamacpp")
    assert found.code == "not-this-kind"
    assert "Something else than llama.cpp answers" in found.text


async def test_what_a_server_says_is_short_and_harmless() -> None:
    probed = await probe_answer(ANY, "/v1/models", answer({"error": "\x1b[2J\r\n" + "A" * 5000}, 500))
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.text.isprintable()
    assert probed.fact.reason.text.count("A") <= 200
