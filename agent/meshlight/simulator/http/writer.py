"""Encodes a reply and sends it, framed as the engine does, and broken as the fault says."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus

import msgspec
from msgspec import Struct

from meshlight.simulator.faults import Fault, FaultKind
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.profile import EngineProfile
from meshlight.simulator.profiles import loading
from meshlight.simulator.protocols.text import Pace
from meshlight.simulator.request_log import LoggedRequest

MARK = ("x-demo", "meshlight")
"""A header of every answer, so that nobody mistakes the demo for a real engine."""
GARBAGE = b"\x16\x03\x01\x02\x00this is no HTTP\x00\xff\xfe\r\n\r\n"
WEB_PAGE = b"<!doctype html><html><head><title>Router login</title></head><body>demo web page</body></html>"
LENGTH_TOO_MUCH = 64
LENGTH_OF_STREAM = 1 << 20
BODY_CUTS: frozenset[FaultKind] = frozenset({"hang-body", "reset-body", "close-body"})

Put = Callable[[bytes], Awaitable[None]]


class Frame(Struct, frozen=True):
    """How the body is delimited, and whether the connection is kept."""

    length: int | None
    is_chunked: bool
    keeps: bool

    def piece(self, data: bytes) -> bytes:
        """Encode one piece of the body."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked and data else data


async def spoil(fault: Fault, connection: Connection) -> bool:
    """Apply a fault that prevents any answer; return False for a fault that does not."""
    match fault.kind:
        case "hang-headers":
            await _hang()
        case "reset-headers":
            connection.reset()
        case "close-early":
            connection.close()
        case "garbage":
            await connection.write(GARBAGE)
            connection.close()
        case _:
            return False
    return True


def phrase(status: int) -> str:
    """Return the reason phrase of a status; some clouds use statuses of their own (529)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def instead(fault: Fault) -> Reply | None:
    """Return the reply with which a fault replaces the real one; None if it does not."""
    match fault.kind:
        case "html":
            return Reply(body=WEB_PAGE, content_type="text/html; charset=utf-8")
        case "loading":
            return loading()
        case "status":
            wait = fault.retry_after_s
            headers = () if wait is None else (("retry-after", str(wait)),)
            return Reply(status=fault.status, headers=headers, body=_error(fault))
        case "error-event":
            event = b"event: error\ndata: %b\n\n" % _error(fault)
            return Reply(body=event, content_type="text/event-stream")
        case _:
            return None


def _error(fault: Fault) -> bytes:
    message = fault.message or f"demo fault: {phrase(fault.status)}"
    return msgspec.json.encode({"error": {"message": message, "type": "demo_fault", "code": fault.status}})


async def deliver(
    reply: Reply,
    logged: LoggedRequest,
    connection: Connection,
    profile: EngineProfile,
    *,
    fault: Fault | None = None,
    pace: Pace = asyncio.sleep,
) -> None:
    """Send a reply; raises ConnectionResetError when the client has disconnected."""
    logged.status = reply.status
    frame = _frame(reply, logged, profile, fault)
    head = _head(reply, profile, frame, fault)
    put = (
        _bytewise(connection, fault, pace)
        if fault and fault.kind in {"slow", "trickle"}
        else connection.write
    )
    if reply.stream is not None:
        async with aclosing(reply.stream) as stream:
            is_complete = await _pump(stream, head, put, frame, profile, fault)
    else:
        body = b"" if logged.method == "HEAD" else reply.body
        is_complete = fault is None or fault.kind not in BODY_CUTS
        if fault is not None and not is_complete:
            body = body[: len(body) // 2 if fault.after_bytes is None else fault.after_bytes]
        await put(head + frame.piece(body))
    if fault is not None and not is_complete:
        await _cut(fault, connection)
    elif not frame.keeps or (reply.stream is not None and profile.closes_after_stream):
        connection.close()


async def _pump(
    stream: AsyncGenerator[bytes, None],
    head: bytes,
    put: Put,
    frame: Frame,
    profile: EngineProfile,
    fault: Fault | None,
) -> bool:
    """Send a stream piece by piece; return False if a fault cuts it off."""
    is_cut = fault is not None and fault.kind in BODY_CUTS
    left = fault.after_bytes if fault is not None and is_cut else None
    pending = head
    if not profile.head_waits or left == 0:
        await put(head)
        pending = b""
    if left == 0:
        return False
    async for piece in stream:
        if is_cut and left is None:
            left = len(piece)
        await put(pending + frame.piece(piece if left is None else piece[:left]))
        pending = b""
        if left is not None:
            left = max(left - len(piece), 0)
            if left == 0:
                return False
    if is_cut:
        return False
    await put(pending + (b"0\r\n\r\n" if frame.is_chunked else b""))
    return True


async def _cut(fault: Fault, connection: Connection) -> None:
    match fault.kind:
        case "reset-body":
            connection.reset()
        case "close-body":
            connection.close()
        case _:
            await _hang()


async def _hang() -> None:
    """Wait forever; cancelled when the client disconnects or the engine stops."""
    await asyncio.get_running_loop().create_future()


def _bytewise(connection: Connection, fault: Fault, pace: Pace) -> Put:
    async def put(data: bytes) -> None:
        for byte in data:
            await connection.write(bytes((byte,)))
            await (pace(fault.delay_s) if fault.kind == "slow" else asyncio.sleep(0))

    return put


def _frame(reply: Reply, logged: LoggedRequest, profile: EngineProfile, fault: Fault | None) -> Frame:
    speaks_11 = profile.http == "1.1" and logged.version == "1.1"
    keeps = speaks_11 and logged.keep_alive and not (profile.closes_after_error and reply.status >= 400)
    if fault is not None and fault.kind == "wrong-length":
        length = LENGTH_OF_STREAM if reply.stream is not None else len(reply.body) + LENGTH_TOO_MUCH
        return Frame(length, is_chunked=False, keeps=False)
    if reply.stream is not None:
        return Frame(None, is_chunked=speaks_11, keeps=keeps and speaks_11)
    has_size = profile.has_sizes or (logged.method == "POST" and reply.status == 200)
    return Frame(len(reply.body) if has_size else None, is_chunked=False, keeps=keeps and has_size)


def _head(reply: Reply, profile: EngineProfile, frame: Frame, fault: Fault | None) -> bytes:
    lines = [f"HTTP/{profile.http} {reply.status} {phrase(reply.status)}"]
    headers = [*profile.headers, MARK, *reply.headers]
    if reply.content_type:
        headers.append(("content-type", reply.content_type))
    if frame.length is not None:
        headers.append(("content-length", str(frame.length)))
    if frame.is_chunked:
        headers.append(("transfer-encoding", "chunked"))
    if not frame.keeps and profile.http == "1.1":
        headers.append(("connection", "close"))
    elif frame.keeps and profile.keep_alive:
        headers.append(("keep-alive", profile.keep_alive))
    if fault is not None and fault.kind == "big-head":
        headers.append(("x-demo-padding", "x" * fault.size))
    lines.extend(f"{name}: {value}" for name, value in headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
