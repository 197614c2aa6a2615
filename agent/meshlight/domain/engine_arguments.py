"""Which arguments a user may add to an engine's: those of sampling, context handling, threads, memory and GPUs.

A list of what is allowed, not of what is forbidden: engines get new options that open files, networks and tools.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from meshlight.domain.errors import BadRequest
from meshlight.domain.text import sanitize

ARGUMENTS_MAX: Final = 100
ARGUMENT_MAX: Final = 8_192
_NUMBER: Final = re.compile(r"-\.?\d")
_SHOWN: Final = 60
_SET_HERE: Final = {
    "--host": "an engine listens on this machine alone",
    "--port": "Meshlight chooses a free one",
    "--api-key": "Meshlight makes a new one for each start",
    "--api-key-file": "Meshlight makes a new one for each start",
    "--model": "it is the model that the setting belongs to",
    "-m": "it is the model that the setting belongs to",
    "--alias": "it is the model's id",
    "-a": "it is the model's id",
    "--served-model-name": "it is the model's id",
    "--ctx-size": "the setting `context` is for that",
    "-c": "the setting `context` is for that",
    "--max-model-len": "the setting `context` is for that",
}

LLAMA_CPP: Final = frozenset(
    {
        # sampling
        *(
            "--temp",
            "--temperature",
            "--top-k",
            "--top-p",
            "--min-p",
            "--top-nsigma",
            "--top-n-sigma",
            "--typical",
        ),
        *(
            "--typical-p",
            "--xtc-probability",
            "--xtc-threshold",
            "--repeat-last-n",
            "--repeat-penalty",
            "--seed",
            "-s",
        ),
        *(
            "--presence-penalty",
            "--frequency-penalty",
            "--dry-multiplier",
            "--dry-base",
            "--dry-allowed-length",
        ),
        *(
            "--dry-penalty-last-n",
            "--dry-sequence-breaker",
            "--adaptive-target",
            "--adaptive-decay",
            "--mirostat",
        ),
        *(
            "--mirostat-lr",
            "--mirostat-ent",
            "--dynatemp-range",
            "--dynatemp-exp",
            "--samplers",
            "--sampler-seq",
        ),
        *("--sampling-seq", "--ignore-eos", "--logit-bias", "-l", "--grammar", "-bs", "--backend-sampling"),
        *("-n", "--predict", "--n-predict", "--keep", "-sp", "--special", "-r", "--reverse-prompt"),
        # context and cache
        *(
            "-b",
            "--batch-size",
            "-ub",
            "--ubatch-size",
            "-np",
            "--parallel",
            "-cb",
            "--cont-batching",
            "-nocb",
        ),
        *(
            "--no-cont-batching",
            "-kvu",
            "--kv-unified",
            "-no-kvu",
            "--no-kv-unified",
            "--kv-unified-per-slot",
        ),
        *("-fa", "--flash-attn", "-ctk", "--cache-type-k", "-ctv", "--cache-type-v", "--swa-full", "-cram"),
        *(
            "--cache-ram",
            "--cache-prompt",
            "--no-cache-prompt",
            "--cache-reuse",
            "-ctxcp",
            "--ctx-checkpoints",
        ),
        *(
            "--swa-checkpoints",
            "-cms",
            "--checkpoint-min-step",
            "--cache-idle-slots",
            "--no-cache-idle-slots",
        ),
        *("--context-shift", "--no-context-shift", "--rope-scaling", "--rope-scale", "--rope-freq-base"),
        *(
            "--rope-freq-scale",
            "--yarn-orig-ctx",
            "--yarn-ext-factor",
            "--yarn-attn-factor",
            "--yarn-beta-slow",
        ),
        *("--yarn-beta-fast", "--pooling", "--embd-normalize", "-sps", "--slot-prompt-similarity"),
        # threads, memory, GPUs
        *(
            "-t",
            "--threads",
            "-tb",
            "--threads-batch",
            "--threads-http",
            "-C",
            "--cpu-mask",
            "-Cr",
            "--cpu-range",
        ),
        *(
            "--cpu-strict",
            "--prio",
            "--poll",
            "-Cb",
            "--cpu-mask-batch",
            "-Crb",
            "--cpu-range-batch",
            "--numa",
        ),
        *(
            "--cpu-strict-batch",
            "--prio-batch",
            "--poll-batch",
            "--mlock",
            "--no-mmap",
            "--mmap",
            "-lm",
            "--load-mode",
        ),
        *(
            "-lzm",
            "--lazy-mode",
            "-kvo",
            "--kv-offload",
            "-nkvo",
            "--no-kv-offload",
            "--repack",
            "-nr",
            "--no-repack",
        ),
        *(
            "--no-host",
            "-dev",
            "--device",
            "-ot",
            "--override-tensor",
            "-cmoe",
            "--cpu-moe",
            "-ncmoe",
            "--n-cpu-moe",
        ),
        *("-ncffn", "--n-cpu-ffn", "-ngl", "--gpu-layers", "--n-gpu-layers", "-sm", "--split-mode", "-ts"),
        *(
            "--tensor-split",
            "-mg",
            "--main-gpu",
            "-fit",
            "--fit",
            "-fitt",
            "--fit-target",
            "-fitc",
            "--fit-ctx",
        ),
        *("--op-offload", "--no-op-offload", "--check-tensors", "--override-kv", "--warmup", "--no-warmup"),
        *("--perf", "--no-perf", "-to", "--timeout"),
        # chat and images
        *("--jinja", "--no-jinja", "--chat-template", "--chat-template-kwargs", "--reasoning-format", "-rea"),
        *("--reasoning", "--reasoning-effort", "--reasoning-budget", "--reasoning-budget-message"),
        *("--reasoning-preserve", "--no-reasoning-preserve", "--skip-chat-parsing", "--no-skip-chat-parsing"),
        *("--prefill-assistant", "--no-prefill-assistant", "--spm-infill", "--no-mmproj", "--no-mmproj-auto"),
        *("--mmproj-offload", "--no-mmproj-offload", "-mmdev", "--mmproj-device", "--image-min-tokens"),
        *("--image-max-tokens", "--mtmd-batch-max-tokens"),
        # guessing ahead, without a second file
        *(
            "--spec-type",
            "--spec-default",
            "--spec-draft-n-max",
            "--spec-draft-n-min",
            "--spec-draft-p-split",
        ),
        *("--spec-draft-p-min", "--draft-p-split", "--draft-p-min", "--spec-ngram-mod-n-min"),
        *("--spec-ngram-mod-n-max", "--spec-ngram-mod-n-match", "--spec-ngram-simple-size-n"),
        *("--spec-ngram-simple-size-m", "--spec-ngram-simple-min-hits", "--spec-ngram-map-k-size-n"),
        *("--spec-ngram-map-k-size-m", "--spec-ngram-map-k-min-hits", "--spec-ngram-map-k4v-size-n"),
        *("--spec-ngram-map-k4v-size-m", "--spec-ngram-map-k4v-min-hits"),
    }
)
MLX: Final = frozenset(
    {
        *(
            "--temp",
            "--top-p",
            "--top-k",
            "--min-p",
            "--max-tokens",
            "--chat-template-args",
            "--decode-concurrency",
        ),
        *(
            "--prompt-concurrency",
            "--prefill-step-size",
            "--prompt-cache-size",
            "--prompt-cache-bytes",
            "--kv-bits",
        ),
        *("--kv-group-size", "--quantized-kv-start", "--use-default-chat-template", "--num-draft-tokens"),
    }
)
VLLM: Final = frozenset(
    {
        *(
            "--dtype",
            "--quantization",
            "-q",
            "--gpu-memory-utilization",
            "--max-num-seqs",
            "--seed",
            "--kv-cache-dtype",
        ),
        *("--max-num-batched-tokens", "--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp"),
        *("--enable-prefix-caching", "--no-enable-prefix-caching", "--enforce-eager", "--swap-space"),
        *("--cpu-offload-gb", "--block-size", "--enable-auto-tool-choice", "--tool-call-parser"),
        *("--reasoning-parser", "--generation-config", "--enable-chunked-prefill"),
    }
)


EVERY_ENGINE: Final = LLAMA_CPP | MLX | VLLM
"""What may be set while it is not known which engine will run a model."""


def check_arguments(args: Sequence[str], allowed: Collection[str], engine: str) -> None:
    """Raise BadRequest, which names it, for the first argument that a user may not give to this engine.

    Each argument that begins with a dash has to be allowed, as `--flag`, or `--flag=value`; all else is the value of
    the one before it. So nothing can be taken for an option by the engine that was not seen as one here.
    """
    if len(args) > ARGUMENTS_MAX or any(len(arg) > ARGUMENT_MAX or "\0" in arg for arg in args):
        raise BadRequest(f"args: more than {ARGUMENTS_MAX} arguments, or one that is too long.", param="args")
    may_be_value = False
    for arg in args:
        flag = arg.partition("=")[0] if arg.startswith("--") else arg
        if not arg.startswith("-") or _NUMBER.match(arg):
            if not may_be_value:
                raise BadRequest(
                    f'args: "{sanitize(arg, _SHOWN)}" follows no option.',
                    'Write each option and its value as two texts, such as "--temp", "0.6".',
                    param="args",
                )
            may_be_value = False
            continue
        if flag not in allowed:
            raise _refused(flag, engine)
        may_be_value = "=" not in arg


def in_two(args: Sequence[str]) -> tuple[str, ...]:
    """Return checked arguments with `--flag=value` as two, for an engine that knows no other form."""
    parts: list[str] = []
    for arg in args:
        flag, sign, value = arg.partition("=")
        parts += [flag, value] if sign and arg.startswith("--") else [arg]
    return tuple(parts)


def _refused(flag: str, engine: str) -> BadRequest:
    shown = sanitize(flag, _SHOWN)
    if why := _SET_HERE.get(flag):
        return BadRequest(f"args: {shown} can't be set: {why}.", "Remove it.", param="args")
    return BadRequest(
        f"args: {shown} is not allowed with {engine}.",
        "Remove it. Allowed are options of sampling, cache, threads, memory and GPUs, not of files or networks.",
        param="args",
    )
