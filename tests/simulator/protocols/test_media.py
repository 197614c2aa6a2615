"""Images and audio as the openai package sees them."""

import base64
import io
import wave

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import BadEngineRequest
from meshlight.simulator.protocols.media import form
from simulator.clients import OpenAIOf

MODEL = "llama-3.2-3b"
PNG = b"\x89PNG\r\n\x1a\n"


async def test_images_are_pngs_as_many_as_asked_for(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("openai", "Rosa") as engine:
        reply = await openai_of(engine).images.generate(model=MODEL, prompt="a fox", n=2)
    assert len(reply.data) == 2
    assert base64.b64decode(reply.data[0].b64_json).startswith(PNG)
    assert "demo picture by Rosa" in reply.data[0].revised_prompt


async def test_an_image_sent_as_a_form_is_edited_or_varied(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("openai") as engine:
        images = openai_of(engine).images
        edit = await images.edit(model=MODEL, image=("a.png", PNG), prompt="more fox")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            varied = await images.create_variation(model=MODEL, image=("a.png", PNG))
    assert len(edit.data) == len(varied.data) == 1


async def test_speech_is_a_wav(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("openai") as engine:
        reply = await openai_of(engine).audio.speech.create(model=MODEL, voice="alloy", input="hello")
    with wave.open(io.BytesIO(reply.content)) as sound:
        assert sound.getnframes() == 2_000
    assert reply.response.headers["content-type"] == "audio/wav"


async def test_a_transcription_says_how_much_audio_came(openai_of: OpenAIOf) -> None:
    audio = bytes(range(256)) * 40
    async with SimulatedEngine("openai", "Rosa") as engine:
        client = openai_of(engine).audio
        received = await client.transcriptions.create(model=MODEL, file=("a.wav", audio))
        with pytest.warns(DeprecationWarning, match="deprecated"):
            plain = await client.translations.create(
                model=MODEL, file=("a.wav", audio), response_format="text"
            )
    assert received.text == "This is a demo: Rosa was given 10240 bytes of audio."
    assert plain == received.text + "\n"


@pytest.mark.parametrize("path", ["images/generations", "audio/speech", "audio/transcriptions"])
async def test_a_request_without_its_main_thing_is_refused(http: httpx.AsyncClient, path: str) -> None:
    async with SimulatedEngine("openai") as engine:
        assert (await http.post(f"{engine.url}/v1/{path}", json={"model": MODEL})).status_code == 400


def test_a_form_without_boundary_is_refused() -> None:
    with pytest.raises(BadEngineRequest, match="boundary"):
        form("multipart/form-data", b"")
