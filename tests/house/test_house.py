"""Rules of this repository that no other tool checks."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "agent" / "meshlight"
TESTS = ROOT / "tests"
SOURCES = sorted(
    file
    for folder in ("agent", "docs", "packaging", "tests", "web")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in {".py", ".js", ".css", ".html", ".md"} and "node_modules" not in file.parts
)

MIRRORED = (
    "api_client",
    "backends",
    "cli",
    "desktop",
    "domain",
    "gateway",
    "http_client",
    "local_models",
    "mesh",
    "peers",
    "service",
    "simulator",
    "storage",
)
"""Packages whose tests lie at the same path below `tests`; the other folders there test the product as a whole."""
FEW_STATEMENTS = 12
"""A module whose functions have no more statements together needs no test file: types, constants, one-liners."""
TESTED_ELSEWHERE = {
    "api_client/watcher": "desktop/tray/test_app_loop: through the tray, which follows it",
    "backends/field_checks": "mesh/test_backend_form: through what adds and changes backends",
    "cli/pairing_flow": "cli/test_pairing: through the command that runs it",
    "cli/service_client": "cli/test_status: through every command that asks the service",
    "cli/tray": "desktop/tray/test_app: the tray that it starts; the command needs a desktop",
    "cli/window": "desktop/window/test_window: the window that it starts; the command needs a desktop",
    "desktop/system/opener": "desktop/system/test_process: with the programs that it starts",
    "desktop/tray/dbus/status_item": "desktop/tray/dbus/test_tray: at a real session bus",
    "desktop/tray/pystray/toolkit": "desktop/tray/pystray/test_tray: through the tray that patches it",
    "desktop/window/launcher": "desktop/window/test_window: through the window that it starts",
    "domain/allowed_callers": "security/test_allowed: from outside, with hostile hosts and origins",
    "gateway/access/cors": "security/test_origins: from outside, with foreign origins",
    "gateway/control/app": "gateway/control/test_openapi_schema: every route that it joins",
    "gateway/inference/json_body": "gateway/inference/test_request_bodies: with the other bodies",
    "gateway/translation/answer_translator": "gateway/translation/anthropic/test_response: through its translators",
    "gateway/translation/anthropic/writer": "gateway/translation/anthropic/test_stream_builder_events",
    "gateway/translation/ollama/request": "gateway/translation/ollama/test_generate_chat: both ends of a request",
    "gateway/translation/ollama/writer": "gateway/translation/ollama/test_response: both ends of an answer",
    "gateway/translation/responses/api": "gateway/translation/responses/test_response: both ends of a request",
    "gateway/translation/responses/native": "clients/test_responses: with OpenAI's own client",
    "gateway/translation/responses/tools": "gateway/translation/responses/test_request",
    "gateway/translation/responses/writer": "gateway/translation/responses/test_response",
    "gateway/translation/tool_calls": "gateway/translation/test_carried_state: whose state it writes",
    "gateway/translation/responses/recording": "gateway/translation/responses/test_memory: with what it is kept in",
    "gateway/translation/turns": "gateway/translation/anthropic/test_request_history: a request's history",
    "gateway/translation/unknown_fields": "gateway/translation/anthropic/test_request",
    "peers/unpairing": "peers/test_manager: through the manager that unpairs",
    "service/access_keys": "gateway/control/test_keys: with the whole service",
    "service/machine": "gateway/control/test_settings: with the whole service",
    "service/settings_store": "service/test_process_reload: with the whole service",
    "service/watchdog": "desktop/test_supervisor_hanging_service: with the supervisor that it reports to",
    "service/wiring": "service/test_process: with the whole service",
    "simulator/backend_ai/errors": "simulator/backend_ai/test_manager: through the manager that sends them",
    "simulator/backend_ai/jwt_issuer": "simulator/backend_ai/test_service: through the service that checks them",
    "simulator/backend_ai/signature_check": "simulator/backend_ai/test_manager",
    "simulator/clouds/anthropic": "simulator/clouds/test_base: all clouds in one table",
    "simulator/clouds/errors": "simulator/clouds/test_base: all clouds in one table",
    "simulator/clouds/gemini": "simulator/clouds/test_base: all clouds in one table",
    "simulator/profile": "simulator/test_profiles: with the profiles it describes",
    "storage/node_identity": "storage/test_node_key: with the key that it stores",
}
"""Modules without a test file of their own: where their tests are, and why there."""


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    # Pieced together: this file is checked too.
    homes = tuple(f"/{name}/" for name in ("work", "root", "Users"))
    guilty = [file for file in SOURCES if any(home in file.read_text(encoding="utf-8") for home in homes)]
    assert guilty == []


def test_nothing_is_put_off() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    guilty = [file for file in SOURCES if any(mark in file.read_text(encoding="utf-8") for mark in marks)]
    assert guilty == []


def test_the_top_of_the_house_is_tidy() -> None:
    folders = {"agent", "docs", "icons", "packaging", "tests", "web"}
    files = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml"}
    made = {"dist", "build", "node_modules"}
    here = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith((".", "__"))}
    assert here - made <= folders | files


def test_every_test_file_is_named_after_a_module() -> None:
    """`tests/<package>/test_<module>[_<aspect>].py` tests `agent/meshlight/<package>/<module>.py`."""
    assert [name for name, module in modules_by_test_file().items() if module is None] == []


def test_every_module_has_a_test_file() -> None:
    untested = needs_tests() - set(modules_by_test_file().values())
    assert untested == set(TESTED_ELSEWHERE), "a module without tests, or an exception that is none any more"


def test_the_tests_that_stand_in_for_a_file_exist() -> None:
    files = {module: TESTS / f"{where.partition(':')[0]}.py" for module, where in TESTED_ELSEWHERE.items()}
    assert {module: str(file) for module, file in files.items() if not file.is_file()} == {}


def modules_by_test_file() -> dict[str, str | None]:
    """Return the module of each test file of the mirrored packages, None for one that is named after none."""
    found: dict[str, str | None] = {}
    for package in MIRRORED:
        for file in sorted((TESTS / package).rglob("test_*.py")):
            folder = file.parent.relative_to(TESTS)
            name = file.stem.removeprefix("test_")
            modules = [module.stem for module in (PACKAGE / folder).glob("*.py")]
            fitting = [m for m in modules if m.strip("_") == name or name.startswith(f"{m}_")]
            longest = max(fitting, key=len, default=None)
            found[file.relative_to(TESTS).as_posix()] = longest and (folder / longest).as_posix()
    return found


def needs_tests() -> set[str]:
    """Return the modules of the mirrored packages that do more than a handful of things."""
    return {
        file.relative_to(PACKAGE).with_suffix("").as_posix()
        for package in MIRRORED
        for file in (PACKAGE / package).rglob("*.py")
        if statements(ast.parse(file.read_text(encoding="utf-8"))) > FEW_STATEMENTS
    }


def statements(tree: ast.Module) -> int:
    """Count the statements inside of functions; docstrings and `...` are none."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(part): part for function in functions for node in function.body for part in ast.walk(node)}
    return sum(
        isinstance(part, ast.stmt)
        and not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in inside.values()
    )
