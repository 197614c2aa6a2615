import subprocess
import sys
from pathlib import Path

from PIL import Image

from meshlight.desktop.tray.app_icon import ICNS_SIZES, ICO_SIZES, app_icon, svg

ICONS = Path(__file__).parents[3] / "icons"


def test_the_command_writes_an_icon_for_every_system(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "icons"
    subprocess.run([sys.executable, "-m", "meshlight.desktop.tray.icon", str(folder)], check=True)
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in ICONS.iterdir())
    with Image.open(folder / "meshlight.ico") as ico:
        assert ico.info["sizes"] == {(size, size) for size in ICO_SIZES}
    with Image.open(folder / "meshlight.icns") as icns:
        assert {side * scale for side, _, scale in icns.info["sizes"]} >= set(ICNS_SIZES) - {16, 64}
    with Image.open(folder / "meshlight.png") as png:
        assert png.size == (512, 512)
    assert (folder / "meshlight.svg").read_text() == svg()


def test_the_command_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshlight.desktop.tray.icon"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "OUT_DIR" in done.stderr


def test_the_icons_that_are_kept_are_those_the_command_makes() -> None:
    assert (ICONS / "meshlight.svg").read_text() == svg()


def test_the_picture_is_drawn_anew_at_each_size() -> None:
    for size in ICO_SIZES:
        picture = app_icon(size)
        assert picture.size == (size, size)
        assert picture.getpixel((0, 0)) == (0, 0, 0, 0), "round corners"
        assert picture.getpixel((size // 2, size // 2)) == (0x67, 0xF6, 0xEF, 255), "the router in the middle"
