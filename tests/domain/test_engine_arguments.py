"""Only what is known to be harmless reaches the command line of an engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

REFUSED = (
    "--host --port --reuse-port --api-key --api-key-file --model -m --model-url -mu --hf-repo -hf -hfr --hf-file",
    "-hff --hf-token -hft --docker-repo -dr --alias -a --path --ssl-key-file --ssl-cert-file --tools",
    "--tools-runtime --mcp-servers-config --mcp-servers-json --agent -ag --log-file --log-prompts-dir --props",
    "--slot-save-path --media-path --models-dir --models-preset --rpc --lora --lora-scaled --control-vector",
    "--grammar-file --json-schema-file -jf --chat-template-file --mmproj -mm --mmproj-url -mmu --api-prefix --ui",
    "--webui --ui-config-file --ui-mcp-proxy --cors-origins --spec-draft-model -md --lookup-cache-static -lcs",
    "--video-ffmpeg-dir --spec-draft-hf -hfd --verbose -v --sleep-idle-seconds --ctx-size -c --embeddings",
    "--gpt-oss-20b-default --trust-remote-code --allowed-origins --draft-model --adapter-path --served-model-name",
    "--ssl-keyfile --allowed-local-media-path --download-dir --api_key --HOST",
)


@pytest.mark.parametrize(
    "allowed", [LLAMA_CPP, MLX, VLLM, EVERY_ENGINE], ids=["llama.cpp", "mlx", "vllm", "any"]
)
def test_what_opens_files_networks_and_tools_is_refused_by_name(allowed: frozenset[str]) -> None:
    for flag in " ".join(REFUSED).split():
        for args in ([flag, "x"], [f"{flag}=x"], ["--seed", "1", flag]):
            with pytest.raises(BadRequest, match=r"^args: ") as refused:
                check_arguments(args, allowed | {"--seed"}, "the engine")
            assert flag in str(refused.value)
            assert refused.value.param == "args"


def test_what_tunes_an_engine_is_allowed() -> None:
    check_arguments(
        ["--temp", "0.6", "--top-k=20", "-ngl", "99", "--seed", "-1", "-fa", "on", "--mlock"], LLAMA_CPP, "x"
    )
    check_arguments(["--kv-bits", "8"], MLX, "x")
    check_arguments(["--gpu-memory-utilization=0.8"], VLLM, "x")


@pytest.mark.parametrize(
    "args",
    [
        ["/etc/passwd"],
        ["--temp", "1", "2"],
        ["--top-k=1", "2"],
        ["-"],
        ["--"],
        ["--temp\0"],
        ["-m/etc/passwd"],
        ["--temp", "--host"],
        ["--mlock"] * (ARGUMENTS_MAX + 1),
        ["--temp", "1" * (ARGUMENT_MAX + 1)],
    ],
)
def test_what_an_engine_could_read_otherwise_is_refused(args: list[str]) -> None:
    with pytest.raises(BadRequest):
        check_arguments(args, LLAMA_CPP, "x")


@given(
    st.lists(
        st.sampled_from(["--temp", "1", "-1", "--host", "--temp=2", "-m", "x", "--api-key=3"]), max_size=6
    )
)
def test_no_order_of_them_lets_a_forbidden_one_pass(args: list[str]) -> None:
    if any(arg.partition("=")[0] in {"--host", "-m", "--api-key"} for arg in args):
        with pytest.raises(BadRequest):
            check_arguments(args, LLAMA_CPP, "x")


def test_a_hostile_argument_is_shown_clean() -> None:
    with pytest.raises(BadRequest) as refused:
        check_arguments(["--\x1b[31mx" + "y" * 500], LLAMA_CPP, "x")
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_llama_cpp_gets_option_and_value_apart() -> None:
    args = ('--chat-template-kwargs={"a":"b=c"}', "-fa", "a=b")
    assert in_two(args) == ("--chat-template-kwargs", '{"a":"b=c"}', "-fa", "a=b")
