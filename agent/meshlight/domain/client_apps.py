"""The client apps that can use Meshlight: one table of facts about each, and by what its requests are recognised.

A fact that could not be confirmed in the app's own documentation or source, or by running it, is named in
`unconfirmed`. What is made of these facts, texts and settings, is in `app_recipes`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from meshlight.domain.text import sanitize_line

AppId = Literal[
    "claude",
    "codex",
    "cursor",
    "continue",
    "zed",
    "vscode",
    "open-webui",
    "aider",
    "opencode",
    "langchain",
    "openai-python",
    "openai-js",
    "curl",
]
Speaks = Literal["openai", "responses", "anthropic"]
"""OpenAI's chat completions, OpenAI's responses, or Anthropic's messages."""
Form = Literal["shell", "json", "toml", "yaml", "python", "javascript", "steps"]
"""The language of the text that sets the app up; `steps` is for people to do by hand."""
FileForm = Literal["json", "toml", "yaml", "env"]

_OPENAI_PYTHON: Final = ("openai/python", "asyncopenai/python")
_OPENAI_JS: Final = ("openai/js", "openai/node")
_MINIFIED: Final = re.compile(r"\A[\w$]{1,3}/js (?=\d)")
"""How OpenAI's JavaScript client calls itself in a program that was made small: its class lost its name."""


class ConfigFile(Struct, frozen=True, kw_only=True):
    """Where an app keeps its settings: below the home folder, or below the folder that `folder_variable` names."""

    form: FileForm
    path: str
    """With `/`, below the home folder."""
    windows: str = ""
    """The same below %APPDATA%, where it is another place there."""
    folder_variable: str = ""
    """The variable that names the folder of the file instead."""


class ClientApp(Struct, frozen=True, kw_only=True):
    """What is known of one client app."""

    id: AppId
    name: str
    speaks: Speaks
    form: Form
    docs: str
    """The page that says so."""
    variables: tuple[str, ...] = ()
    """The environment variables that it reads."""
    file: ConfigFile | None = None
    """None where it has none that another program should write."""
    context: int = 4_096
    """Tokens of context below which it does not work well."""
    needs_tools: bool = False
    """Whether it is of little use with a model that can't call tools."""
    fits: str = ""
    """Which models it works with: the rest of that sentence."""
    user_agents: tuple[str, ...] = ()
    """How the User-Agent of its requests begins, in small letters; empty where they can't be told from others."""
    shared_client: str = ""
    """Whose client it uses, where others use the same and only that is seen."""
    program: str = ""
    """The program that `meshlight launch` starts; empty where settings can't be given to one start alone."""
    arguments: tuple[str, ...] = ()
    """With which it is started when nobody gives others."""
    install: str = ""
    """How people install it."""
    note: str = ""
    """What people must know."""
    unconfirmed: str = ""
    """Which of these facts could not be confirmed: the end of a sentence."""


_CODING: Final = (
    "models that call tools, with 64k tokens of context; those below 14B parameters seldom manage."
)

