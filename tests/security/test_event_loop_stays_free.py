"""Whatever a stranger sends, everybody else is served: no callback holds the event loop, no body unfolds in memory.

A whole node runs in a thread of its own, its backend and its clients in others. What counts is the processor time
that the loop's own thread spends in one callback, so that a busy machine changes nothing.
"""

import pytest

from security.hostile import JSON, LIST, AttackedNode, grown, keys, many, named

GROWS = 4
BESIDE = 24 << 20
"""Bytes that a body may cost whatever its size: the most values that are read of one."""
MB = 1 << 20
SSE = b"text/event-stream"
OPERATIONS = [
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/api/embeddings",
]
TRANSLATED = OPERATIONS[3:]


@pytest.mark.parametrize("operation", [*OPERATIONS, "/api/show"])
@pytest.mark.parametrize("name", [b"/" * 50_000, b"a/" * 25_000, b"hostile/" * 6_000], ids=["/", "a/", "id/"])
def test_a_model_called_by_a_name_without_end_is_refused_at_once(
    operation: str, name: bytes, attacked_node: AttackedNode
) -> None:
    with attacked_node.free():
        status, body = attacked_node.ask(operation, named(name))
    assert status == 400
    assert b"640" in body
    assert len(body) < 1_000


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/" + "a/" * 7_000,
        "/mesh/route?model=" + "/" * 15_000,
        "/v1beta/models/" + "%2F" * 5_000 + ":generateContent",
        "/v1beta/models/" + "a/" * 7_000,
    ],
    ids=["a model", "a route", "Gemini's verb", "Gemini's model"],
)
def test_a_name_without_end_in_a_path_is_refused_at_once(path: str, attacked_node: AttackedNode) -> None:
    with attacked_node.free():
        status, body = attacked_node.ask(
            path, b"{}" if "generate" in path else None, "POST" if "generate" in path else "GET"
        )
    assert status == 400, body[:300]
    assert len(body) < 1_000


LIMIT = {True: b',"max_tokens":1', False: b""}
BODIES = {
    "small keys": b"," + keys(3 * MB),
    "empty lists": b',"metadata":[' + many(b"[]", 3 * MB) + b"]",
    "tiny messages": b',"messages":[' + many(b'{"role":"user","content":""}', 3 * MB) + b"]",
    "tiny texts": b',"input":[' + many(b'""', 3 * MB) + b'],"prompt":"a"',
    "tiny tools": b',"messages":[],"tools":[' + many(b"{}", 3 * MB) + b"]",
    "deep": b',"messages":' + b"[" * MB,
    "escapes": b',"messages":[{"role":"user","content":"' + b"\\n" * (3 * MB) + b'"}]',
    "halves": b',"messages":[{"role":"user","content":"' + b"\\ud83d" * 500_000 + b'"}]',
    "a long name": b',"' + b" - at `$." * 100_000 + b'":1',
    "a long word": b',"messages":[{"role":"' + b"' - at `$.type" * 70_000 + b'","content":"a"}]',
    "one text": b',"messages":[{"role":"user","content":"' + b"a" * (3 * MB) + b'"}],"input":"a"',
    "as many as are taken": b',"messages":[' + many(b'{"role":"user"}', 700_000) + b"]",
}


@pytest.mark.parametrize("shape", BODIES)
@pytest.mark.parametrize("operation", TRANSLATED)
def test_a_body_that_has_to_be_translated_holds_nobody_up(
    operation: str, shape: str, attacked_node: AttackedNode
) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = 200, JSON, b"{}"
    body = named(b"m", BODIES[shape] + LIMIT[operation.startswith("/v1/")])
    with attacked_node.free():
        status, answer = attacked_node.ask(operation, body)
    assert status in {200, 400, 413, 502}, answer[:300]
    assert len(answer) < 4_000


@pytest.mark.parametrize("shape", ["small keys", "tiny messages", "empty lists", "one text"])
@pytest.mark.parametrize("operation", OPERATIONS[:1])
def test_a_body_that_passes_holds_nobody_up(operation: str, shape: str, attacked_node: AttackedNode) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = 200, JSON, b"{}"
    with attacked_node.free():
        status = attacked_node.ask(operation, named(b"m", BODIES[shape]))[0]
    assert status == (400 if shape == "small keys" else 200)


