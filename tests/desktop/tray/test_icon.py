import math
from itertools import combinations

import pytest
from PIL import Image, ImageChops

from meshlight.desktop.tray.icon import PAINTS, SIZES, argb, icon
from meshlight.domain.snapshot import Light

LIGHTS: tuple[Light, ...] = ("green", "amber", "red", "grey")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
ALL_SIZES = (*SIZES, 20, 44, 128)
PAIRS = list(combinations(LIGHTS, 2))
# How people with these eyes see linear RGB (Machado et al. 2009, severity 1); the page's colours are measured so too.
EYES = {
    "all colours": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
LAB = [
    [0.2104542553, 0.793617785, -0.0040720468],
    [1.9779984951, -2.428592205, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.808675766],
]

Vector = list[float]


def linear(colour: tuple[int, ...]) -> Vector:
    parts = [part / 255 for part in colour]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


def times(matrix: list[Vector], vector: Vector) -> Vector:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def seen(colour: str, eye: str) -> Vector:
    """A colour's place in OKLab (0 to 100), as this eye sees it."""
    rgb = [min(max(c, 0.0), 1.0) for c in times(EYES[eye], linear(tuple(bytes.fromhex(colour[1:]))))]
    return [100 * part for part in times(LAB, [math.cbrt(c) for c in times(LMS, rgb)])]


def brightness(colour: tuple[int, ...]) -> float:
    return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """WCAG's contrast, 1 to 21."""
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


def on_bar(light: Light, size: int, bar: tuple[int, int, int]) -> Image.Image:
    picture = Image.new("RGB", (size, size), bar)
    picture.paste(icon(light, size), mask=icon(light, size).getchannel("A"))
    return picture


def pixels(picture: Image.Image) -> list[tuple[int, ...]]:
    data = picture.tobytes()
    wide = len(picture.getbands())
    return [tuple(data[i : i + wide]) for i in range(0, len(data), wide)]


def is_like(colour: tuple[int, ...], wanted: str) -> bool:
    return max(abs(a - b) for a, b in zip(colour[:3], bytes.fromhex(wanted[1:]), strict=True)) < 40


@pytest.mark.parametrize("size", ALL_SIZES)
@pytest.mark.parametrize("light", LIGHTS)
def test_the_icon_is_drawn_at_each_size_and_fills_it(light: Light, size: int) -> None:
    picture = icon(light, size)
    assert picture.mode == "RGBA"
    assert picture.size == (size, size)
    box = picture.getchannel("A").point(lambda a: 255 * (a > 100)).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert min(right - left, bottom - top) >= size * 0.8
    assert left == size - right, "it stands in the middle"


@pytest.mark.parametrize("size", ALL_SIZES)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_states_differ_in_their_outline_without_any_colour(one: Light, other: Light, size: int) -> None:
    first, second = icon(one, size).getchannel("A"), icon(other, size).getchannel("A")
    different = [pixel > 128 for (pixel,) in pixels(ImageChops.difference(first, second))]
    assert sum(different) / size**2 > 0.03, "the corners or the middle differ"


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_states_differ_in_colour_for_every_eye(one: Light, other: Light, eye: str) -> None:
    assert math.dist(seen(PAINTS[one].fill, eye), seen(PAINTS[other].fill, eye)) >= 12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("light", LIGHTS)
def test_the_state_s_colour_is_most_of_what_is_seen_of_it(light: Light, size: int) -> None:
    there = [pixel for pixel in pixels(icon(light, size)) if pixel[3] > 200]
    coloured = [pixel for pixel in there if is_like(pixel, PAINTS[light].fill)]
    assert len(coloured) / len(there) > 0.35


@pytest.mark.parametrize("bar", [WHITE, BLACK, (0x24, 0x28, 0x2F), (0xD5, 0xD9, 0xDF)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("light", LIGHTS)
def test_the_icon_stands_out_on_light_and_dark_bars(
    light: Light, size: int, bar: tuple[int, int, int]
) -> None:
    standing_out = [pixel for pixel in pixels(on_bar(light, size, bar)) if contrast(pixel, bar) >= 3]
    assert len(standing_out) / size**2 > 0.10


@pytest.mark.parametrize("light", ["green", "amber", "red"])
@pytest.mark.parametrize("size", [16, 22, 24])
def test_the_mark_in_it_is_crisp_at_the_usual_sizes(light: Light, size: int) -> None:
    paint = PAINTS[light]
    middle = icon(light, size).crop((size // 4, size // 4, size - size // 4, size - size // 5))
    assert sum(is_like(pixel, paint.mark) for pixel in pixels(middle)) >= size / 4, "some pixels are all mark"
    ink = contrast(tuple(bytes.fromhex(paint.mark[1:])), tuple(bytes.fromhex(paint.fill[1:])))
    assert ink >= 3


def test_pixels_go_over_the_bus_as_alpha_red_green_blue() -> None:
    picture = Image.new("RGBA", (2, 1))
    picture.putpixel((0, 0), (1, 2, 3, 4))
    picture.putpixel((1, 0), (250, 251, 252, 253))
    assert argb(picture) == bytes([4, 1, 2, 3, 253, 250, 251, 252])
