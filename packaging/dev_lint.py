"""Checks of what only runs elsewhere: the workflows, and the property lists of the app for macOS."""

from __future__ import annotations

import subprocess

import dev_macos
import dev_venv
from dev_venv import ROOT, VENV

GITHUB = ROOT / ".github"
SCHEMAS = {
    "vendor.github-workflows": sorted(GITHUB.glob("workflows/*.yml")),
    "vendor.github-issue-forms": sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml")),
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
}


def fault() -> str | None:
    """Return what is wrong, None when all is well."""
    folder = dev_venv.python_of(VENV).parent
    commands = [
        [str(folder / "check-jsonschema"), "--builtin-schema", schema, *map(str, files)]
        for schema, files in SCHEMAS.items()
    ]
    # Finds actions that are not pinned by hash, too many permissions, and text of strangers in a script.
    commands.append([str(folder / "zizmor"), "--offline", "--no-progress", "--quiet", str(GITHUB)])
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT,
            env=dev_venv.environment(VENV),
        )
        for command in commands
    ]  # fmt: skip
    outputs = [(process.communicate()[0], process.returncode) for process in running]
    faults = [output.strip() or f"exit code {code}" for output, code in outputs if code != 0]
    return "\n".join([*faults, dev_macos.lint() or ""]).strip() or None
