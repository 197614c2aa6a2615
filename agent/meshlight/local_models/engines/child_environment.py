"""The environment of an engine: what finds libraries, devices and folders, and nothing that is secret or ours."""

import re
from collections.abc import Mapping
from typing import Final

_NAMES: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP"),
        *("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "HF_HOME", "HF_HUB_CACHE", "GPU_DEVICE_ORDINAL"),
        *(
            "SYSTEMROOT",
            "SYSTEMDRIVE",
            "WINDIR",
            "COMSPEC",
            "PATHEXT",
            "USERPROFILE",
            "APPDATA",
            "LOCALAPPDATA",
        ),
        *("PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "COMMONPROGRAMFILES", "NUMBER_OF_PROCESSORS"),
        *("PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER", "HOMEDRIVE", "HOMEPATH"),
    }
)
_PREFIXES: Final = (
    *(
        "LC_",
        "LD_",
        "DYLD_",
        "CUDA_",
        "NVIDIA_",
        "HIP_",
        "HSA_",
        "ROCM_",
        "ROCR_",
        "GGML_",
        "VK_",
        "MESA_",
        "RADV_",
    ),
    *("AMD_", "ONEAPI_", "SYCL_", "ZE_", "OMP_", "KMP_", "OPENBLAS_", "MTL_", "METAL_", "VLLM_", "MLX_"),
)
"""Of loaders, GPUs and thread pools. Not LLAMA_ARG_*: those are arguments, which may open the network."""
_SECRET: Final = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH")
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for an engine: of `environ` what one needs, offline, and `extra`."""
    inherited = {name: value for name, value in environ.items() if _is_wanted(name.upper())}
    return inherited | _OFFLINE | dict(extra)


def _is_wanted(name: str) -> bool:
    return (name in _NAMES or name.startswith(_PREFIXES)) and not _SECRET.search(name)
