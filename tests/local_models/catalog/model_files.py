"""Writes files of models that are small and right: headers as engines write them, and weights of zeros."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

F32, F16 = 0, 1
Tensors = Sequence[tuple[str, tuple[int, ...]]]
"""Names and shapes, all of half precision."""
ONE: Tensors = (("token_embd.weight", (32, 4)),)
LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.type": "model",
    "general.file_type": 15,
    "llama.context_length": 4096,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "b"],
    "tokenizer.chat_template": "{{ messages }}",
}
PROJECTOR: dict[str, Any] = {"general.architecture": "clip", "general.type": "mmproj", "general.file_type": 1}


def gguf(
    metadata: Mapping[str, Any] = LLAMA, tensors: Tensors = ONE, *, version: int = 3, order: str = "<"
) -> bytes:
    """Return a whole GGUF file."""
    pack = struct.Struct
    parts = [b"GGUF", pack(order + "IQQ").pack(version, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key, order), _value(value, order)]
    offset = 0
    for name, shape in tensors:
        parts.append(_string(name, order))
        parts.append(pack(f"{order}I{len(shape)}QIQ").pack(len(shape), *shape, F16, offset))
        offset += _half_bytes(shape)
    header = b"".join(parts)
    return header + bytes(-len(header) % 32 + offset) if tensors else header


def write_gguf(
    path: Path, metadata: Mapping[str, Any] = LLAMA, tensors: Tensors = ONE, **changes: Any
) -> Path:
    """Write a GGUF file with this metadata and `changes`, whose `__` stand for dots; returns its path."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf({**metadata, **changed}, tensors))
    return path


def write_parts(folder: Path, stem: str, count: int) -> list[Path]:
    """Write a model in several parts, as llama.cpp splits it; returns their paths."""
    paths = []
    for number in range(count):
        split = {"split.no": number, "split.count": count}
        metadata = {**LLAMA, **split} if number == 0 else split
        paths.append(folder / f"{stem}-{number + 1:05}-of-{count:05}.gguf")
        write_gguf(paths[-1], metadata)
    return paths


def safetensors(tensors: Tensors = ONE, *, dtype: str = "BF16", made_for: str = "pt") -> bytes:
    """Return a whole safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": made_for}}
    offset = 0
    for name, shape in tensors:
        size = _half_bytes(shape) * (2 if dtype == "U32" else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    data = json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + bytes(offset)


def write_safetensors(folder: Path, *, dtype: str = "BF16", made_for: str = "pt", **config: Any) -> Path:
    """Write a folder with a language model of one file; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_size": 64,
        "vocab_size": 128,
        "max_position_embeddings": 2048,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(whole))
    (folder / "model.safetensors").write_bytes(safetensors(dtype=dtype, made_for=made_for))
    return folder


def hub_file(hub: Path, repo: str, name: str, content: bytes, revision: str = "a" * 40) -> Path:
    """Put a file into the hub's cache, as a link to a blob; returns the link."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    link = folder / "snapshots" / revision / name
    blob = folder / "blobs" / f"{abs(hash((name, content))):x}"
    for parent in (link.parent, blob.parent, folder / "refs"):
        parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    blob.write_bytes(content)
    link.symlink_to(blob)
    return link


def _half_bytes(shape: tuple[int, ...]) -> int:
    size = 2
    for length in shape:
        size *= length
    return size


def _string(text: str | bytes, order: str) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(order + "Q", len(data)) + data


def _value(value: Any, order: str) -> bytes:
    """Return a value with its kind in front."""
    kind, data = _encoded(value, order)
    if isinstance(value, list):
        inner = [_encoded(item, order) for item in value]
        head = struct.pack(order + "IQ", inner[0][0] if inner else 4, len(inner))
        data = head + b"".join(item for _, item in inner)
    return struct.pack(order + "I", kind) + data


def _encoded(value: Any, order: str) -> tuple[int, bytes]:
    match value:
        case list():
            return 9, b""
        case bool():
            return 7, struct.pack("B", value)
        case int():
            return 4, struct.pack(order + "I", value)
        case float():
            return 6, struct.pack(order + "f", value)
        case _:
            return 8, _string(value, order)
