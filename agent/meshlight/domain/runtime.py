"""What the service leaves for those who look for it, once its port is bound: the runtime file."""

from msgspec import Struct


class Runtime(Struct, frozen=True, kw_only=True):
    """Where the running service is; the key itself is in the file that `key_file` names."""

    url: str
    pid: int
    instance: str
    """A random id of this start, part of its proof at `/healthz`; nobody else is told."""
    key_file: str
    version: str