@pytest.mark.parametrize("path", ["/mesh/backends", "/mesh/settings", "/mesh/peers/pairing", "/mesh/test"])
@pytest.mark.parametrize("shape", ["small keys", "empty lists", "deep", "a long name", "a long word"])
def test_a_body_for_control_holds_nobody_up(path: str, shape: str, attacked_node: AttackedNode) -> None:
    with attacked_node.free():
        status, answer = attacked_node.ask(path, named(b"m", BODIES[shape][:60_000]))
        attacked_node.ask(path, named(b"m", BODIES[shape][:60_000]), "PATCH")
    assert 400 <= status < 500
    assert len(answer) < 4_000


EDITS = {
    "aliases": b'{"routing":{"aliases":{%b}}}' % b",".join(b'"a%d":"m"' % number for number in range(4_000)),
    "rules": b'{"routing":{"rules":[' + many(b'{"model":"m","bound":"lan"}', 60_000) + b"]}}",
    "other rules": b'{"routing":{"rules":[%b]}}'
    % b",".join(b'{"model":"m%d"}' % number for number in range(3_000)),
    "pins": b'{"routing":{"rules":[{"model":"m","pin":[' + many(b'"a"', 60_000) + b"]}]}}",
    "addresses": b'{"discovery":{"ignored":[%b]}}'
    % b",".join(b'"http://127.0.0.1:%d"' % number for number in range(1, 2_500)),
    "a long alias": b'{"routing":{"aliases":{"' + b"/" * 60_000 + b'":"m"}}}',
}
NOTHING = b'{"routing":{"aliases":{},"rules":[]},"discovery":{"ignored":[]}}'


@pytest.mark.parametrize("shape", EDITS)
def test_an_edit_of_the_settings_holds_nobody_up(shape: str, attacked_node: AttackedNode) -> None:
    with attacked_node.free():
        status, answer = attacked_node.ask("/mesh/settings", EDITS[shape], "PATCH")
        assert status in {400, 409} or shape == "a long alias", answer[:300]
        assert b"at most 300 entries" in answer or "long" in shape
        attacked_node.ask("/v1/models", None, "GET")
        attacked_node.ask("/v1/chat/completions", named(b"nobody"))
        assert attacked_node.ask("/mesh/settings", NOTHING, "PATCH")[0] == 200


HEADS = {
    "a cookie": {"cookie": "a=b; " * 11_000},
    "nodes on the way": {"x-meshlight-via": "a," * 28_000},
    "names of the connection": {"connection": "a," * 28_000},
    "a key": {"x-api-key": "a" * 60_000},
    "a media type": {"content-type": "application/json;" + " a=b;" * 11_000},
    "many": {f"x-{number}": "a" for number in range(6_000)},
}


@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/mesh/settings"])
def test_a_head_holds_nobody_up(path: str, shape: str, attacked_node: AttackedNode) -> None:
    with attacked_node.free():
        attacked_node.ask(path, named(b"m"), headers=HEADS[shape])


def chunk(delta: bytes, ending: bytes = b"null") -> bytes:
    return b'{"id":"c","choices":[{"index":0,"delta":%b,"finish_reason":%b}]}' % (delta, ending)


def event(delta: bytes) -> bytes:
    return b"data: " + chunk(delta) + b"\n\n"


def call(number: int, arguments: bytes = b"{}") -> bytes:
    text = arguments.replace(b'"', b'\\"')
    return b'{"index":%d,"id":"c%d","function":{"name":"f","arguments":"%b"}}' % (number, number, text)


def calls(count: int) -> bytes:
    return b'{"tool_calls":[%b]}' % b",".join(call(number) for number in range(count))


