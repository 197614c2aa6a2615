"""The icon of the program itself, for windows, launchers and installers: a router in its mesh.

`python -m meshlight.desktop.tray.icon OUT_DIR` writes it as .svg, .png, .ico and .icns, with the tray icons.
"""

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from meshlight.desktop.tray.icon import PAINTS, icon

GRID: Final = 64
"""All coordinates below are on a square of this width."""
CORNER: Final = 14
BACKGROUND, LINE, HUB = "#0f1b24", "#3ddbb0", "#67f6ef"
CENTRE: Final = (32, 32)
NODES: Final = ((14, 16), (50, 16), (14, 48), (50, 48))
SPOKE_OPACITY, SIDE_OPACITY = 0.55, 0.25
LINE_WIDTH, NODE_RADIUS, HUB_RADIUS = 3, 5, 11

PNG_SIZE: Final = 512
ICO_SIZES: Final = (16, 20, 24, 32, 40, 48, 64, 128, 256)
ICNS_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
SYMBOL_SIZE: Final = 128
_OVERSAMPLING: Final = 4


@lru_cache(maxsize=16)
def app_icon(size: int) -> Image.Image:
    """Return the program's icon as a square RGBA image of `size` pixels; it is cached, so don't change it."""
    scale = size * _OVERSAMPLING / GRID
    canvas = Image.new("RGBA", (size * _OVERSAMPLING, size * _OVERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    edge = size * _OVERSAMPLING - 1
    draw.rounded_rectangle((0, 0, edge, edge), CORNER * scale, fill=BACKGROUND)
    width = round(LINE_WIDTH * scale)
    for ends in ((NODES[0], NODES[1]), (NODES[2], NODES[3])):
        draw.line([(x * scale, y * scale) for x, y in ends], _over_background(SIDE_OPACITY), width)
    for node in NODES:
        draw.line([(x * scale, y * scale) for x, y in (CENTRE, node)], _over_background(SPOKE_OPACITY), width)
    for (x, y), radius, colour in (*((n, NODE_RADIUS, LINE) for n in NODES), (CENTRE, HUB_RADIUS, HUB)):
        box = ((x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale)
        draw.ellipse(box, fill=colour)
    return canvas.resize((size, size), Image.Resampling.BOX)


def svg() -> str:
    """Return the same icon as SVG."""
    spokes = "M".join(f"{CENTRE[0]} {CENTRE[1]} {x} {y}" for x, y in NODES)
    sides = "M".join(f"{a[0]} {a[1]}h{b[0] - a[0]}" for a, b in ((NODES[0], NODES[1]), (NODES[2], NODES[3])))
    circles = "\n".join(f'    <circle cx="{x}" cy="{y}" r="{NODE_RADIUS}"/>' for x, y in NODES)
    spoke_opacity, side_opacity = (f"{opacity:g}".lstrip("0") for opacity in (SPOKE_OPACITY, SIDE_OPACITY))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {GRID} {GRID}" role="img" aria-label="Meshlight">
  <rect width="{GRID}" height="{GRID}" rx="{CORNER}" fill="{BACKGROUND}"/>
  <g fill="none" stroke="{LINE}" stroke-width="{LINE_WIDTH}" stroke-linecap="round">
    <path d="M{spokes}" opacity="{spoke_opacity}"/>
    <path d="M{sides}" opacity="{side_opacity}"/>
  </g>
  <g fill="{LINE}">
{circles}
  </g>
  <circle cx="{CENTRE[0]}" cy="{CENTRE[1]}" r="{HUB_RADIUS}" fill="{HUB}"/>
</svg>
"""


def write_all(arguments: Sequence[str]) -> int:
    """Write every icon into the folder given in the arguments; return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("Usage: python -m meshlight.desktop.tray.icon OUT_DIR\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meshlight.svg").write_text(svg(), encoding="utf-8", newline="\n")
    app_icon(PNG_SIZE).save(folder / "meshlight.png", optimize=True)
    _save_in_sizes(folder / "meshlight.ico", ICO_SIZES)
    _save_in_sizes(folder / "meshlight.icns", ICNS_SIZES)
    for light in PAINTS:
        icon(light, SYMBOL_SIZE).save(folder / f"{light}.png", optimize=True)
    return 0


def _save_in_sizes(file: Path, sizes: Sequence[int]) -> None:
    """Write one file with the icon drawn separately at each size, instead of scaled from one."""
    *small, largest = (app_icon(size) for size in sizes)
    largest.save(file, sizes=[(size, size) for size in sizes], append_images=small)


def _over_background(opacity: float) -> tuple[int, int, int]:
    """Return the colour of a line of this opacity on the background."""
    line, back = (tuple(bytes.fromhex(colour[1:])) for colour in (LINE, BACKGROUND))
    red, green, blue = (round(x * opacity + y * (1 - opacity)) for x, y in zip(line, back, strict=True))
    return red, green, blue
