"""Makes the pictures of the README, of meshes that Meshlight can have today:

python tests/web/readme_pictures.py
"""

import asyncio
import io
import random
import sys
from pathlib import Path
from typing import cast

from msgspec.structs import replace
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshlight.domain.api_types import BackendView, Requests, Workload
from meshlight.domain.backend import Kind, Ring
from meshlight.domain.health import State
from meshlight.local_models.downloads.starters import starter_views
from web.fake_chat import FakeAnswer
from web.fake_local import HOUSE as OWN_MODELS
from web.fake_local import download, house, this_machine
from web.fake_service import FakeService
from web.page_driver import CHROMIUM, FLAGS, HAS_PARTICLES, card, open_fake
from web.sample_mesh import FAMILIES, health

OUT = Path(__file__).parents[2] / "docs" / "pictures"
ANSWER = (
    "`du` adds up sizes, `sort` puts the largest first:\n\n",
    "```sh\ndu -ah . | sort -rh | head -n 10\n```\n\n",
    "- **-a** lists files, not only folders\n- **-h** writes sizes as people read them\n",
)
HOUSE: tuple[tuple[str, Kind, Ring, int, State], ...] = (
    ("llama.cpp", "llamacpp", "machine", 4, "healthy"),
    ("Ollama", "ollama", "machine", 6, "healthy"),
    ("LM Studio", "lmstudio", "machine", 3, "healthy"),
    ("MLX", "mlx", "machine", 2, "healthy"),
    ("studio-mac", "mlx", "lan", 5, "healthy"),
    ("workstation-a6000", "vllm", "lan", 4, "unhealthy"),
    ("reading-room-mini", "ollama", "lan", 6, "healthy"),
    ("h100-1", "vllm", "company", 4, "warming"),
    ("h100-2", "vllm", "company", 5, "healthy"),
    ("inference-gateway", "openai-compatible", "company", 8, "healthy"),
)


def simulated(times: int = 1, models: int = 1) -> list[BackendView]:
    """Return the house's backends, many times over with many times the models."""
    dice = random.Random(4)  # noqa: S311 - for looks, not for secrets
    views = []
    for i in range(len(HOUSE) * times):
        name, kind, ring, count, state = HOUSE[i % len(HOUSE)]
        here: State = state if times == 1 or dice.random() < 0.4 else "healthy"
        url = f"http://127.0.0.1:{8080 + i}" if ring == "machine" else f"http://10.0.0.{i + 2}:8000"
        views.append(
            BackendView(
                id=f"b{i}",
                name=name if i < len(HOUSE) else f"{name}-{i // len(HOUSE) + 1}",
                kind=kind,
                ring=ring,
                url=url,
                enabled=True,
                source="config",
                health=health(here, url),
                latency_ms=round(dice.uniform(2, 140), 1) if here == "healthy" else None,
                models=tuple(
                    f"{FAMILIES[(i * 5 + j) % 16]}{f'-v{j // 16}' * (j > 15)}" for j in range(count * models)
                ),
                in_flight=0,
                requests=Workload(total=4_120 + i, successful=4_104 + i, failed=16),
            )
        )
    return views


def palette(picture: Image.Image) -> Image.Image:
    """Return the 256 colours that a picture needs most: the frequent ones, and bright ones though they are rare."""
    counted = cast("list[tuple[int, tuple[int, int, int]]]", picture.getcolors(1 << 24))
    by_need = sorted(counted, key=lambda c: -c[0] * (8 + max(c[1]) - min(c[1])))
    made = Image.new("P", (1, 1))
    made.putpalette([part for _, colour in by_need[:256] for part in colour])
    return made


async def save(page: Page, name: str) -> None:
    """Store what the page shows."""
    await page.wait_for_function(HAS_PARTICLES)
    store(await page.screenshot(), name)


def store(picture: bytes, name: str) -> None:
    """Write a picture with few colours."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    OUT.mkdir(exist_ok=True)
    whole.quantize(palette=palette(whole), dither=Image.Dither.NONE).save(OUT / name, optimize=True)


async def make(browser: Browser) -> None:
    """Take all pictures."""
    async with open_fake(browser, FakeService(simulated(), rate=9)) as page:
        await page.wait_for_timeout(6_000)
        await save(page, "mesh-dark.png")
    async with open_fake(browser, FakeService(simulated(), rate=5), media={"color_scheme": "light"}) as page:
        await page.wait_for_timeout(3_000)
        await card(page, "b5").click()
        await page.mouse.move(20, 300)
        await page.wait_for_timeout(2_000)
        await save(page, "mesh-selected-light.png")
    own = house(downloads=(download(),), models=OWN_MODELS, devices=(), rejected=())
    local = FakeService([this_machine(own), *simulated()[:7]], rate=9)
    local.local = own
    async with open_fake(browser, local) as page:
        await card(page, "this-machine").click()
        await page.mouse.move(20, 300)
        await page.wait_for_timeout(4_000)
        await save(page, "local-dark.png")
    nothing = FakeService([])
    nothing.local = house(
        models=(), rejected=(), starters=tuple(starter_views(lambda _: ("now", 0), lambda _: False))
    )
    async with open_fake(browser, nothing, size=(900, 640)) as page:
        await page.get_by_role("button", name="Get a starter model").click()
        await page.mouse.move(20, 300)
        store(await page.locator("#empty").screenshot(), "offer-dark.png")
    await first_run(browser)
    big = [replace(v, models=v.models[:32]) for v in simulated(10, 4)]
    async with open_fake(browser, FakeService(big, rate=24)) as page:
        await page.wait_for_timeout(5_000)
        await save(page, "mesh-100-dark.png")


async def first_run(browser: Browser) -> None:
    """Take the pictures of Welcome, of an answer in Try, and of what apps are given."""
    fresh = FakeService([])
    fresh.local = house(
        models=(), rejected=(), starters=tuple(starter_views(lambda _: ("now", 0), lambda _: False))
    )
    fresh.welcome = replace(fresh.welcome, is_over=False)
    fresh.requests = Requests(total=0, successful=0, failed=0)
    begun = fresh.snapshot()
    fresh.sent_snapshot = lambda: replace(begun, light="grey", router=replace(begun.router, uptime_s=4))
    light = {"color_scheme": "light"}
    async with open_fake(browser, fresh, size=(1100, 640), media=light) as page:
        await page.get_by_role("button", name="Just show me").wait_for()
        store(await page.screenshot(), "welcome-light.png")
    service = FakeService(simulated(), rate=9)
    first = next(iter(service.views.values()))
    why = {"x-meshlight-why": "warm here"}
    service.answers = [FakeAnswer(ANSWER, backend=first.id, headers=why)]
    async with open_fake(browser, service, size=(1280, 760)) as page:
        await page.keyboard.press("c")
        await page.get_by_label("Question").fill("How do I find the largest files here?")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Copy answer").wait_for()
        await page.wait_for_timeout(3_000)
        await save(page, "try-dark.png")
    async with open_fake(
        browser, FakeService(simulated()), at="#apps", size=(1000, 720), media=light
    ) as page:
        await page.get_by_role("heading", name="Use it in your apps").wait_for()
        store(await page.locator("#dialog").screenshot(), "apps-light.png")


async def main() -> None:
    """Start a browser and take all pictures."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        await make(browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
