"""What sets a client app up for Meshlight: its variables, its settings, and a text that people can paste."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from meshlight.domain.client_apps import APPS, ClientApp
from meshlight.domain.shell_lines import Shell, quoted, shell_lines

PROVIDER: Final = "meshlight"
"""The name under which Meshlight stands in the settings of apps."""
KEY_VARIABLE: Final = "MESHLIGHT_API_KEY"
"""Holds the local key for an app that is told the name of a variable. Zed makes this name from the provider's."""
_UNKNOWN_CONTEXT: Final = 32_768


class Access(Struct, frozen=True, kw_only=True):
    """By what an app reaches the service, and the model that it uses."""

    url: str
    """Without `/v1`."""
    key: str
    model: str
    context: int | None = None
    """Tokens of the model's context, where known."""
    has_claude: bool = False
    """Whether the mesh serves Claude models, so that Claude Code may keep its own names for them."""

    @property
    def openai_url(self) -> str:
        """The base URL of OpenAI's clients."""
        return f"{self.url}/v1"

    @property
    def keeps_claude_names(self) -> bool:
        """Whether Claude Code may ask for its models by its own names."""
        return self.has_claude and self.model.startswith("claude-")


class Variables(Struct, frozen=True):
    """Environment variables to set, and to unset."""

    values: Mapping[str, str]
    unset: tuple[str, ...] = ()


class Recipe(Struct, frozen=True, kw_only=True):
    """A text that sets an app up, and where it goes."""

    place: str
    text: str


Settings = dict[str, object]
"""Values to merge into an app's settings, table by table."""


