"""The app for macOS: frozen, signed and notarised where the secrets are, packed as a .dmg."""

from __future__ import annotations

import base64
import os
import platform
import plistlib
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dev_frozen
import dev_project
from dev_venv import ROOT, Failure, tail

IDENTIFIER = "dev.meshlight"
ENTITLEMENTS = ROOT / "packaging" / "macos" / "entitlements.plist"
OLDEST = "11.0"
"""macOS 11: the first for Apple's own processors. There is no app for Intel: cryptography has no wheel for it."""
SIGNING = ("APPLE_CERTIFICATE", "APPLE_CERTIFICATE_PASSWORD")
"""A Developer ID certificate with its private key (PKCS #12, base64), and its password."""
NOTARISING = ("APPLE_ID", "APPLE_TEAM_ID", "APPLE_APP_PASSWORD")
CODE = frozenset({".so", ".dylib"})
KEYS = {
    "CFBundleDisplayName": str,
    "CFBundleShortVersionString": str,
    "CFBundleVersion": str,
    "CFBundleURLTypes": list,
    "LSMinimumSystemVersion": str,
    "LSUIElement": bool,
    "NSBonjourServices": list,
    "NSHighResolutionCapable": bool,
    "NSHumanReadableCopyright": str,
    "NSLocalNetworkUsageDescription": str,
}


def info_plist() -> dict[str, Any]:
    """Return what PyInstaller does not write into Info.plist by itself."""
    version = dev_project.version()
    return {
        "CFBundleDisplayName": dev_project.NAME,
        "CFBundleShortVersionString": version,
        "CFBundleVersion": version,
        "CFBundleURLTypes": [
            {
                "CFBundleURLName": IDENTIFIER,
                "CFBundleURLSchemes": ["meshlight"],
                "CFBundleTypeRole": "Viewer",
            }
        ],
        "LSMinimumSystemVersion": OLDEST,
        "LSUIElement": True,  # an icon in the menu bar, none in the Dock
        # Without these two, macOS 15 drops multicast DNS without a word.
        "NSBonjourServices": ["_meshlight._tcp"],
        "NSLocalNetworkUsageDescription": (
            "Meshlight finds your other machines and the language models on this network."
        ),
        "NSHighResolutionCapable": True,
        "NSHumanReadableCopyright": "The Meshlight authors, Apache-2.0",
    }


def lint() -> str | None:
    """Check both property lists as far as any system can; returns what is wrong."""
    faults = []
    plist = plistlib.loads(plistlib.dumps(info_plist()))
    for key, kind in KEYS.items():
        if not isinstance(plist.get(key), kind) or (kind is not bool and not plist[key]):
            faults.append(f"Info.plist: {key} is no {kind.__name__}, or empty.")
    faults += [f"Info.plist: {key} is not expected." for key in plist.keys() - KEYS.keys()]
    try:
        entitlements = plistlib.loads(ENTITLEMENTS.read_bytes())
    except plistlib.InvalidFileException as error:
        return "\n".join([*faults, f"{ENTITLEMENTS.name}: {error}"])
    faults += [
        f"{ENTITLEMENTS.name}: {key} is not true." for key, on in entitlements.items() if on is not True
    ]
    return "\n".join(faults) or None


