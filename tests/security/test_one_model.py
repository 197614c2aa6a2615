"""Whoever reads what goes on to a backend finds in it the model that was judged, and no other one.

Servers read the same bytes differently: the first of two equal keys or the last, Go's without regard to case, C's up
to a NUL, some without what is no letter. Each such reader looks at what is sent, for every protocol, for the owner
with a bound on how far a prompt may travel, and for a peer who may use one model.
"""

import asyncio
import email
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gateway.rig import Rig
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.errors import BadRequest
from meshlight.domain.health import Answered
from meshlight.domain.operations import GEMINI_OPERATIONS, OLLAMA_OPERATIONS, OPERATIONS, Operation
from meshlight.domain.peers import Peer, may_use
from meshlight.domain.routing import rank
from meshlight.domain.rules import Routing, Rule
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.attempt import UpstreamRequest, build_upstream_request
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.request import GUEST, InferenceRequest
from meshlight.gateway.inference.sinks import Sink
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.server.asgi import Message, Scope
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.server.request_cycle import OFFER
from meshlight.gateway.translation.table import is_reachable

ANNA = Peer(
    id="a", name="Anna", url="", share_rings=("machine", "cloud", "lan", "company"), share_models=("small",)
)
WHERE: dict[Kind, str] = {"llamacpp": "machine", "ollama": "lan", "openai": "cloud", "gemini": "cloud"}
MARK = b"x7MA4YWxkTrZu0gW"
FORM = b"multipart/form-data; boundary=" + MARK
ALL_OPERATIONS: tuple[Operation, ...] = (*OPERATIONS, *OLLAMA_OPERATIONS, *GEMINI_OPERATIONS)


class Noting:
    """A relay that notes what it is asked."""

    def __init__(self) -> None:
        self.requests: list[InferenceRequest] = []

    async def run(
        self,
        inbound: InferenceRequest,
        sink: Sink,
        disconnect: DisconnectListeners,  # noqa: ARG002 - the relay's own
        begun: Begun | None = None,  # noqa: ARG002 - the relay's own
    ) -> None:
        self.requests.append(inbound)
        await sink.start(200, [])
        await sink.end(b"")


def mesh() -> Rig:
    """Four backends with both models; `big` may not leave this machine, and has the alias `large`."""
    aliases = {"fast": "small", "large": "big"}
    rules = (Rule(model="big", bound="machine"), Rule(model="*", spill="cloud"))
    rig = Rig(Routing(policy="priority", aliases=aliases, rules=rules))
    for place, (kind, ring) in enumerate(WHERE.items()):
        url = f"http://127.0.0.1:{9000 + place}"
        rig.registry.put(Backend(id=kind, name=kind, kind=kind, ring=ring, url=url))  # type: ignore[arg-type]
        rig.registry.record_fact(kind, Answered(0.01), ("small", "big"))
    return rig


RIG = mesh()
"""Only read: what is decided about a request changes nothing in it."""


async def judged(
    path: str, body: bytes, content_type: bytes | None, guest: Peer | None, query: bytes = b""
) -> InferenceRequest | None:
    """Return the request as the relay gets it; None when it was refused."""
    relay = Noting()
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [] if content_type is None else [(b"content-type", content_type)],
        "extensions": {DISCONNECT: DisconnectListeners(), OFFER: lambda _: False}
        | ({} if guest is None else {GUEST: guest}),
    }
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await Inference(relay, ModelCatalog(RIG.registry, 7), Ollama(RIG.registry, 7, "1.0"))(
        scope, receive, send
    )
    assert statuses[0] in {200, 400, 404, 415}
    return relay.requests[0] if relay.requests else None


def sent(inbound: InferenceRequest) -> Iterator[tuple[Backend, str, UpstreamRequest]]:
    """Give what would go to each backend that may have this request, and the model that was judged."""
    snapshot: Snapshot = RIG.registry.snapshot
    guest = inbound.guest

    def allowed(backend: Backend, model: str) -> bool:
        return guest is None or may_use(guest, backend, model)

    for score in rank(snapshot, inbound.head.model, {}, 0.0, 0, allowed).candidates:
        backend = snapshot.nodes[score.backend].backend
        if not is_reachable(inbound.operation, KINDS[backend.kind]):
            continue
        link = RIG.links.put(backend)
        link.set_secret("sk")
        try:
            upstream_request = build_upstream_request(
                inbound, score.model, link, None, "n", translated=not link.kind.speaks(inbound.operation)
            )
        except BadRequest:
            continue
        if isinstance(upstream_request, UpstreamRequest):
            yield backend, score.model, upstream_request


class Pairs(list[tuple[str, Any]]):
    """An object as it stands, with every key."""


Reader = Callable[[Pairs, str], list[Any]]


def _first(pairs: Pairs, name: str) -> list[Any]:
    return [value for key, value in pairs if key == name][:1]