APPS: Final[Mapping[str, ClientApp]] = {
    app.id: app
    for app in (
        ClientApp(
            id="claude",
            name="Claude Code",
            speaks="anthropic",
            form="shell",
            docs="https://code.claude.com/docs/en/env-vars",
            variables=(
                "ANTHROPIC_BASE_URL",
                "ANTHROPIC_AUTH_TOKEN",
                "ANTHROPIC_API_KEY",
                "ANTHROPIC_MODEL",
                "ANTHROPIC_DEFAULT_OPUS_MODEL",
                "ANTHROPIC_DEFAULT_SONNET_MODEL",
                "ANTHROPIC_DEFAULT_HAIKU_MODEL",
                "ANTHROPIC_SMALL_FAST_MODEL",
            ),
            file=ConfigFile(form="json", path=".claude/settings.json", folder_variable="CLAUDE_CONFIG_DIR"),
            context=32_768,
            needs_tools=True,
            fits=_CODING,
            user_agents=("claude-cli/", "claude-code/"),
            program="claude",
            install="npm install -g @anthropic-ai/claude-code",
        ),
        ClientApp(
            id="codex",
            name="Codex",
            speaks="responses",
            form="toml",
            docs="https://developers.openai.com/codex/config-sample",
            file=ConfigFile(form="toml", path=".codex/config.toml", folder_variable="CODEX_HOME"),
            context=32_768,
            needs_tools=True,
            fits=_CODING,
            user_agents=("codex",),
            program="codex",
            install="npm install -g @openai/codex",
        ),
        ClientApp(
            id="cursor",
            name="Cursor",
            speaks="openai",
            form="steps",
            docs="https://ngrok.com/docs/gateway/examples/cursor-local-llm",
            context=16_384,
            fits="chat models, in its Ask and Plan modes; its agent and Tab keep to Cursor's own.",
            note="Cursor sends each request through its own servers, which can't reach an address of this machine: "
            "it needs a public https address that you make yourself (a tunnel, and its host in allowed_hosts), and "
            "its paid plan. Until then this does not work.",
            unconfirmed="all of this by a page of Cursor itself. Some gateways report that it sends bodies in the "
            "shape of OpenAI's responses to the path of chat completions, which backends refuse.",
        ),
        ClientApp(
            id="continue",
            name="Continue",
            speaks="openai",
            form="yaml",
            docs="https://docs.continue.dev/customize/model-providers/top-level/openai",
            context=8_192,
            fits="any chat model; agent mode wants one that calls tools.",
            user_agents=_OPENAI_JS,
            shared_client="OpenAI's JavaScript client",
            unconfirmed="that its editors' requests call themselves as those of its command line do.",
        ),
        ClientApp(
            id="zed",
            name="Zed",
            speaks="openai",
            form="json",
            docs="https://zed.dev/docs/ai/use-api-access",
            variables=("MESHLIGHT_API_KEY",),
            file=ConfigFile(form="json", path=".config/zed/settings.json", windows="Zed/settings.json"),
            context=16_384,
            fits="any chat model; its agent wants one that calls tools.",
            user_agents=("zed/",),
            note="Zed keeps keys in the system's keychain, not in its settings: paste the key once. "
            "MESHLIGHT_API_KEY in its environment goes first.",
        ),
        ClientApp(
            id="vscode",
            name="VS Code",
            speaks="openai",
            form="json",
            docs="https://code.visualstudio.com/docs/agent-customization/language-models",
            context=32_768,
            needs_tools=True,
            fits=_CODING,
            user_agents=("githubcopilotchat/",),
            note="It needs VS Code 1.122 or newer, but no GitHub account. Its Ollama provider is deprecated and "
            "sends no key, so it works only with require_key = false; a Custom Endpoint sends one.",
            unconfirmed="that its requests for other endpoints call themselves GitHubCopilotChat.",
        ),
        ClientApp(
            id="open-webui",
            name="Open WebUI",
            speaks="openai",
            form="shell",
            docs="https://docs.openwebui.com/reference/env-configuration/",
            variables=(
                "OPENAI_API_BASE_URL",
                "OPENAI_API_BASE_URLS",
                "OPENAI_API_KEY",
                "OPENAI_API_KEYS",
                "ENABLE_OLLAMA_API",
                "ENABLE_PERSISTENT_CONFIG",
            ),
            file=ConfigFile(form="env", path=""),
            fits="any chat model; it lists them all.",
            user_agents=("python/",),
            shared_client="a Python program with aiohttp",
            program="open-webui",
            arguments=("serve",),
            install="pip install open-webui",
            note="After its first start it keeps connections in its database: "
            "ENABLE_PERSISTENT_CONFIG=False makes it read these again.",
        ),
        ClientApp(
            id="aider",
            name="aider",
            speaks="openai",
            form="shell",
            docs="https://aider.chat/docs/llms/openai-compat.html",
            variables=(
                "AIDER_OPENAI_API_BASE",
                "AIDER_OPENAI_API_KEY",
                "AIDER_MODEL",
                "AIDER_SHOW_MODEL_WARNINGS",
            ),
            file=ConfigFile(form="yaml", path=".aider.conf.yml"),
            context=16_384,
            fits="models for code, with 16k tokens of context; it needs no tools.",
            user_agents=_OPENAI_PYTHON,
            shared_client="OpenAI's Python client",
            program="aider",
            install="python -m pip install aider-install && aider-install",
        ),
        ClientApp(
            id="opencode",
            name="opencode",
            speaks="openai",
            form="json",
            docs="https://opencode.ai/docs/config/",
            variables=("OPENCODE_CONFIG_CONTENT",),
            file=ConfigFile(form="json", path=".config/opencode/opencode.json"),
            context=32_768,
            needs_tools=True,
            fits=_CODING,
            user_agents=("opencode/",),
            program="opencode",
            install="npm install -g opencode-ai",
        ),
        ClientApp(
            id="langchain",
            name="LangChain",
            speaks="openai",
            form="python",
            docs="https://docs.langchain.com/oss/python/integrations/chat/openai",
            fits="any chat model.",
            user_agents=_OPENAI_PYTHON,
            shared_client="OpenAI's Python client",
        ),
        ClientApp(
            id="openai-python",
            name="OpenAI Python",
            speaks="openai",
            form="python",
            docs="https://github.com/openai/openai-python",
            variables=("OPENAI_BASE_URL", "OPENAI_API_KEY"),
            fits="any model.",
            user_agents=_OPENAI_PYTHON,
            shared_client="OpenAI's Python client",
        ),
        ClientApp(
            id="openai-js",
            name="OpenAI JS",
            speaks="openai",
            form="javascript",
            docs="https://github.com/openai/openai-node",
            variables=("OPENAI_BASE_URL", "OPENAI_API_KEY"),
            fits="any model.",
            user_agents=_OPENAI_JS,
            shared_client="OpenAI's JavaScript client",
        ),
        ClientApp(
            id="curl",
            name="curl",
            speaks="openai",
            form="shell",
            docs="https://curl.se/docs/manpage.html",
            fits="any model.",
            user_agents=("curl/",),
        ),
    )
}


def apps_of(user_agent: bytes) -> Sequence[AppId]:
    """Return the ids of the apps whose requests call themselves so; several where they use the same client."""
    name = _MINIFIED.sub("openai/js ", user_agent[:200].decode("latin-1").lower(), count=1)
    return [app.id for app in APPS.values() if name.startswith(app.user_agents)] if name else []


def caller_name(user_agent: bytes, limit: int) -> str:
    """Return what to call the program whose requests call themselves so, safe to show; empty for no name.

    That is the app in the table, or the client that several apps use; of others their own word, without its version.
    """
    apps = [APPS[app] for app in apps_of(user_agent)]
    if apps:
        return apps[0].shared_client or apps[0].name
    return sanitize_line(user_agent[:limit].partition(b"/")[0].decode("utf-8", "replace"), limit)