DONE = b"data: " + chunk(b"{}", b'"stop"') + b"\n\ndata: [DONE]\n\n"
STREAMS = {
    "10,000 calls in one event": event(calls(10_000)) + DONE,
    "calls, one by one": b"".join(event(b'{"tool_calls":[%b]}' % call(n)) for n in range(5_000)) + DONE,
    "pieces of a thousand calls": event(calls(999))
    + b"".join(
        event(b'{"tool_calls":[{"index":%d,"function":{"arguments":" "}}]}' % (n % 999)) for n in range(9_000)
    ),
    "texts between pieces of a long call": event(b'{"tool_calls":[%b]}' % call(0, b'{"a":"' + b"}" * MB))
    + (event(b'{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}') + event(b'{"content":"a"}'))
    * 2_000,
    "texts and thoughts in turn": (event(b'{"content":"a"}') + event(b'{"reasoning":"b"}')) * 15_000 + DONE,
    "small events": event(b'{"content":"a"}') * 30_000 + DONE,
    "empty events": b"data:{}\n\n" * 200_000 + DONE,
    "comments": b":\n\n" * 400_000 + DONE,
    "empty lines": b"\n" * (4 * MB) + DONE,
    "lines of one event": b"data:\n" * 400_000 + b"\n" + DONE,
    "one event of empty lists": b'data: {"usage":[' + many(b"[]", 3 * MB) + b"]}\n\n" + DONE,
    "one event of small keys": b'data: {"error":{' + keys(3 * MB) + b"}}\n\n" + DONE,
    "one event of parts": event(b'{"content":[' + many(b'{"type":"text","text":"a"}', 3 * MB) + b"]}") + DONE,
    "one long text": event(b'{"content":"' + b"a\\n" * (3 * MB) + b'"}') + DONE,
    "a long id": b'data: {"id":"' + b"-!" * (2 * MB) + b'","choices":[{"index":0,"delta":{}}]}\n\n' + DONE,
    "halves": event(b'{"content":"' + b"\\ud83d" * 500_000 + b'"}') + DONE,
    "more than an event": b"data: " + b"a" * (17 * MB),
}
"""Answers of chat completions, as streams."""
ASKS = {
    ("/v1/messages", True): b',"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"a"}]',
    ("/v1/messages", False): b',"max_tokens":9,"messages":[{"role":"user","content":"a"}]',
    ("/api/chat", True): b',"messages":[{"role":"user","content":"a"}]',
    ("/api/chat", False): b',"stream":false,"messages":[{"role":"user","content":"a"}]',
}


@pytest.mark.parametrize("shape", STREAMS)
@pytest.mark.parametrize(("operation", "is_stream"), ASKS)
def test_a_stream_that_has_to_be_translated_holds_nobody_up(
    operation: str, is_stream: bool, shape: str, attacked_node: AttackedNode
) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = (
        200,
        SSE,
        STREAMS[shape],
    )
    with attacked_node.free():
        attacked_node.ask(operation, named(b"m", ASKS[operation, is_stream]))


@pytest.mark.parametrize("operation", ["/v1/messages", "/api/chat", "/v1/chat/completions"])
def test_an_answer_in_chunks_of_one_byte_holds_nobody_up(operation: str, attacked_node: AttackedNode) -> None:
    attacked_node.backend.status, attacked_node.backend.media = 200, SSE
    attacked_node.backend.body, attacked_node.backend.chunks = (
        STREAMS["small events"][:300_000] + b"\n\n" + DONE,
        True,
    )
    try:
        with attacked_node.free():
            status, body = attacked_node.ask(operation, named(b"m", ASKS.get((operation, True), b"")))
    finally:
        attacked_node.backend.chunks = False
    assert status == 200
    assert b"aa" in body or body.count(b'"a"') > 1_000


def whole(message: bytes) -> bytes:
    return b'{"id":"c","choices":[{"index":0,"message":%b,"finish_reason":"stop"}]}' % message


WHOLES = {
    "10,000 calls": whole(calls(10_000)),
    "many choices": b'{"choices":[' + many(b'{"index":1}', 3 * MB) + b"]}",
    "empty lists": b'{"usage":[' + many(b"[]", 3 * MB) + b"]}",
    "chances": whole(b'{"content":"a"}')[:-3] + b',"logprobs":{"content":[' + many(b"{}", 3 * MB) + b"]}}]}",
    "a long text": whole(b'{"content":"' + b'\\"' * (4 * MB) + b'"}'),
    "no vectors": b'{"data":[' + many(b"{}", 3 * MB) + b"]}",
    "a vector of small numbers": b'{"data":[{"embedding":[' + many(b"0", 12 * MB) + b'],"index":0}]}',
    "a vector in base64": b'{"data":[{"embedding":"' + b"AAAA" * (2 * MB) + b'","index":0}]}',
    "deep": b"[" * (2 * MB),
}
WHOLE_ASKS = {
    "/v1/messages": ASKS["/v1/messages", False],
    "/v1/messages/count_tokens": b',"messages":[{"role":"user","content":"a"}]',
    "/api/chat": ASKS["/api/chat", False],
    "/api/generate": b',"stream":false,"prompt":"a"',
    "/api/embed": b',"input":"a"',
}