def _last(pairs: Pairs, name: str) -> list[Any]:
    return [value for key, value in pairs if key == name][-1:]


def _go(pairs: Pairs, name: str) -> list[Any]:
    def folded(key: str) -> str:
        return key.replace("\u212a", "k").replace("\u017f", "s").lower()

    return [value for key, value in pairs if folded(key) == name.lower()][-1:]


def _c(pairs: Pairs, name: str) -> list[Any]:
    return [value for key, value in pairs if key.partition("\0")[0].lower() == name.lower()][:1]


def _lax(pairs: Pairs, name: str) -> list[Any]:
    return [value for key, value in pairs if re.sub(r"[\W_]", "", key.lower()) == name.lower()]


READERS: tuple[Reader, ...] = (_first, _last, _go, _c, _lax)


def models_in(upstream_request: UpstreamRequest, operation: Operation) -> set[object]:
    """Return every model that one of the readers finds in what is sent."""
    kinds = [value for name, value in upstream_request.headers if name == b"content-type"]
    assert len(kinds) == 1
    if kinds[0].startswith(b"multipart/"):
        return form_models(upstream_request.body, kinds[0])
    assert kinds == [b"application/json"]
    top = json.loads(upstream_request.body.decode("utf-8", "replace"), object_pairs_hook=Pairs)
    found: set[object] = set()
    for read in READERS:
        objects = [top]
        if operation.startswith("gemini/"):
            for name in ("generateContentRequest", "generate_content_request"):
                objects += [value for value in read(top, name) if isinstance(value, Pairs)]
            for requests in read(top, "requests"):
                objects += [value for value in requests if isinstance(value, Pairs)]
        for pairs in objects:
            found |= {str(model).removeprefix("models/") for model in read(pairs, "model")}
    return found


def form_models(body: bytes, content_type: bytes) -> set[object]:
    message = email.message_from_bytes(b"content-type: " + content_type + b"\r\n\r\n" + body)
    found: set[object] = set()
    for part in message.get_payload():
        assert isinstance(part, email.message.Message)
        name = str(part.get_param("name", header="content-disposition"))
        if re.sub(r"[\W_]", "", name.lower()) == "model":
            found.add(str(part.get_payload()))
    for part in re.split(rb"\r?\n?--" + MARK, body):  # as those do who end a line with a line feed
        head, _, value = part.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
        if re.search(
            rb"(?<![a-z])name\s*\*?\d*\*?=\s*(?:utf-8'')?\"?\s*model\W", head + b"\n", re.IGNORECASE
        ):
            found.add(value.decode("utf-8", "replace"))
    return found


@st.composite
def key(draw: st.DrawFn) -> str:
    """Write `model`, or something near to it, as a JSON string."""
    letters: list[str] = []
    for letter in draw(
        st.sampled_from(["model"] * 6 + ["x", "requests", "stream", "generateContentRequest"])
    ):
        form = draw(st.integers(0, 40))
        letters.append(
            {
                0: letter.upper(),
                1: f"\\u{ord(letter):04x}",
                2: f"\\u{ord(letter.upper()):04X}",
                3: letter + "_",
                4: letter + "\\u0000",
                5: letter + "\\u200b",
                6: "\\u017f" if letter == "s" else letter,
                7: letter + " ",
                8: letter + "\\ud83d",
            }.get(form, letter)
        )
    return '"' + "".join(letters) + '"'


VALUE = st.sampled_from(
    ["small", "small", "big", "fast", "large", "models/small", "models/big", "llamacpp/small", "ollama/big"]
).map(json.dumps)
ANY_VALUE = VALUE | st.sampled_from(
    [
        "null",
        "7",
        "{}",
        "[]",
        "NaN",
        '"\\ud83d"',
        '[{"model":"big"}]',
        '{"model":"big"}',
        '[{"model":"small"}]',
    ]
)
PLAIN = '"messages":[{"role":"user","content":"hi"}],"prompt":"x","input":"x","max_tokens":9'


@st.composite
def json_body(draw: st.DrawFn) -> bytes:
    entries = draw(st.lists(st.tuples(key(), ANY_VALUE), max_size=2))
    if draw(st.integers(0, 4)):
        entries.insert(draw(st.integers(0, len(entries))), ('"model"', draw(VALUE)))
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    written = [f"{name}{space}:{space}{value}" for name, value in entries]
    if draw(st.booleans()):
        written.insert(draw(st.integers(0, len(written))), PLAIN)
    return ("{" + f"{space},{space}".join(written) + "}").encode()


