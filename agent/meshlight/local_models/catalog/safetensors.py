"""Reads a folder of safetensors files with their `config.json`: MLX's models, and those as they were trained.

Nothing else of such a folder is ever read: no pickles (`.bin`, `.pt`), no code. All JSON is bounded, small enough for
one step of the decoder; of longer files only what can be found line by line.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.local_models.catalog.header import NUMBER_MAX, TOOLS_WORD, BadHeader, Header, clean, number

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer_config.json"
TEMPLATES = frozenset({"chat_template.jinja", "chat_template.json"})
SUFFIX = ".safetensors"
FILES = frozenset({CONFIG, ADAPTER, INDEX, TOKENIZER}) | TEMPLATES
"""Files of such a folder that count, besides the weights."""
CONFIG_MAX = 1 << 20
"""Bytes of a JSON file that is decoded whole."""
TOKENIZER_MAX = 4 << 20
DIMENSIONS_MAX = 8
INDEX_MAX = 32 << 20
_LINE = 64 << 10
_SHARD = re.compile(rb'"([^"/\\]{1,200}\.safetensors)"')
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")
_NO_JSON = re.compile(rb"-?\b(?:Infinity|NaN)\b")
"""Python writes these into its JSON."""
_CHAT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_NO_CHAT = frozenset(
    {"bark", "bart", "blip", "blip-2", "m2m_100", "marian", "mbart", "mt5", "musicgen", "pegasus"}
    | {"seamless_m4t", "speecht5", "t5", "whisper"}
)
"""Types of models that take no conversation, whatever their architecture is called."""
_VISION = ("vision_config", "image_size", "patch_size", "num_mel_bins", "projection_dim")


class _Tensor(Struct):
    """One entry of a safetensors header, or its `__metadata__`."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)
    format: str = ""


def read_safetensors(folder: str, sizes: Mapping[str, int]) -> Header:
    """Read what a folder says about its model; `sizes` has the bytes of its files by name.

    Raises BadHeader, and OSError if a file can't be read.
    """
    config = _config(folder)
    kinds = (
        [clean(kind) for kind in kinds if kind]
        if isinstance(kinds := config.get("architectures"), list)
        else []
    )
    purpose = _purpose(config, kinds[0] if kinds else "")
    _check_complete(folder, sizes)
    text = next(
        (part for key in ("text_config", "llm_config") if isinstance(part := config.get(key), dict)), config
    )
    is_quantized = isinstance(config.get("quantization"), dict)
    bits = _bits(config)
    parameters, dtype, made_for = 0, "", ""
    for name in sorted(weights_of(sizes)):
        for key, tensor in _tensors(folder, name, sizes[name]):
            if key == "__metadata__":
                made_for = made_for or tensor.format
            else:
                parameters += _numbers(key, tensor, bits)
                dtype = dtype or tensor.dtype
    heads = number(text.get("num_attention_heads"))
    width = number(text.get("head_dim")) or number(text.get("hidden_size")) // max(heads, 1)
    layers = number(text.get("num_hidden_layers"))
    kv = 4 * layers * (number(text.get("num_key_value_heads")) or heads) * width
    template = _template(folder, sizes)
    return Header(
        architecture=clean(config.get("model_type")),
        parameters=min(parameters, NUMBER_MAX),
        quantization=_quantization(config, bits, dtype),
        context_max=number(text.get("max_position_embeddings")),
        kv_bytes_per_token=min(kv, NUMBER_MAX),
        vocabulary=number(text.get("vocab_size")),
        has_chat_template=bool(template),
        takes_tools=TOOLS_WORD in template,
        is_mlx=is_quantized or made_for == "mlx",
        purpose=purpose,
    )


def weights_of(names: Iterable[str]) -> frozenset[str]:
    """Return which of a folder's files are the weights: `consolidated…` is a second copy, for another library."""
    weights = frozenset(name for name in names if name.endswith(SUFFIX))
    return frozenset(name for name in weights if not name.startswith("consolidated")) or weights


def _config(folder: str) -> dict[str, Any]:
    data = _read(folder, CONFIG, CONFIG_MAX)
    config = decode_or_none(data, dict[str, Any])
    if config is None:
        config = decode_or_none(_NO_JSON.sub(b"null", data), dict[str, Any])
    if config is None:
        raise BadHeader("Its config.json is no JSON: download it again.")
    return config