def openai_variables(url: str, key: str) -> Variables:
    """Return what OpenAI's clients read."""
    return Variables({"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key})


def anthropic_variables(url: str, key: str, model: str = "") -> Variables:
    """Return what Anthropic's clients and Claude Code read; with a model, it stands for all of Anthropic's."""
    values = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": key}
    names = (
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",  # the older name of the last one
    )
    if model:
        values |= dict.fromkeys(names, model)
    return Variables(values, ("ANTHROPIC_API_KEY",))


def ollama_variables(url: str, key: str) -> Variables:
    """Return what Ollama's clients read; the user's own `ollama` reads them too."""
    return Variables({"OLLAMA_HOST": url, "OLLAMA_API_KEY": key})


def variables_for(app: ClientApp, access: Access) -> Variables:
    """Return the variables with which `meshlight launch` starts an app."""
    return _VARIABLES[app.id](access)


def arguments_for(app: ClientApp, access: Access) -> list[str]:
    """Return the arguments that an app needs beside its variables. They hold no key: others can read them."""
    if app.id != "codex":
        return []
    provider = f"model_providers.{PROVIDER}"
    settings = {
        "model": access.model,
        "model_provider": PROVIDER,
        f"{provider}.name": "Meshlight",
        f"{provider}.base_url": access.openai_url,
        f"{provider}.env_key": KEY_VARIABLE,
        f"{provider}.wire_api": "responses",
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={_text(value)}")]


def private_settings(app: ClientApp, access: Access) -> tuple[str, Settings] | None:
    """Return settings that an app takes as a file, and the argument that names it.

    Claude Code's own settings file goes before variables, so that those alone might be lost.
    """
    return ("--settings", _claude_settings(access)) if app.id == "claude" else None


def settings_for(app: ClientApp, access: Access) -> Settings:
    """Return what `meshlight launch --config` merges into an app's file; empty for one without such a file."""
    make = _SETTINGS.get(app.id)
    return {} if make is None else make(access)


def recipe_for(app: ClientApp, access: Access, shell: Shell) -> Recipe:
    """Return the text that sets an app up, for people to paste."""
    return _RECIPES[app.id](access, shell)


def _text(value: object) -> str:
    """Return a value as JSON, which is also a string of TOML, YAML, Python and JavaScript."""
    return json.dumps(value, ensure_ascii=False)


def _json(settings: object) -> str:
    return json.dumps(settings, ensure_ascii=False, indent=2)


def _claude_variables(access: Access) -> Variables:
    model = "" if access.keeps_claude_names else access.model
    return anthropic_variables(access.url, access.key, model)


def _claude_settings(access: Access) -> Settings:
    # An empty key of a parent process is as good as none.
    return {"env": {**_claude_variables(access).values, "ANTHROPIC_API_KEY": ""}}


def _codex_settings(access: Access) -> Settings:
    return {
        "model": access.model,
        "model_provider": PROVIDER,
        "model_providers": {
            PROVIDER: {
                "name": "Meshlight",
                "base_url": access.openai_url,
                "wire_api": "responses",
                "experimental_bearer_token": access.key,
            }
        },
    }


def _opencode_settings(access: Access, key: str = "") -> Settings:
    model = f"{PROVIDER}/{access.model}"
    limit = {} if access.context is None else {"limit": {"context": access.context, "output": 8_192}}
    return {
        "$schema": "https://opencode.ai/config.json",
        "provider": {
            PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Meshlight",
                "options": {"baseURL": access.openai_url, "apiKey": key or access.key},
                "models": {access.model: {"name": access.model, **limit}},
            }
        },
        "model": model,
        "small_model": model,
    }


def _zed_settings(access: Access) -> Settings:
    model = {
        "name": access.model,
        "display_name": access.model,
        "max_tokens": access.context or _UNKNOWN_CONTEXT,
    }
    provider = {"api_url": access.openai_url, "available_models": [model]}
    return {"language_models": {"openai_compatible": {"Meshlight": provider}}}


def _aider_variables(access: Access) -> Variables:
    return Variables(
        {
            # OPENAI_API_BASE would lose against its settings file.
            "AIDER_OPENAI_API_BASE": access.openai_url,
            "AIDER_OPENAI_API_KEY": access.key,
            "AIDER_MODEL": f"openai/{access.model}",
            # It asks at each start about a model that is not in its own list.
            "AIDER_SHOW_MODEL_WARNINGS": "False",
        }
    )


def _aider_settings(access: Access) -> Settings:
    return {
        "model": f"openai/{access.model}",
        "openai-api-base": access.openai_url,
        "openai-api-key": access.key,
        "show-model-warnings": False,
    }


def _open_webui_variables(access: Access) -> Variables:
    return Variables(
        {
            "OPENAI_API_BASE_URL": access.openai_url,
            "OPENAI_API_KEY": access.key,
            "ENABLE_OLLAMA_API": "False",
            "ENABLE_PERSISTENT_CONFIG": "False",
        },
        ("OPENAI_API_BASE_URLS", "OPENAI_API_KEYS"),  # lists, which it would prefer
    )


_VARIABLES: Final[Mapping[str, Callable[[Access], Variables]]] = {
    "claude": _claude_variables,
    "codex": lambda access: Variables({KEY_VARIABLE: access.key}),
    "opencode": lambda access: Variables(
        {
            "OPENCODE_CONFIG_CONTENT": json.dumps(_opencode_settings(access, f"{{env:{KEY_VARIABLE}}}")),
            KEY_VARIABLE: access.key,
        }
    ),
    "aider": _aider_variables,
    "open-webui": _open_webui_variables,
}
_SETTINGS: Final[Mapping[str, Callable[[Access], Settings]]] = {
    "claude": _claude_settings,
    "codex": _codex_settings,
    "opencode": _opencode_settings,
    "zed": _zed_settings,
    "aider": _aider_settings,
    "open-webui": lambda access: dict(_open_webui_variables(access).values),
}


def _start(app: str, shell: Shell) -> str:
    """Return the variables' recipe of an app that a shell starts."""
    program = " ".join((APPS[app].program, *APPS[app].arguments))
    return f"Paste it into a terminal ({shell}); it starts {program} with these settings."


def _shell_recipe(app: str) -> Callable[[Access, Shell], Recipe]:
    def make(access: Access, shell: Shell) -> Recipe:
        found = _VARIABLES[app](access)
        program = " ".join((APPS[app].program, *APPS[app].arguments))
        lines = [*shell_lines(found.values, found.unset, shell), program]
        return Recipe(place=_start(app, shell), text="\n".join(lines))

    return make


def _codex_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    provider = f"[model_providers.{PROVIDER}]"
    lines = [
        f"model = {_text(access.model)}",
        f"model_provider = {_text(PROVIDER)}",
        "",
        provider,
        'name = "Meshlight"',
        f"base_url = {_text(access.openai_url)}",
        'wire_api = "responses"',
        f"experimental_bearer_token = {_text(access.key)}",
    ]
    return Recipe(
        place="~/.codex/config.toml: the first two lines at its beginning, the rest at its end.",
        text="\n".join(lines),
    )


def _cursor_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    lines = [
        f"OpenAI API Key: {access.key}",
        f"Override OpenAI Base URL: https://YOUR-PUBLIC-ADDRESS/v1, which leads to {access.openai_url}",
        f"Add model: {access.model}",
    ]
    return Recipe(place="Cursor Settings → Models → API Keys.", text="\n".join(lines))


def _continue_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    lines = [
        "name: Meshlight",
        "version: 0.0.1",
        "schema: v1",
        "models:",
        f"  - name: {_text(access.model)}",
        "    provider: openai",
        f"    model: {_text(access.model)}",
        f"    apiBase: {_text(access.openai_url)}",
        f"    apiKey: {_text(access.key)}",
    ]
    return Recipe(
        place="~/.continue/config.yaml; if it has a `models:` list already, add the last five lines to it.",
        text="\n".join(lines),
    )


def _zed_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    return Recipe(
        place="Zed's settings.json (“zed: open settings”). "
        "The key goes into “agent: open settings” → LLM Providers → Meshlight.",
        text=_json(_zed_settings(access)),
    )


def _vscode_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    context = access.context or _UNKNOWN_CONTEXT
    output = min(8_192, context // 4)
    model = {
        "id": access.model,
        "name": access.model,
        "url": f"{access.openai_url}/chat/completions",
        "toolCalling": True,
        "vision": False,
        "maxInputTokens": context - output,
        "maxOutputTokens": output,
    }
    provider = {"name": "Meshlight", "vendor": "customendpoint", "apiType": "chat-completions"}
    return Recipe(
        place="“Chat: Manage Language Models” → Add Models → Custom Endpoint, with the key and Chat Completions. "
        "The file that opens then is to have this; keep the line with apiKey that is there.",
        text=_json([{**provider, "models": [model]}]),
    )


def _opencode_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    return Recipe(place="~/.config/opencode/opencode.json", text=_json(_opencode_settings(access)))


def _langchain_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    lines = [
        "from langchain_openai import ChatOpenAI",
        "",
        "llm = ChatOpenAI(",
        f"    model={_text(access.model)},",
        f"    base_url={_text(access.openai_url)},",
        f"    api_key={_text(access.key)},",
        ")",
        'print(llm.invoke("Say hello.").content)',
    ]
    return Recipe(place="Needs: pip install langchain-openai", text="\n".join(lines))


def _openai_python_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    lines = [
        "from openai import OpenAI",
        "",
        f"client = OpenAI(base_url={_text(access.openai_url)}, api_key={_text(access.key)})",
        "answer = client.chat.completions.create(",
        f"    model={_text(access.model)},",
        '    messages=[{"role": "user", "content": "Say hello."}],',
        ")",
        "print(answer.choices[0].message.content)",
    ]
    return Recipe(place="Needs: pip install openai", text="\n".join(lines))


def _openai_js_recipe(access: Access, shell: Shell) -> Recipe:  # noqa: ARG001 - one signature for all
    lines = [
        'import OpenAI from "openai";',
        "",
        "const client = new OpenAI({",
        f"  baseURL: {_text(access.openai_url)},",
        f"  apiKey: {_text(access.key)},",
        "});",
        "const answer = await client.chat.completions.create({",
        f"  model: {_text(access.model)},",
        '  messages: [{ role: "user", content: "Say hello." }],',
        "});",
        "console.log(answer.choices[0].message.content);",
    ]
    return Recipe(place="Needs: npm install openai", text="\n".join(lines))


def _curl_recipe(access: Access, shell: Shell) -> Recipe:
    if shell == "cmd":
        shell = "powershell"  # cmd has no quotes that hold JSON
    program, more = ("curl.exe", "`") if shell == "powershell" else ("curl", "\\")
    body = json.dumps({"model": access.model, "messages": [{"role": "user", "content": "Say hello."}]})
    if shell == "powershell":
        # Before version 7.3 it takes the double quotes out of an argument.
        return Recipe(
            place="Paste it into PowerShell.",
            text=f"{quoted(body, shell)} | {program} -s {access.openai_url}/chat/completions {more}\n"
            f"  -H 'Authorization: Bearer {access.key}' {more}\n"
            "  -H 'Content-Type: application/json' -d '@-'",
        )
    return Recipe(
        place="Paste it into a terminal.",
        text=f"{program} {access.openai_url}/chat/completions {more}\n"
        f"  -H 'Authorization: Bearer {access.key}' {more}\n"
        f"  -H 'Content-Type: application/json' {more}\n"
        f"  -d {quoted(body, shell)}",
    )


_RECIPES: Final[Mapping[str, Callable[[Access, Shell], Recipe]]] = {
    "claude": _shell_recipe("claude"),
    "codex": _codex_recipe,
    "cursor": _cursor_recipe,
    "continue": _continue_recipe,
    "zed": _zed_recipe,
    "vscode": _vscode_recipe,
    "open-webui": _shell_recipe("open-webui"),
    "aider": _shell_recipe("aider"),
    "opencode": _opencode_recipe,
    "langchain": _langchain_recipe,
    "openai-python": _openai_python_recipe,
    "openai-js": _openai_js_recipe,
    "curl": _curl_recipe,
}
