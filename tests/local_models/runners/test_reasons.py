import pytest

from meshlight.local_models.runners.base import Ending
from meshlight.local_models.runners.reasons import LLAMA_CPP, PYTHON_ENGINES, KnownLine, explain

LLAMA_LINES = {
    "E llama_model_load: tensor 'x' data is not within the file bounds, model is corrupted": "incomplete",
    "E gguf_init_from_reader: failed to read key-value pairs": "incomplete",
    "E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'": "not-gguf",
    "E llama_model_load: error loading model: unknown model architecture: 'qwen9'": "too-old",
    "error loading model vocabulary: unknown pre-tokenizer type: 'new'": "too-old",
    "done_getting_tensors: wrong number of tensors; expected 2131, got 720": "other-engine",
    "error loading model: missing tensor 'blk.0.attn_q.weight'": "other-engine",
    "E gguf_init_from_file: failed to open GGUF file 'a.gguf' (No such file or directory)": "file-missing",
    "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory": "memory",
    "llama_kv_cache: failed to allocate buffer for kv cache": "memory",
    "ggml_metal: error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)": "memory",
    "E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1": "port-taken",
    "E srv load_model: failed to load multimodal model, 'mmproj.gguf'": "projector",
    "error: invalid argument: --kv-unified": "argument",
    'error while handling argument "--temp": stof': "argument",
    "llama-server: error while loading shared libraries: libcudart.so.12: cannot open": "library-missing",
    "failed to open a.gguf: Permission denied": "forbidden",
}
PYTHON_LINES = {
    "ModuleNotFoundError: No module named 'mlx.core'": "not-installed",
    "ValueError: Model type qwen9 not supported.": "too-old",
    "ValueError: Model architectures ['Qwen9'] are not supported for now.": "too-old",
    "safetensors_rust.SafetensorError: Error while deserializing header": "incomplete",
    "mlx_lm.server: error: unrecognized arguments: --kv-bits": "argument",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB": "memory",
    "ValueError: No available memory for the cache blocks.": "memory",
    "RuntimeError: Failed to infer device type": "no-gpu",
    "FileNotFoundError: [Errno 2]": "file-missing",
    "OSError: [Errno 98] Address already in use": "port-taken",
}


@pytest.mark.parametrize(
    ("table", "line", "code"),
    [
        *((LLAMA_CPP, line, code) for line, code in LLAMA_LINES.items()),
        *((PYTHON_ENGINES, line, code) for line, code in PYTHON_LINES.items()),
    ],
)
def test_each_known_line_is_a_reason_with_a_fix(table: tuple[KnownLine, ...], line: str, code: str) -> None:
    log = ("starting", line, "E srv llama_server: exiting due to model loading error")
    reason = explain(Ending(exit_code=1, log=log), table, "llama-server")
    assert reason.code == code
    assert reason.text
    assert reason.fix
    assert "{0}" not in reason.text + reason.fix


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [
        (-9, "killed"),
        (-4, "processor"),
        (0xC000001D, "processor"),
        (0xC0000135, "library-missing"),
        (126, "cannot-run"),
    ],
)
def test_an_exit_code_can_say_enough(exit_code: int, code: str) -> None:
    assert explain(Ending(exit_code=exit_code, log=()), LLAMA_CPP, "llama-server").code == code


def test_what_nobody_knows_is_quoted_short_and_clean() -> None:
    log = (
        "I hello",
        "E strange: \x1b[31mhalted\x1b[0m " + "x" * 1000,
        "E srv llama_server: exiting due to model loading error",
    )
    reason = explain(Ending(exit_code=7, log=log), LLAMA_CPP, "llama-server")
    assert reason.text.startswith("llama-server ended with exit code 7, and said: E strange: halted xxx")
    assert len(reason.text) < 300
    assert (
        explain(Ending(exit_code=-11, log=()), LLAMA_CPP, "x").text
        == "x crashed (signal 11), and said nothing."
    )


def test_a_name_in_a_hostile_line_is_cut_and_cleaned() -> None:
    line = "unknown model architecture: '\x1b]0;title\x07{0}" + "a" * 5000 + "'"
    reason = explain(Ending(exit_code=1, log=(line,)), LLAMA_CPP, "x")
    assert "\x1b" not in reason.text
    assert len(reason.text) < 150
