"""A tiny model for a real llama-server, whose answers are scripted in its weights. 1.4 MB, made on the spot.

It is a llama of one block with every attention and feed-forward weight zero, so the next token depends on the
last one only, and the output matrix is that table. The chat template chooses the last token of the prompt:

    plain question               "I am NAME and you are héllo 한국어 🚀 ."   (names the model; multi-byte text)
    tools given, user speaks     a call of get_weather with city = Seoul
    the text contains LOOP       " tick tock tick tock …" for ever        (something to cancel)
"""

from __future__ import annotations

import argparse
import string
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

SPACE = "\u2581"  # sentencepiece's mark of a space
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Seoul"}}\n</tool_call>'
END_OF_TURN = 4
TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
<tools>
{% for t in tools %}{{ t | tojson }}
{% endfor %}</tools>
For each call return json in <tool_call></tool_call> tags.<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{%- elif m.role == 'assistant' and m.tool_calls %}<|im_start|>assistant
{{ m.content or '' }}{% for c in m.tool_calls %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{%- else %}<|im_start|>{{ m.role }}
{{ m.content or '' }}<|im_end|>
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if tools and messages[-1].role == 'user' %}{{ ' ' }}
{%- elif messages[-1].content and 'LOOP' in messages[-1].content %}{{ '\\t' }}{% endif %}{%- endif %}"""


def answer_of(name: str) -> str:
    """Return what the model called `name` says to a plain question."""
    return "".join(_words(name))


def write_gguf(path: Path, name: str, *, context: int = 8192) -> Path:
    """Write the model to `path`; `name` is what it calls itself. Returns `path`."""
    vocabulary = _Vocabulary()
    following = _script(vocabulary, name)
    size = len(vocabulary.tokens)
    width = (size + 31) // 32 * 32  # one dimension for each token, rounded up to whole blocks
    heads, feed_forward = 4, 32
    head_width = width // heads

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    vocabulary.write(writer)

    embedding = np.zeros((size, width), np.float16)
    embedding[np.arange(size), np.arange(size)] = 1
    output = np.zeros((size, width), np.float16)
    first = vocabulary.number(_words(name)[0])
    for token in range(size):
        output[following.get(token, first), token] = 2
    ones = np.ones(width, np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("blk.0.attn_norm.weight", ones)
    writer.add_tensor("blk.0.ffn_norm.weight", ones)
    for part, rows, columns in (
        ("attn_q", width, width),
        ("attn_k", head_width, width),
        ("attn_v", head_width, width),
        ("attn_output", width, width),
        ("ffn_gate", feed_forward, width),
        ("ffn_up", feed_forward, width),
        ("ffn_down", width, feed_forward),
    ):
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((rows, columns), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Vocabulary:
    """The tokens: control words, every byte, every printable character, and the words of the script."""

    def __init__(self) -> None:
        control = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
        of_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
        characters = [SPACE, *(c for c in string.printable if c.isprintable() and c != " ")]
        self.tokens = ["<unk>", *control, *of_bytes, *characters]
        self._types = [
            gguf.TokenType.UNKNOWN,
            *[gguf.TokenType.CONTROL] * len(control),
            *[gguf.TokenType.BYTE] * len(of_bytes),
            *[gguf.TokenType.NORMAL] * len(characters),
        ]

    def number(self, text: str) -> int:
        """Return the token's number, adding it if it is new."""
        token = text.replace(" ", SPACE)
        if token not in self.tokens:
            self.tokens.append(token)
            self._types.append(gguf.TokenType.NORMAL)
        return self.tokens.index(token)

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Put the vocabulary and the chat template into the file's head."""
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([token.encode() for token in self.tokens])
        writer.add_token_scores([-float(number) for number in range(len(self.tokens))])
        writer.add_token_types(self._types)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(END_OF_TURN)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
        writer.add_add_space_prefix(False)
        writer.add_chat_template(TEMPLATE)


def _words(name: str) -> list[str]:
    return [
        "I",
        " am",
        f" {name}",
        " and",
        " you",
        " are",
        " h\u00e9llo",
        " \ud55c\uad6d\uc5b4",
        " \U0001f680",
        " .",
    ]


def _script(vocabulary: _Vocabulary, name: str) -> dict[int, int]:
    """Return which token follows which, where it is not the first word of the plain answer."""
    number = vocabulary.number
    plain = [number(word) for word in _words(name)]
    call, tick, tock = number(CALL), number(" tick"), number(" tock")
    following = dict(pairwise([*plain, END_OF_TURN]))
    following |= {number("<0x0A>"): plain[0]}  # the template ends in a newline
    following |= {number(" "): call, call: END_OF_TURN}  # … in a space when tools are given
    following |= {number("<0x09>"): tick, tick: tock, tock: tick}  # … in a tab when it is to go on for ever
    return following


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--name", default="tiny")
    asked = parser.parse_args()
    print(write_gguf(asked.path, asked.name))