def make(out: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Freeze, sign, notarise and pack; returns the .dmg in the folder `out`. Raises Failure."""
    fault = lint()
    if fault:
        raise Failure(fault)
    if platform.system() != "Darwin":
        raise Failure("the app is made on macOS only; its property lists are checked, and are well.")
    with tempfile.TemporaryDirectory(prefix="meshlight-app-") as folder:
        work = Path(folder)
        dev_frozen.build(work / "out", work)
        app = work / "out" / "Meshlight.app"
        sign(app, work, environ)
        print(dev_frozen.check(app / "Contents" / "MacOS" / "meshlight"))
        return _pack(app, work, out, environ)


def missing(names: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the secrets that are not there; an absent secret of a workflow is an empty variable."""
    return [name for name in names if not environ.get(name)]


def inside_out(app: Path) -> list[Path]:
    """Return what has to be signed, the innermost first: a signature covers what is inside (`--deep` is refused)."""
    libraries = [
        file
        for file in app.rglob("*")
        if file.is_file() and not file.is_symlink() and (file.suffix in CODE or file.name == "Python")
    ]
    return [*sorted(libraries, key=lambda file: (-len(file.parts), file)), app]


def sign(app: Path, work: Path, environ: Mapping[str, str]) -> None:
    """Sign the app, if there is a certificate; says so if not. Raises Failure."""
    lost = missing(SIGNING, environ)
    if lost:
        print(f"Not signed: {', '.join(lost)} is not set. macOS will ask before it opens this app.")
        return
    with _keychain(work, environ) as identity:
        for path in inside_out(app):
            more = ["--entitlements", str(ENTITLEMENTS)] if path == app else []
            _run(
                "codesign",
                "--force",
                "--timestamp",
                "--options",
                "runtime",
                *more,
                "--sign",
                identity,
                str(path),
            )
    _run("codesign", "--verify", "--strict", str(app))


@contextmanager
def _keychain(work: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Hold the certificate in a keychain of its own; yields the name of the identity."""
    keychain, password = str(work / "signing.keychain"), secrets.token_urlsafe()
    certificate = work / "certificate.p12"
    _run("security", "create-keychain", "-p", password, keychain)
    try:
        _run("security", "unlock-keychain", "-p", password, keychain)
        certificate.write_bytes(base64.b64decode(environ["APPLE_CERTIFICATE"]))
        certificate_password = environ["APPLE_CERTIFICATE_PASSWORD"]
        _run(
            "security", "import", str(certificate), "-k", keychain, "-P", certificate_password,
            "-T", "/usr/bin/codesign",
        )  # fmt: skip
        _run("security", "set-key-partition-list", "-S", "apple-tool:,apple:", "-s", "-k", password, keychain)
        _run("security", "list-keychains", "-d", "user", "-s", keychain, "login.keychain")
        found = _run("security", "find-identity", "-v", "-p", "codesigning", keychain)
        yield found.partition('"')[2].partition('"')[0]
    finally:
        certificate.unlink(missing_ok=True)
        _run("security", "delete-keychain", keychain)


def _pack(app: Path, work: Path, out: Path, environ: Mapping[str, str]) -> Path:
    """Make the .dmg, and let Apple notarise it if the secrets are there."""
    image = work / "image"
    image.mkdir()
    shutil.move(app, image / app.name)
    (image / "Applications").symlink_to("/Applications")
    out.mkdir(exist_ok=True)
    dmg = out / f"meshlight-{dev_project.version()}-macos-arm64.dmg"
    dmg.unlink(missing_ok=True)
    _run(
        "hdiutil",
        "create",
        "-volname",
        dev_project.NAME,
        "-srcfolder",
        str(image),
        "-format",
        "ULFO",
        str(dmg),
    )
    lost = missing((*SIGNING, *NOTARISING), environ)
    if lost:
        print(f"Not notarised: {', '.join(lost)} is not set.")
        return dmg
    said = _run(
        "xcrun", "notarytool", "submit", str(dmg), "--wait", "--apple-id", environ["APPLE_ID"],
        "--team-id", environ["APPLE_TEAM_ID"], "--password", environ["APPLE_APP_PASSWORD"],
    )  # fmt: skip
    if "status: Accepted" not in said:
        raise Failure(f"Apple did not notarise {dmg.name}:\n{tail(said)}")
    _run("xcrun", "stapler", "staple", str(dmg))
    return dmg


def _run(*command: str) -> str:
    """Run a tool of macOS; returns what it said. Its arguments may be secret and are told to nobody."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[:2])} failed:\n{tail(done.stdout + done.stderr)}")
    return done.stdout + done.stderr
