"""Where models lie, on each system."""

import json
from pathlib import Path

import pytest

from meshlight.domain.config import LocalSettings
from meshlight.local_models.catalog.stores import Place, places

HOME = Path("/home/ann")
OWN = Path("/home/ann/.local/share/meshlight/models")


def look(
    settings: LocalSettings | None = None,
    environ: dict[str, str] | None = None,
    platform: str = "linux",
    home: Path = HOME,
) -> dict[str, Place]:
    found = places(settings or LocalSettings(), own=OWN, environ=environ or {}, home=home, platform=platform)
    return {place.store: place for place in found}


@pytest.mark.parametrize(
    ("platform", "store", "folders"),
    [
        ("linux", "hub", [".cache/huggingface/hub"]),
        ("darwin", "hub", [".cache/huggingface/hub"]),
        ("win32", "hub", [".cache/huggingface/hub"]),
        ("linux", "lmstudio", [".lmstudio/models", ".cache/lm-studio/models"]),
        ("linux", "llamacpp", [".cache/llama.cpp"]),
        ("darwin", "llamacpp", ["Library/Caches/llama.cpp"]),
        ("win32", "llamacpp", ["AppData/Local/llama.cpp"]),
        ("linux", "jan", [".local/share/Jan/data/llamacpp/models", ".local/share/Jan/data/models"]),
        (
            "darwin",
            "jan",
            [
                "Library/Application Support/Jan/data/llamacpp/models",
                "Library/Application Support/Jan/data/models",
            ],
        ),
        ("win32", "jan", ["AppData/Roaming/Jan/data/llamacpp/models", "AppData/Roaming/Jan/data/models"]),
        ("linux", "gpt4all", [".local/share/nomic.ai/GPT4All"]),
        ("darwin", "gpt4all", ["Library/Application Support/nomic.ai/GPT4All"]),
        ("win32", "gpt4all", ["AppData/Local/nomic.ai/GPT4All"]),
    ],
)
def test_usual_folders(platform: str, store: str, folders: list[str]) -> None:
    assert look(platform=platform)[store].folders == tuple(str(HOME / folder) for folder in folders)


@pytest.mark.parametrize(
    ("environ", "platform", "store", "folder"),
    [
        ({"HF_HUB_CACHE": "/big/hub", "HF_HOME": "/x"}, "linux", "hub", "/big/hub"),
        ({"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/x"}, "linux", "hub", "/home/ann/hf/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "linux", "hub", "/c/huggingface/hub"),
        ({"LLAMA_CACHE": "/ll"}, "linux", "llamacpp", "/ll"),
        ({"XDG_CACHE_HOME": "/c"}, "linux", "llamacpp", "/c/llama.cpp"),
        ({"LOCALAPPDATA": "/local"}, "win32", "gpt4all", "/local/nomic.ai/GPT4All"),
        ({"APPDATA": "/roaming"}, "win32", "jan", "/roaming/Jan/data/llamacpp/models"),
        ({"HF_HOME": "  "}, "linux", "hub", "/home/ann/.cache/huggingface/hub"),
    ],
)
def test_variables_move_them(environ: dict[str, str], platform: str, store: str, folder: str) -> None:
    assert look(environ=environ, platform=platform)[store].folders[0] == str(Path(folder))


def test_our_own_and_the_users_come_first() -> None:
    settings = LocalSettings(
        folder="~/mine", folders=("~/models", "/mnt/usb/llms/", "~/models"), look_in=("jan",)
    )
    found = places(settings, own=OWN, environ={}, home=HOME, platform="linux")
    assert [(place.store, place.label, place.is_named) for place in found] == [
        ("own", "Meshlight", False),
        ("folder", "models", True),
        ("folder", "llms", True),
        ("jan", "Jan", False),
    ]
    assert found[0].folders == ("/home/ann/mine",)
    assert found[2].folders == ("/mnt/usb/llms",)
    assert look()["own"].folders == (str(OWN),)


def test_ollama_is_no_store() -> None:
    everywhere = look(environ={"OLLAMA_MODELS": "/ollama"})
    assert not any("ollama" in folder for place in everywhere.values() for folder in place.folders)


def test_lm_studio_says_itself_where_it_was_moved_to(tmp_path: Path) -> None:
    moved, models = tmp_path / "moved", tmp_path / "disk" / "models"
    moved.mkdir()
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    (moved / "settings.json").write_text(json.dumps({"downloadsFolder": str(models)}))
    assert look(home=tmp_path)["lmstudio"].folders[:2] == (str(models), str(moved / "models"))


@pytest.mark.parametrize(
    "settings", [b"", b"[1]", b'{"downloadsFolder": 5}', b'{"downloadsFolder": "\\u0000"}', b"\xff"]
)
def test_what_lm_studio_says_may_be_anything(tmp_path: Path, settings: bytes) -> None:
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio" / "settings.json").write_bytes(settings)
    (tmp_path / ".lmstudio-home-pointer").mkdir()
    assert look(home=tmp_path)["lmstudio"].folders[0] == str(tmp_path / ".lmstudio" / "models")
