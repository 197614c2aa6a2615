"""Import the compiled modules of the Meshlight that is installed for this Python, wherever that is.

Fails where Python takes another file, and where none is compiled for it, unless there is the word `--may-be-none`.
"""

import importlib
import sys
import sysconfig
from pathlib import Path

import meshlight

site = Path(meshlight.__file__).parents[1]
suffix = sysconfig.get_config_var("EXT_SUFFIX")
files = sorted(site.glob(f"meshlight/**/*{suffix}"))
for file in files:
    name = ".".join(file.relative_to(site).parts).removesuffix(suffix)
    taken = importlib.import_module(name).__file__
    if taken is None or Path(taken) != file:
        sys.exit(f"{name} is {taken}, not {file}")
if not files and "--may-be-none" not in sys.argv:
    sys.exit(f"no module is compiled for this Python: there is no *{suffix} in {site}")
print(f"{len(files)} compiled modules")