def _purpose(config: dict[str, Any], kind: str) -> Any:
    """Return what it is for; raises BadHeader for what answers no text."""
    model_type = clean(config.get("model_type"))
    if kind.endswith(_CHAT) and model_type not in _NO_CHAT:
        return "chat"
    is_text = bool(number(config.get("vocab_size"))) and not any(key in config for key in _VISION)
    labels = config.get("id2label")
    if kind.endswith("ForSequenceClassification") and isinstance(labels, dict) and len(labels) == 1:
        return "rerank"
    if is_text and kind.endswith("Model") and model_type not in _NO_CHAT:
        return "embedding"
    raise BadHeader(f"Not a language model ({kind or 'its config.json names no architecture'}).")


def _check_complete(folder: str, sizes: Mapping[str, int]) -> None:
    """Raise BadHeader if a part is missing, by the index, or by the names of the others."""
    wanted = set(_index(folder)) if INDEX in sizes else set()
    for name in sizes:
        if part := _PART.search(name):
            count = int(part[2])
            if count <= 1_000:
                wanted |= {
                    f"{name[: part.start()]}-{n:05}-of-{count:05}{SUFFIX}" for n in range(1, count + 1)
                }
    missing = sorted(wanted - sizes.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadHeader(f"Incomplete: {clean(missing[0])}{more} is missing. Download it again.")


def _index(folder: str) -> Iterator[str]:
    """Return the names of the files that the index lists; they are all on lines of their own, or in one long line."""
    left = INDEX_MAX
    with open(os.path.join(folder, INDEX), "rb") as file:  # noqa: PTH118, PTH123 - see gguf.py
        while left > 0 and (line := file.readline(_LINE)):
            left -= len(line)
            for found in _SHARD.findall(line):
                yield found.decode("utf-8", "replace")


def _tensors(folder: str, name: str, size: int) -> Iterator[tuple[str, _Tensor]]:
    """Return the entries of one file's header; nothing for a header that is too long to be read here."""
    with open(os.path.join(folder, name), "rb", buffering=0) as file:  # noqa: PTH118, PTH123 - see gguf.py
        start = file.read(8) or b""
        length = int.from_bytes(start, "little")
        if len(start) < 8 or 8 + length > size:
            raise BadHeader(f"Incomplete: {clean(name)} ends within its header. Download it again.")
        if length > CONFIG_MAX:
            return
        data = file.read(length) or b""
    tensors = decode_or_none(data, dict[str, _Tensor])
    if tensors is None:
        raise BadHeader(f"Broken: {clean(name)} has no header that can be read. Download it again.")
    if any(len(tensor.shape) > DIMENSIONS_MAX for tensor in tensors.values()):
        raise BadHeader(f"Broken: {clean(name)} has a tensor of no possible shape. Download it again.")
    if 8 + length + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0) > size:
        raise BadHeader(f"Incomplete: {clean(name)} is shorter than its header says. Download it again.")
    yield from tensors.items()


def _numbers(key: str, tensor: _Tensor, bits: int) -> int:
    """Return how many of the model's numbers a tensor has; packed ones are counted one by one, scales not at all."""
    if bits and key.endswith((".scales", ".biases", ".qzeros", ".g_idx", ".weight_scale")):
        return 0
    packed = 32 // bits if bits and tensor.dtype in {"U32", "I32"} else 1
    return max(prod(tensor.shape), 0) * packed


def _bits(config: dict[str, Any]) -> int:
    """Return the bits of each packed number, 0 if none are packed."""
    for key in ("quantization", "quantization_config"):
        part = config.get(key)
        if isinstance(part, dict) and 0 < (bits := number(part.get("bits"))) <= 32:
            return bits
    return 0


def _quantization(config: dict[str, Any], bits: int, dtype: str) -> str:
    part = config.get("quantization_config")
    method = clean(part.get("quant_method")).upper() if isinstance(part, dict) else ""
    if bits:
        return f"{method} {bits}bit".strip()
    return method or clean(dtype)


def _template(folder: str, sizes: Mapping[str, int]) -> bytes:
    """Return the file with the chat template; nothing where there is none."""
    for name in sorted(TEMPLATES & sizes.keys()):
        return _read(folder, name, TOKENIZER_MAX)
    data = _read(folder, TOKENIZER, TOKENIZER_MAX) if TOKENIZER in sizes else b""
    return data if b'"chat_template"' in data else b""


def _read(folder: str, name: str, most: int) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123 - see gguf.py
        data = file.read(most + 1)
    if len(data) > most:
        raise BadHeader(f"Its {name} is longer than that of any model.")
    return data