@pytest.mark.parametrize("shape", WHOLES)
@pytest.mark.parametrize("operation", WHOLE_ASKS)
def test_a_whole_answer_that_has_to_be_translated_holds_nobody_up(
    operation: str, shape: str, attacked_node: AttackedNode
) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = (
        200,
        JSON,
        WHOLES[shape],
    )
    with attacked_node.free():
        attacked_node.ask(operation, named(b"m", WHOLE_ASKS[operation]))


ERRORS = {
    "a word": b"a" * 60_000,
    "a long page": b"<html>" + b"[" * 900_000,
    "a message": b'{"error":{"message":"' + b"a." * 450_000 + b'"}}',
    "details": b'{"detail":[' + many(b'{"msg":"a","loc":["b"]}', 60_000) + b"]}",
    "addresses": b"http://" * 100_000,
    "empty lists": b'{"error":[' + many(b"[]", 900_000) + b"]}",
}


@pytest.mark.parametrize("shape", ERRORS)
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_long_error_holds_nobody_up(status: int, shape: str, attacked_node: AttackedNode) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = (
        status,
        JSON,
        ERRORS[shape],
    )
    with attacked_node.free():
        attacked_node.ask("/v1/messages", named(b"m", ASKS["/v1/messages", True]))
        attacked_node.ask("/v1/chat/completions", named(b"m"))
        attacked_node.backend.status = 200
        attacked_node.backend.list = LIST


LISTS = {
    "empty items": b'{"object":"list","data":[' + many(b"{}", 3 * MB) + b"]}",
    "many models": b'{"object":"list","data":[%b]}'
    % b",".join(b'{"id":"m%d","object":"model","owned_by":"x"}' % number for number in range(60_000)),
    "long names": b'{"object":"list","data":[' + many(b'{"id":"%b"}' % (b"/" * 3_000), 3 * MB) + b"]}",
    "small keys": b'{"object":"list","data":[{"id":"m",' + keys(3 * MB) + b"}]}",
    "deep": b'{"data":' + b"[" * (2 * MB),
}


@pytest.mark.parametrize("shape", LISTS)
def test_a_list_of_models_holds_nobody_up(shape: str, attacked_node: AttackedNode) -> None:
    attacked_node.backend.list = LISTS[shape]
    try:
        with attacked_node.free():
            assert attacked_node.ask("/mesh/refresh?wait=true", b"{}")[0] < 500
            attacked_node.ask("/v1/chat/completions", named(b"m1" * 200))
            attacked_node.ask("/v1/models", None, "GET")
            attacked_node.ask("/v1/models", None, "GET", {"anthropic-version": "2023-06-01"})
            attacked_node.ask("/v1beta/models", None, "GET")
            attacked_node.ask("/api/tags", None, "GET")
            attacked_node.ask("/api/ps", None, "GET")
    finally:
        attacked_node.backend.list = LIST
        attacked_node.ask("/mesh/refresh?wait=true", b"{}")


@pytest.mark.parametrize("shape", ["empty lists", "as many as are taken", "one text", "escapes"])
@pytest.mark.parametrize("operation", ["/v1/messages", "/api/chat"])
def test_a_body_costs_no_more_memory_than_four_times_its_size(
    operation: str, shape: str, attacked_node: AttackedNode
) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = 200, JSON, b"{}"
    body = named(b"m", BODIES[shape] + LIMIT[operation.startswith("/v1/")])
    assert grown(attacked_node, operation, body) <= GROWS * len(body) + BESIDE


@pytest.mark.parametrize("shape", ["10,000 calls", "empty lists", "chances", "a long text"])
def test_an_answer_costs_no_more_memory_than_four_times_its_size(
    shape: str, attacked_node: AttackedNode
) -> None:
    attacked_node.backend.status, attacked_node.backend.media, attacked_node.backend.body = (
        200,
        JSON,
        WHOLES[shape],
    )
    for operation in ("/v1/messages", "/api/chat"):
        peak = grown(attacked_node, operation, named(b"m", WHOLE_ASKS[operation]))
        assert peak <= GROWS * len(WHOLES[shape]) + BESIDE
