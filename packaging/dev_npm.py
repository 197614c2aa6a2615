"""The JavaScript tools that check the page: the exact versions that packaging/package.json names."""

from __future__ import annotations

import subprocess

import dev_venv
from dev_venv import ROOT, Failure, tail

HOME = ROOT / "packaging"
COMPILER = HOME / "node_modules" / "typescript" / "bin" / "tsc"
FORMATTER = HOME / "node_modules" / "prettier" / "bin" / "prettier.cjs"
FORMATTED = ("web", "tests/web/*.js")
"""What the formatter keeps in shape, as it takes it from the root; its rules are in .prettierrc.json."""


def ensure() -> None:
    """Make packaging/node_modules hold what package.json names. Raises Failure when npm is not here or cannot."""
    wanted = (HOME / "package.json").read_text(encoding="utf-8")
    stamp = HOME / "node_modules" / ".meshlight-stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    npm = dev_venv.tool("npm")  # its whole path: on Windows it is npm.cmd, which a bare name would not find
    if npm is None:
        raise Failure(
            "npm is not here, so the tools that check the page can't be installed: install Node.js."
        )
    print("Installing the tools that check the page …")
    words = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", "--prefix", str(HOME)]
    done = subprocess.run(
        [npm, *words], capture_output=True, text=True, errors="replace", check=False, cwd=HOME
    )
    if done.returncode != 0:
        raise Failure(
            f"npm could not install what packaging/package.json names:\n{tail(done.stdout + done.stderr)}"
        )
    stamp.write_text(wanted, encoding="utf-8")
