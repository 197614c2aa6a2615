"""A model of 1.46 GB whose weights are all zero, in a sparse file: it takes no disk, and seconds to load."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from real.tiny_gguf import _Vocabulary

WIDTH, FEED_FORWARD, LAYERS, HEADS, KV_HEADS = 2048, 8192, 12, 32, 8


def write_big_gguf(path: Path, *, layers: int = LAYERS) -> Path:
    """Write the model to `path`, and return it. It loads, and answers nothing that makes sense."""
    vocabulary = _Vocabulary()
    size = len(vocabulary.tokens)
    narrow = WIDTH // HEADS * KV_HEADS
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    vocabulary.write(writer)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (size, WIDTH),
        "output_norm": (WIDTH,),
        "output": (size, WIDTH),
    }
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.{part}": shape
            for part, shape in {
                "attn_norm": (WIDTH,),
                "attn_q": (WIDTH, WIDTH),
                "attn_k": (narrow, WIDTH),
                "attn_v": (narrow, WIDTH),
                "attn_output": (WIDTH, WIDTH),
                "ffn_norm": (WIDTH,),
                "ffn_gate": (FEED_FORWARD, WIDTH),
                "ffn_up": (FEED_FORWARD, WIDTH),
                "ffn_down": (WIDTH, FEED_FORWARD),
            }.items()
        }
    total = 0
    for name, shape in shapes.items():
        kind = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        number = int(np.prod(shape)) * kind.itemsize
        writer.add_tensor_info(f"{name}.weight", shape, kind, number)
        total += (number + 31) // 32 * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    begin = (path.stat().st_size + 31) // 32 * 32
    with path.open("r+b") as file:
        file.truncate(begin + total)
    return path
