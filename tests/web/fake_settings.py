"""The settings of the fake service, with the same types as the real one's."""

from typing import Any

from msgspec import convert
from msgspec.structs import replace

from meshlight.domain.access_keys import AppKey, NewAppKey, RevealedKey
from meshlight.domain.config import DiscoverySettings
from meshlight.domain.rules import Routing, Rule
from meshlight.domain.settings_views import (
    AboutView,
    KeyringView,
    LanView,
    Licence,
    LoginView,
    ModelFoldersView,
    SettingsView,
    UpdateView,
)
from meshlight.gateway.control.keys import KeysView

KEY = "ml-" + "Zq7" * 13
SECRETS = "/home/you/.local/state/meshlight/secrets.json"
BAD_FOLDER = {
    "message": "local.folders[1]: there is no folder '/nowhere'. Create it, or correct the path.",
    "code": "invalid_request",
    "hint": "Create it, or correct the path.",
    "param": "local.folders[1]",
}


NO_KEYRING = {
    "message": "This system has no keyring that can be used. Install and unlock a keyring.",
    "code": "secret",
    "hint": "Install and unlock a keyring.",
    "param": None,
}


class FakeSettings:
    """What `/mesh/settings` and `/mesh/keys` answer, and change."""

    def __init__(self) -> None:
        self.view = SettingsView(
            name="studio",
            routing=Routing(),
            discovery=DiscoverySettings(),
            lan=LanView(visible=False, browse=True),
            local=ModelFoldersView(enabled=True, folder="", folders=("~/models",)),
            require_key=True,
            paused=False,
            key_storage="ask",
            asks_key_storage=False,
            notifications=True,
            keep_history=True,
            check_updates=False,
            can_check_updates=True,
            update=None,
            config_file="/home/you/.config/meshlight/config.toml",
            notices=(),
        )
        self.login = LoginView(
            on=False, can=True, text="Puts the icon into the tray at login, by the desktop's autostart."
        )
        self.keys: tuple[AppKey, ...] = (AppKey(id="a1", name="Zed on the laptop", made_at=0.0),)
        self.key = KEY
        self.has_keyring = True

    def lacks_keyring(self) -> bool:
        """Whether a key can't be stored; then the user is asked, unless the choice was made."""
        if self.has_keyring or self.view.key_storage == "file":
            return False
        self.view = replace(self.view, asks_key_storage=self.view.key_storage == "ask")
        return True

    def set_rules(self, *rules: Rule) -> None:
        """Replace the rules for models."""
        self.view = replace(self.view, routing=replace(self.view.routing, rules=rules))

    def answer(self, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
        """Answer a request below `/mesh`."""
        match [method, *parts]:
            case ["GET", "settings"]:
                return 200, self.view
            case ["PATCH", "settings"]:
                return self._change(sent)
            case ["GET", "settings", "keyring"]:
                return 200, self._keyring()
            case ["PATCH" | "GET", "settings", "login"]:
                if "on" in sent:
                    text = "The icon in the tray starts at login." if sent["on"] else self.login.text
                    self.login = replace(self.login, on=sent["on"], text=text)
                return 200, self.login
            case ["GET", "settings", "about"]:
                packages = tuple(
                    Licence(name=f"package-{n}", version="1.2.3", licence="MIT") for n in range(12)
                )
                return 200, AboutView(
                    version="0.1.0", python="3.11.2", licence="Apache-2.0", packages=packages
                )
        return self._answer_keys(method, parts, sent)

    def _answer_keys(self, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
        match [method, *parts]:
            case ["GET", "keys"]:
                return 200, KeysView(fixed_by="", keys=self.keys)
            case ["POST", "keys"]:
                self.keys = (*self.keys, AppKey(id="b2", name=sent["name"], made_at=0.0))
                return 201, NewAppKey(id="b2", name=sent["name"], key="ml-new-key-of-an-app")
            case ["DELETE", "keys", key_id]:
                self.keys = tuple(key for key in self.keys if key.id != key_id)
                return 204, {}
            case ["POST", "keys", "local", *more]:
                self.key = "ml-" + "n3w" * 13 if more else self.key
                return 200, RevealedKey(key=self.key)
        return 404, {"error": {"message": "No such thing.", "code": "not_found", "hint": ""}}

    def _keyring(self) -> KeyringView:
        if self.view.key_storage == "file":
            text = "Keys are kept in a file that only you can read."
            return KeyringView(is_file=True, ok=True, text=text, file=SECRETS)
        text = "This system has no keyring that can be used."
        fix = "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC)."
        return KeyringView(is_file=False, ok=False, text=text, fix=fix, file=SECRETS)

    def _change(self, sent: dict[str, Any]) -> tuple[int, object]:
        if "/nowhere" in sent.get("local", {}).get("folders", ()):
            return 400, {"error": BAD_FOLDER}
        if "rules" in sent.get("routing", {}):
            self.set_rules(*(convert(rule, Rule) for rule in sent["routing"]["rules"]))
            return 200, self.view
        for name, value in sent.items():
            old = getattr(self.view, name)
            new = replace(old, **value) if isinstance(value, dict) else value
            if name == "local":
                new = replace(new, folders=tuple(new.folders))
            if name == "check_updates":
                update = UpdateView(version="0.2.0", url="") if value else None
                self.view = replace(self.view, update=update)
            self.view = replace(self.view, **{name: new})
        self.view = replace(self.view, asks_key_storage=False)
        return 200, self.view
