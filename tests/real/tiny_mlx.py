"""A tiny random model for a real mlx_lm.server: 450 kB, made on the spot, nothing is fetched.

usage: python tests/real/tiny_mlx.py FOLDER     with the Python that has mlx_lm (it brings tokenizers and safetensors)

Two blocks of a llama with random weights over a byte tokenizer; the rows of tokens that are not printable are zero,
so that its babble is printable text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WIDTH, BLOCKS, HEADS, KEY_HEADS, FEED_FORWARD = 64, 2, 4, 2, 128
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_model(folder: Path) -> None:
    """Write tokenizer, configuration and weights into `folder`, as mlx_lm loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    _write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": WIDTH,
            "num_hidden_layers": BLOCKS,
            "intermediate_size": FEED_FORWARD,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_HEADS,
            "rms_norm_eps": 1e-5,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 2048,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 4,
            "hidden_act": "silu",
            "torch_dtype": "float32",
            "attention_bias": False,
            "mlp_bias": False,
        },
    )
    _write_json(
        folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": [4], "do_sample": False}
    )
    weights = _weights(vocabulary)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    total = sum(tensor.nbytes for tensor in weights.values())
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict.fromkeys(weights, "model.safetensors")},
    )


def _write_tokenizer(folder: Path) -> list[str]:
    """Write a byte-level tokenizer; returns its tokens by number."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["hello world the quick brown fox jumps over the lazy dog"] * 20, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "<|im_end|>",
            "unk_token": "<unk>",
            "pad_token": "</s>",
            "model_max_length": 2048,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    )
    by_number = {number: token for token, number in tokenizer.get_vocab().items()}
    return [by_number[number] for number in range(len(by_number))]


def _weights(vocabulary: list[str]) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(7)

    def some(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    head_width = WIDTH // HEADS
    ones = np.ones(WIDTH, np.float32)
    tensors = {"model.embed_tokens.weight": some(len(vocabulary), WIDTH), "model.norm.weight": ones}
    head = some(len(vocabulary), WIDTH)
    for number, token in enumerate(vocabulary):
        # \u0120 is how a byte-level tokenizer writes a space.
        is_text = all((c.isascii() and c.isprintable()) or c == "\u0120" for c in token)
        head[number] *= 6 if is_text and token not in SPECIAL else 0
    tensors["lm_head.weight"] = head
    for block in range(BLOCKS):
        part = f"model.layers.{block}"
        tensors |= {
            f"{part}.self_attn.q_proj.weight": some(HEADS * head_width, WIDTH),
            f"{part}.self_attn.k_proj.weight": some(KEY_HEADS * head_width, WIDTH),
            f"{part}.self_attn.v_proj.weight": some(KEY_HEADS * head_width, WIDTH),
            f"{part}.self_attn.o_proj.weight": some(WIDTH, HEADS * head_width),
            f"{part}.mlp.gate_proj.weight": some(FEED_FORWARD, WIDTH),
            f"{part}.mlp.up_proj.weight": some(FEED_FORWARD, WIDTH),
            f"{part}.mlp.down_proj.weight": some(WIDTH, FEED_FORWARD),
            f"{part}.input_layernorm.weight": ones,
            f"{part}.post_attention_layernorm.weight": ones,
        }
    return tensors


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
