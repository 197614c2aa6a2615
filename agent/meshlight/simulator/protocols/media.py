"""Images and audio: a plain picture, a short tone, and a text about the size of received audio."""

import base64
import io
import math
import re
import struct
import time
import wave
import zlib

from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.profile import BadEngineRequest, EngineRequest

TONE_S = 0.25
RATE = 8_000
SIDE = 64


async def images(request: EngineRequest) -> Reply:
    """Answer `POST /v1/images/…` with `n` pictures (1 to 10); raises BadEngineRequest."""
    if not request.body.get("prompt") and not request.logged.path.endswith("variations"):
        raise BadEngineRequest("'prompt' is required")
    await request.facts.speech.beat(0)
    wanted = str(request.body.get("n") or "1")
    count = int(wanted) if wanted.isdecimal() and int(wanted) <= 10 else 1
    picture = {
        "b64_json": base64.b64encode(picture_of(request.model)).decode("ascii"),
        "revised_prompt": f"demo picture by {request.facts.name}",
    }
    return json_reply({"created": int(time.time()), "data": [picture] * count})


async def speech(request: EngineRequest) -> Reply:
    """Answer `POST /v1/audio/speech` with a short tone as WAV; raises BadEngineRequest."""
    if not isinstance(request.body.get("input"), str):
        raise BadEngineRequest("'input' is required")
    await request.facts.speech.beat(0)
    return Reply(body=tone(), content_type="audio/wav")


async def transcription(request: EngineRequest) -> Reply:
    """Answer `POST /v1/audio/transcriptions` and `translations`, sent as a form; raises BadEngineRequest."""
    audio = request.body.get("file")
    if not isinstance(audio, bytes):
        raise BadEngineRequest("'file' is required")
    await request.facts.speech.beat(0)
    text = f"This is a demo: {request.facts.name} was given {len(audio)} bytes of audio."
    if request.body.get("response_format") == "text":
        return text_reply(text + "\n")
    return json_reply({"text": text})


def form(content_type: str, body: bytes) -> dict[str, str | bytes]:
    """Parse a multipart form: fields as text, files as bytes; raises BadEngineRequest."""
    boundary = re.search(r'boundary="?([^";,]+)"?', content_type)
    if boundary is None:
        raise BadEngineRequest("the form has no boundary")
    fields: dict[str, str | bytes] = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        if name is not None:
            value = content.removesuffix(b"\r\n")
            is_file = b"filename" in head
            fields[name[1].decode("utf-8", "replace")] = (
                value if is_file else value.decode("utf-8", "replace")
            )
    return fields


def picture_of(model: str) -> bytes:
    """Return a PNG of one colour, chosen by the model's name."""
    colour = zlib.crc32(model.encode()).to_bytes(4, "big")[:3]
    rows = (b"\0" + colour * SIDE) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def tone() -> bytes:
    """Return a quarter of a second of a quiet 440 Hz tone as WAV."""
    samples = [round(8_000 * math.sin(2 * math.pi * 440 * i / RATE)) for i in range(int(RATE * TONE_S))]
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return out.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
