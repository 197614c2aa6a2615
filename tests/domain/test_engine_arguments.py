"""Only what is known to be harmless reaches an engine's command line."""

import pytest

from meshlight.domain.engine_arguments import (
    ARGUMENT_MAX,
    ARGUMENTS_MAX,
    EVERY_ENGINE,
    LLAMA_CPP,
    MLX,
    VLLM,
    check_arguments,
    in_two,
)
from meshlight.domain.errors import BadRequest


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--temp", "0.6"),
        ("--temp=0.6",),
        ("-s", "-1"),
        ("--mlock", "--threads", "4"),
        ("--chat-template-kwargs", '{"enable_thinking": false}'),
    ],
)
def test_options_of_sampling_and_memory_are_allowed(args: tuple[str, ...]) -> None:
    check_arguments(args, LLAMA_CPP, "llama.cpp")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--host", "0.0.0.0"), "--host can't be set: an engine listens on this machine alone"),
        (("--port=1",), "--port can't be set"),
        (("--api-key", "x"), "--api-key can't be set"),
        (("-m", "/etc/passwd"), "-m can't be set"),
        (("--lora", "/x"), "--lora is not allowed"),
        (("--log-file", "/x"), "--log-file is not allowed"),
        (("--tools", "all"), "--tools is not allowed"),
        (("0.6",), "follows no option"),
        (("--temp", "0.6", "0.7"), "follows no option"),
        (("--temp=1", "2"), "follows no option"),
        (("--TEMP", "1"), "--TEMP is not allowed"),
        (("--temp\x1b[2J", "1"), "is not allowed"),
        (("--temp", "a\0b"), "too long"),
        (("--temp", "x" * (ARGUMENT_MAX + 1)), "too long"),
        (("--mlock",) * (ARGUMENTS_MAX + 1), "more than"),
    ],
)
def test_all_else_is_refused_by_its_name(args: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_arguments(args, EVERY_ENGINE, "any engine")
    assert said in refused.value.title
    assert "\x1b" not in refused.value.title


def test_no_list_has_an_option_of_files_networks_or_tools() -> None:
    words = (
        "host",
        "port",
        "path",
        "file",
        "url",
        "api",
        "ssl",
        "tools",
        "mcp",
        "agent",
        "rpc",
        "lora",
        "log-",
    )
    allowed = LLAMA_CPP | MLX | VLLM
    assert allowed == EVERY_ENGINE
    guilty = {flag for flag in allowed if any(word in flag for word in words)}
    assert guilty <= {"--no-host", "--enable-auto-tool-choice"}


def test_options_with_their_values_are_written_as_two() -> None:
    assert in_two(("--temp=0.6", "-s", "-1", "--mlock")) == ("--temp", "0.6", "-s", "-1", "--mlock")
