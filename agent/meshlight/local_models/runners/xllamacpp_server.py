"""Runs the server of the package `xllamacpp`: a program of its own.

`python -I -S xllamacpp_server.py FOLDER JSON` with the key in LLAMA_API_KEY: FOLDER is where the package is
installed, JSON what `xllamacpp.py` asks for. Without JSON it lists the devices, as JSON. Imports nothing of ours: it
has to be quick.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

KEY = "LLAMA_API_KEY"
LAST_WORDS_S = 0.4
"""What its log thread gets to write why it failed; at the end of the process it would be cut off."""


def main(argv: Sequence[str]) -> int:
    """Run until the process is ended; returns 1 if the model can't be loaded, after the server's own words."""
    sys.path.append(argv[0])
    library: Any = importlib.import_module("xllamacpp")  # only now it can be found
    if len(argv) == 1:
        print(json.dumps(_devices(library)))  # noqa: T201 - its answer
        return 0
    asked = json.loads(argv[1])
    try:
        server = library.Server(parameters(library, asked, os.environ.pop(KEY)))
    except RuntimeError as error:
        time.sleep(LAST_WORDS_S)
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the service reads it
        return 1
    del asked
    threading.Event().wait()  # a signal ends it
    del server
    return 0


def parameters(library: Any, asked: Mapping[str, Any], key: str) -> Any:
    """Return `CommonParams` for what is asked for; raises AttributeError for a version without one that matters."""
    params = library.CommonParams()
    params.model.path = asked["model"]
    params.model_alias = {asked["alias"]}
    params.hostnames = [asked["host"]]
    params.port = asked["port"]
    params.api_keys = [key]
    params.n_ctx = asked["context"]
    params.n_parallel = 4
    params.kv_unified = True
    params.ui = False
    params.offline = True
    with suppress(AttributeError):
        params.cache_ram_mib = asked["cache_ram_mib"]
    if asked["purpose"] != "chat":
        params.embedding = True
        params.n_batch = params.n_ubatch = asked["context"]
    if asked["purpose"] == "rerank":
        params.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if asked["projector"]:
        params.mmproj.path = asked["projector"]
    for where, value in asked["set"].items():
        *parts, last = where.split(".")
        holder = params
        for part in parts:
            holder = getattr(holder, part)
        if isinstance(value, list):  # the name of an enumeration, and of its member
            value = getattr(getattr(library, value[0]), value[1])  # noqa: PLW2901
        setattr(holder, last, value)
    return params


def _devices(library: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{device['name']}: {device['description']}",
            "total_bytes": device["memory_total"],
            "free_bytes": device["memory_free"],
        }
        for device in library.get_device_info()
        if "GPU" in str(device["type"])
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