@st.composite
def form_body(draw: st.DrawFn) -> bytes:
    head = st.sampled_from(
        [
            *[b'Content-Disposition: form-data; name="model"'] * 6,
            b'Content-Disposition: form-data; name="Model"',
            b"Content-Disposition: form-data; name=model",
            b"Content-Disposition: form-data; name*=utf-8''model",
            b'Content-Disposition: form-data; name="x"; name="model"',
            b'content-disposition: FORM-DATA;name="model";filename="m"',
            b'Content-Disposition: form-data; name="file"; filename="model"',
            b'Content-Disposition: form-data; name="prompt"',
        ]
    )
    value = st.sampled_from(
        [b"small", b"small", b"fast", b"big", b'\n--%b\nname="model"\n\nbig' % MARK, b"\0\xff"]
    )
    parts = draw(st.lists(st.tuples(head, value), min_size=1, max_size=3))
    end = draw(st.sampled_from([b"\r\n"] * 5 + [b"\n"]))
    written = b"".join(b"--" + MARK + end + name + end * 2 + content + end for name, content in parts)
    return written + b"--" + MARK + b"--" + end


OTHER_TYPES = st.sampled_from(
    [
        None,
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=utf-16",
        b"application/json",
        FORM,
        FORM + b"; boundary=other",
        b"multipart/mixed; boundary=" + MARK,
    ]
)
FORM_OPERATIONS = st.sampled_from(
    ["audio/transcriptions", "audio/translations", "images/edits", "images/variations"]
)
OPERATION = st.sampled_from(ALL_OPERATIONS)

REQUESTS = (
    st.tuples(OPERATION, json_body(), st.just(b"application/json"))
    | st.tuples(OPERATION, json_body(), OTHER_TYPES)
    | st.tuples(FORM_OPERATIONS, form_body(), st.just(FORM))
    | st.tuples(OPERATION, form_body(), OTHER_TYPES)
)


def path_of(operation: Operation, model: str) -> str:
    if operation.startswith("gemini/"):
        return f"/v1beta/models/{model}:{operation.removeprefix('gemini/')}"
    return f"/{operation}" if operation.startswith("api/") else f"/v1/{operation}"


@pytest.mark.parametrize("guest", [None, ANNA], ids=["owner", "peer"])
@settings(max_examples=400)
@given(request=REQUESTS, named=st.sampled_from(["small", "big", "fast"]))
def test_every_reader_finds_the_model_that_was_judged(
    guest: Peer | None, request: tuple[Operation, bytes, bytes | None], named: str
) -> None:
    operation, body, content_type = request
    inbound = asyncio.run(judged(path_of(operation, named), body, content_type, guest, b"model=big&alt=sse"))
    if inbound is None:
        event("refused")
        return
    for backend, model, upstream_request in sent(inbound):
        event(f"sent, {'translated' if upstream_request.translator else 'as it is'}")
        assert model in {"small", "big"}
        assert guest is None or model == "small"
        assert model == "small" or backend.ring == "machine"
        path, _, query = upstream_request.target.partition("?")
        assert "model" not in query
        assert guest is None or query in {"", "alt=sse"}
        if operation.startswith("gemini/"):
            assert unquote(path).partition("/models/")[2].rpartition(":")[0] == model
            assert models_in(upstream_request, operation) <= {model}
        else:
            assert models_in(upstream_request, operation) == {model}


@pytest.mark.parametrize("guest", [None, ANNA], ids=["owner", "peer"])
@pytest.mark.parametrize("operation", ALL_OPERATIONS)
def test_an_ordinary_request_goes_to_each_backend_that_may_have_it(
    operation: Operation, guest: Peer | None
) -> None:
    body = b'{"model":"fast",' + PLAIN.encode() + b"}"
    if operation.startswith("gemini/"):
        batch = b'"requests":[{"model":"models/fast"},{}]'
        body = b'{"model":"models/fast",' + batch + b',"generate_content_request":{"model":"fast"}}'
    if operation.startswith("api/"):
        body = b'{"model":"fast","messages":[{"role":"user","content":"hi"}]}'
    inbound = asyncio.run(judged(path_of(operation, "fast"), body, b"application/json", guest))
    assert inbound is not None
    going = list(sent(inbound))
    assert going or operation in {"images/variations", "gemini/countTokens"}
    for _, model, upstream_request in going:
        assert model == "small"
        assert models_in(upstream_request, operation) == {"small"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"requests":[{"model":"models/small"},{"model":"models/big"}]}',
        b'{"generateContentRequest":{"model":"models/big"}}',
        b'{"generateContentRequest":{"model":"models/small"},"generate_content_request":{}}',
        b'{"GenerateContentRequest":{"model":"models/big"}}',
        b'{"model":"big"}',
        b'{"Model":"models/small"}',
        b'{"requests":[{"model":"models/small","Model":"x"}]}',
        b'{"requests":[' + b",".join([b"{}"] * 1_001) + b"]}",
        b'{"requests":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":7}',
        b"[]",
        b"",
    ],
)
def test_a_body_of_geminis_that_names_another_model_than_its_path_is_refused(body: bytes) -> None:
    for verb in ("batchEmbedContents", "countTokens", "embedContent"):
        request = judged(f"/v1beta/models/small:{verb}", body, b"application/json", None)
        assert asyncio.run(request) is None
