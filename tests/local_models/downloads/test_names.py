"""Names of models, and names of files that strangers have chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest
from meshlight.local_models.downloads.names import Wanted, is_repository, is_safe_path, parse_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen3-4B-GGUF", Wanted("Qwen/Qwen3-4B-GGUF")),
        (" Qwen/Qwen3-4B-GGUF:Q4_K_M ", Wanted("Qwen/Qwen3-4B-GGUF", "Q4_K_M")),
        ("hf.co/Qwen/Qwen3-4B-GGUF:Q8_0", Wanted("Qwen/Qwen3-4B-GGUF", "Q8_0")),
        ("huggingface.co/a/b", Wanted("a/b")),
        ("https://huggingface.co/a/b", Wanted("a/b")),
        ("https://huggingface.co/a/b/tree/main", Wanted("a/b")),
        ("https://huggingface.co/a/b/tree/main/sub", Wanted("a/b")),
        ("https://huggingface.co/a/b?show_file_info=x.gguf", Wanted("a/b")),
        ("https://huggingface.co/a/b/blob/main/x-Q4_0.gguf", Wanted("a/b", file="x-Q4_0.gguf")),
        ("https://huggingface.co/a/b/resolve/main/s/x.gguf?download=true", Wanted("a/b", file="s/x.gguf")),
        ("https://hf.co/a/b:Q4_0", Wanted("a/b", "Q4_0")),
        ("http://mirror.example:8080/a/b", Wanted("a/b")),
        ("a/b:x-Q4_0.gguf", Wanted("a/b", "x-Q4_0")),
    ],
)
def test_what_people_write_is_read(name: str, expected: Wanted) -> None:
    assert parse_name(name, "mirror.example:8080") == expected


@pytest.mark.parametrize(
    "name", ["qwen3:8b", "qwen2.5:7b", "library/qwen3", "ollama.com/library/qwen3", "llama3"]
)
def test_names_of_ollama_are_sent_to_ollama(name: str) -> None:
    with pytest.raises(BadRequest, match="is a name of Ollama's library") as refused:
        parse_name(name)
    assert f"ollama pull {name}" in refused.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "a/b/c", "a/../b", "../b", "a/..", "/", "a/b:", "a/b:../x", "a/b c", "a/b\x1b[31m", "a/b\u202e",
        "ftp://huggingface.co/a/b", "https://evil.example/a/b/c", "https://me:pw@huggingface.co/a/b", "con/b",
        "a/nul", "a/b.", "a" * 97 + "/b", "https://huggingface.co/a/b/blob/main/../../x", "https://[", "hf.co",
        "hf.co/a", "https://huggingface.co/a/b/blob/main/%2e%2e/x", "https://huggingface.co/datasets/a/b",
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_the_right_form(name: str) -> None:
    if name == "a/b:":
        assert parse_name(name) == Wanted("a/b")
        return
    with pytest.raises(BadRequest) as refused:
        parse_name(name)
    assert "OWNER/REPOSITORY" in refused.value.hint
    assert "\x1b" not in refused.value.title


@pytest.mark.parametrize("path", ["x.gguf", "Q4/x-00001-of-00002.gguf", "模型.gguf", "a b.gguf"])
def test_usual_names_of_files_are_safe(path: str) -> None:
    assert is_safe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "..", "../x.gguf", "a/../x.gguf", "/etc/x.gguf", "a//x.gguf", "C:x.gguf", "C:\\x.gguf", "a\\x.gguf",
        ".hidden.gguf", "x.gguf.", "x.gguf ", "con.gguf", "LPT1.gguf", "x\x00.gguf", "x\n.gguf", "x\u202e.gguf",
        "x\u200b.gguf", "~|.gguf", "a/b/c/d/e/f/g.gguf", "x" * 201, "é" * 150,
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_or_deceive_are_not(path: str) -> None:
    assert not is_safe_path(path)


@given(st.text(max_size=40))
def test_what_is_read_is_always_fit_for_a_folder(name: str) -> None:
    try:
        wanted = parse_name(name)
    except BadRequest:
        return
    assert is_repository(wanted.repository)
    assert not wanted.file or is_safe_path(wanted.file)
