from PIL import Image

from meshlight.desktop.tray.icon import PAINTS, icon
from meshlight.desktop.tray.pystray.x11_icon import BACKGROUND, flatten

BACK = tuple(bytes.fromhex(BACKGROUND[1:]))


def test_the_sign_stands_in_the_middle_of_the_bar_unstretched() -> None:
    picture = flatten(icon("red", 64), 40, 20)
    assert picture.size == (40, 20)
    assert picture.mode == "RGB"
    assert picture.getpixel((3, 10)) == BACK
    assert picture.getpixel((36, 10)) == BACK
    assert picture.getpixel((20, 4)) == tuple(bytes.fromhex(PAINTS["red"].fill[1:]))


def test_see_through_edges_take_the_bar_s_colour_and_no_other() -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 255, 0))  # what can't be seen is of a loud colour
    assert flatten(picture, 22, 22).getcolors() == [(22 * 22, BACK)]


def test_a_window_without_a_size_is_no_mistake() -> None:
    assert flatten(icon("green", 64), 1, 1).size == (1, 1)
