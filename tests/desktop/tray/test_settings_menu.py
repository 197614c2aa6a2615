from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.settings_menu import (
    CHOOSE_STORAGE,
    OPEN_SETTINGS,
    OPEN_UPDATES,
    sign_in_notification,
    storage_notification,
)
from meshlight.desktop.tray.state import TrayState
from meshlight.domain.api_types import PendingSignIn


def actions(state: TrayState) -> dict[str, Action | None]:
    return {item.text: item.action for item in menu(None, state) if not item.is_separator}


def test_the_settings_are_in_the_menu_while_the_service_runs() -> None:
    assert actions(TrayState(service="running"))["Settings…"] == OPEN_SETTINGS
    assert actions(TrayState(service="stopped"))["Settings…"] is None


def test_a_browser_that_asks_stands_first_with_both_answers() -> None:
    state = TrayState(service="running", sign_in=PendingSignIn(code="0482", left_s=60))
    first, second, *_ = actions(state).items()
    assert first == ("Let the browser in (code 0482)…", Action("let-in", "0482"))
    assert second == ("Don't let it in", Action("turn-away", "0482"))
    assert not any("browser" in text for text in actions(TrayState(service="running")))
    assert "code 0482" in sign_in_notification(state.sign_in).body


def test_a_choice_to_make_and_a_newer_version_have_a_line_each() -> None:
    found = actions(TrayState(service="running", asks_key_storage=True, update="0.2.0\x1b[31m"))
    assert found["! Choose where keys are kept…"] == CHOOSE_STORAGE
    assert found["Version 0.2.0 is out"] == OPEN_UPDATES
    assert "no keyring" in storage_notification().body
