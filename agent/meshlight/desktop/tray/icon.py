"""Draws the tray icon at every size from one definition: colour and shape both show the state.

Each icon has a bright fill, and a dark rim and mark: on a dark panel the fill stands out, on a light one the rim
and the mark do. Edges and strokes lie on whole pixels of the requested size, or the icon would blur at 16 pixels.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from msgspec import Struct
from PIL import Image, ImageDraw

from meshlight.domain.snapshot import Light

SIZES: Final = (16, 22, 24, 32, 48, 64)
"""Sizes in pixels that trays request, at normal and double resolution."""
_OVERSAMPLING: Final = 8
"""Icons are drawn this many times larger and then averaged, for smooth slopes and round strokes."""

Point = tuple[float, float]


class Paint(Struct, frozen=True):
    """The colours of one icon."""

    fill: str
    rim: str
    mark: str


PAINTS: Final[dict[Light, Paint]] = {
    "green": Paint("#3ae3c0", "#05382f", "#05382f"),
    "amber": Paint("#ffd94a", "#4a3500", "#4a3500"),
    "red": Paint("#e64022", "#4d0d04", "#ffffff"),
    "grey": Paint("#94a0b4", "#252d3a", "#252d3a"),
}
"""The fills are those of the page's dark theme (web/app/map/colours.js); colour-blind people can distinguish them."""


class Pen:
    """Draws on a canvas of `size` pixels; all lengths are in pixels of the final image."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.edge = max(1, round(size / 20))
        """Width of the rim in whole pixels."""
        self.image = Image.new("RGBA", (size * _OVERSAMPLING, size * _OVERSAMPLING))
        self._draw = ImageDraw.Draw(self.image)

    def point(self, x: float, y: float) -> Point:
        """Return a position given as fractions of the size, rounded to the nearest half pixel."""
        return round(x * self.size * 2) / 2, round(y * self.size * 2) / 2

    @property
    def stroke_width(self) -> float:
        """Width of a mark's stroke."""
        return max(2, round(self.size * 0.25) / 2)

    def disc(self, inset: float, fill: str) -> None:
        """Fill the circle that keeps `inset` pixels from the border."""
        self._draw.ellipse(self._box(inset), fill=fill)

    def square(self, inset: float, radius: float, fill: str) -> None:
        """Fill the square with rounded corners that keeps `inset` pixels from the border."""
        self._draw.rounded_rectangle(self._box(inset), radius * _OVERSAMPLING, fill=fill)

    def polygon(self, points: list[Point], fill: str) -> None:
        """Fill a polygon."""
        self._draw.polygon([(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points], fill=fill)

    def stroke(self, points: list[Point], width: float, colour: str) -> None:
        """Draw a line with round ends and joints."""
        fine = [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]
        self._draw.line(fine, fill=colour, width=round(width * _OVERSAMPLING), joint="curve")
        radius = width * _OVERSAMPLING / 2
        for x, y in fine:
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def bar(self, width: int, top: int, bottom: int, colour: str) -> None:
        """Fill an upright bar in the middle, on whole pixels."""
        left, right = (self.size - width) / 2 * _OVERSAMPLING, (self.size + width) / 2 * _OVERSAMPLING - 1
        box = (left, top * _OVERSAMPLING, right, bottom * _OVERSAMPLING - 1)
        self._draw.rounded_rectangle(box, width * _OVERSAMPLING * 0.3, fill=colour)

    def done(self) -> Image.Image:
        """Return the image at its final size."""
        return self.image.resize((self.size, self.size), Image.Resampling.BOX)

    def _box(self, inset: float) -> tuple[float, float, float, float]:
        far = (self.size - inset) * _OVERSAMPLING - 1
        return inset * _OVERSAMPLING, inset * _OVERSAMPLING, far, far


def _green(pen: Pen, paint: Paint) -> None:
    """A disc with a tick."""
    pen.disc(0, paint.rim)
    pen.disc(pen.edge, paint.fill)
    pen.stroke(
        [pen.point(0.28, 0.52), pen.point(0.44, 0.68), pen.point(0.73, 0.35)], pen.stroke_width, paint.mark
    )


def _amber(pen: Pen, paint: Paint) -> None:
    """A triangle with an exclamation mark."""
    size, edge = pen.size, pen.edge
    round_by = edge * 1.5  # half of the stroke that rounds its corners
    top, low = round_by, size - round_by - edge  # its foot lies on a whole pixel
    corners = [(size / 2, top), (size - round_by, low), (round_by, low)]
    pen.polygon(corners, paint.rim)
    pen.stroke([*corners, corners[0]], 2 * round_by, paint.rim)
    pen.polygon(corners, paint.fill)
    pen.stroke([*corners, corners[0]], round_by * 2 / 3, paint.fill)
    wide = 2 * max(1, round(size * 0.06))  # even, as the middle lies between two pixels
    pen.bar(wide, round(size * 0.34), round(size * 0.62), paint.mark)
    pen.bar(wide, round(size * 0.70), round(size * 0.70) + wide, paint.mark)


def _red(pen: Pen, paint: Paint) -> None:
    """A square with a cross."""
    margin = max(1, round(pen.size / 24))  # a square of the disc's height looks larger than the disc
    pen.square(margin, pen.size * 0.17, paint.rim)
    pen.square(margin + pen.edge, pen.size * 0.11, paint.fill)
    for line in (
        [pen.point(0.32, 0.32), pen.point(0.68, 0.68)],
        [pen.point(0.68, 0.32), pen.point(0.32, 0.68)],
    ):
        pen.stroke(line, pen.stroke_width, paint.mark)


def _grey(pen: Pen, paint: Paint) -> None:
    """A ring."""
    wide = max(2, round(pen.size * 0.13))
    pen.disc(0, paint.rim)
    pen.disc(pen.edge, paint.fill)
    pen.disc(pen.edge + wide, paint.rim)
    pen.disc(2 * pen.edge + wide, "#00000000")


_PAINTERS: Final[dict[Light, Callable[[Pen, Paint], None]]] = {
    "green": _green,
    "amber": _amber,
    "red": _red,
    "grey": _grey,
}


@lru_cache(maxsize=64)
def icon(light: Light, size: int) -> Image.Image:
    """Return the icon of a state as a square RGBA image of `size` pixels; it is cached, so don't change it."""
    pen = Pen(size)
    _PAINTERS[light](pen, PAINTS[light])
    return pen.done()


def argb(image: Image.Image) -> bytes:
    """Return the pixels as ARGB32 in network byte order, as StatusNotifierItem demands."""
    red, green, blue, alpha = image.convert("RGBA").split()
    return Image.merge("RGBA", (alpha, red, green, blue)).tobytes()


if __name__ == "__main__":
    from meshlight.desktop.tray.app_icon import write_all

    sys.exit(write_all(sys.argv[1:]))
