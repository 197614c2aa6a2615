"""Lines that set and unset environment variables, in the syntax of each shell.

Values may come from strangers (the name of a model): each is quoted so that the shell takes it as it stands.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Shell = Literal["sh", "fish", "powershell", "cmd"]

_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
"""All that PowerShell takes for a single quote."""
_NOT_FOR_CMD = re.compile('["%!\r\n]')
"""What no quoting keeps from cmd."""


def quoted(value: str, shell: Shell) -> str:
    """Return a value as one literal word of a shell; raises ValueError for what cmd can't hold."""
    match shell:
        case "sh":
            return "'" + value.replace("'", "'\\''") + "'"
        case "fish":
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case "powershell":
            return "'" + _POWERSHELL_QUOTES.sub(r"\1\1", value) + "'"
        case "cmd":
            if _NOT_FOR_CMD.search(value):
                raise ValueError(value)
            return value


def shell_lines(variables: Mapping[str, str], unset: Sequence[str], shell: Shell) -> list[str]:
    """Return the lines that unset some variables, and set others."""
    return [*(_unset(name, shell) for name in unset), *(_set(n, v, shell) for n, v in variables.items())]


def remark(text: str, shell: Shell) -> str:
    """Return a line that the shell skips."""
    return f"rem {text}" if shell == "cmd" else f"# {text}"


def _set(name: str, value: str, shell: Shell) -> str:
    match shell:
        case "sh":
            return f"export {name}={quoted(value, shell)}"
        case "fish":
            return f"set -gx {name} {quoted(value, shell)}"
        case "powershell":
            return f"$env:{name} = {quoted(value, shell)}"
        case "cmd":
            try:
                return f'set "{name}={quoted(value, shell)}"'
            except ValueError:
                return remark(f"{name} has a character that cmd can't take: set it in PowerShell.", shell)


def _unset(name: str, shell: Shell) -> str:
    match shell:
        case "sh":
            return f"unset {name}"
        case "fish":
            # To erase a universal variable would be for good, in every shell: an empty one hides it.
            return f"set -eg {name}; if set -qU {name}; set -gx {name}; end"
        case "powershell":
            return f"Remove-Item Env:{name} -ErrorAction Ignore"
        case "cmd":
            return f'set "{name}="'
