from pathlib import Path

import pytest
from msgspec import Struct

from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.config import (
    Config,
    DiscoverySettings,
    LanSettings,
    LocalModelSettings,
    LocalSettings,
)
from meshlight.domain.errors import BadAddress, ConfigError
from meshlight.domain.peers import Peer
from meshlight.domain.rules import Routing, Rule
from meshlight.storage.config.parser import BackendEntry, ConfigEntries, read_config
from storage.memory_storage import ring_for

CLUSTER = '[[backends]]\nkind = "cluster"\nurl = "https://box"\naccess_key = "AKIA1"\n'
ONE = '[[backends]]\nkind = "vllm"\nurl = "http://box:8000"\n'


def test_an_empty_file_means_the_defaults() -> None:
    assert read_config("", ring_for) == Config()
    assert read_config("# nothing but words\n\n", ring_for) == Config()


def test_a_backend_needs_a_kind_and_a_url_and_nothing_else() -> None:
    [backend] = read_config(ONE, ring_for).backends
    assert backend == Backend(id="box", name="box", kind="vllm", ring="lan", url="http://box:8000")


def test_the_ring_that_nobody_wrote_down_follows_from_kind_and_place() -> None:
    entry = '[[backends]]\nkind = "{}"\nurl = "http://127.0.0.1:8000"\n'
    assert read_config(entry.format("vllm"), ring_for).backends[0].ring == "machine"
    assert read_config(entry.format("openai"), ring_for).backends[0].ring == "cloud"
    assert read_config(entry.format("openai") + 'ring = "lan"', ring_for).backends[0].ring == "lan"


def test_what_a_cluster_needs_is_read() -> None:
    text = CLUSTER + 'ca_file = "/etc/ssl/ours.pem"\nfollow_clock = false'
    [backend] = read_config(text, ring_for).backends
    assert (backend.access_key, backend.ca_file, backend.follow_clock) == (
        "AKIA1",
        "/etc/ssl/ours.pem",
        False,
    )


def test_one_address_may_be_listed_for_each_of_its_accounts() -> None:
    text = (
        CLUSTER + CLUSTER.replace("AKIA1", "AKIA2") + '[[backends]]\nkind = "openai"\nurl = "https://x"\n' * 2
    )
    assert [backend.id for backend in read_config(text, ring_for).backends] == ["box", "box-2", "x", "x-2"]


def test_everything_that_can_be_set_is_read() -> None:
    text = """
        port = 7000
        name = "desk"
        require_key = false
        [discovery]
        enabled = false
        ignored = ["http://127.0.0.1:8080"]
        [routing]
        policy = "fastest"
        queue = false
        queue_s = 20
        [routing.aliases]
        "gpt-4" = "box/qwen"
        "claude-*" = ["qwen3-8b", "llama-3.3-70b"]
        [[routing.rules]]
        model = "llama-*"
        pin = ["box"]
        prefer = ["box", "other"]
        also = ["peer-3fa941c0"]
        bound = "lan"
        spill = "cloud"
        fallback = ["qwen3-8b"]
        [[backends]]
        id = "box"
        name = "GPU box"
        kind = "openai-compatible"
        url = "https://box/v1"
        ring = "company"
        enabled = false
        priority = -2
        slots = 4
        first_byte_s = 10
        idle_s = 2.5
        has_secret = true
    """
    assert read_config(text, ring_for) == Config(
        port=7000,
        name="desk",
        require_key=False,
        discovery=DiscoverySettings(enabled=False, ignored=("http://127.0.0.1:8080",)),
        routing=Routing(
            policy="fastest",
            queue=False,
            queue_s=20.0,
            aliases={"gpt-4": "box/qwen", "claude-*": ("qwen3-8b", "llama-3.3-70b")},
            rules=(
                Rule(
                    model="llama-*",
                    pin=("box",),
                    prefer=("box", "other"),
                    also=("peer-3fa941c0",),
                    bound="lan",
                    spill="cloud",
                    fallback=("qwen3-8b",),
                ),
            ),
        ),
        backends=(
            Backend(
                id="box",
                name="GPU box",
                kind="openai-compatible",
                ring="company",
                url="https://box/v1",
                enabled=False,
                priority=-2,
                slots=4,
                first_byte_s=10.0,
                idle_s=2.5,
                has_secret=True,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("port = 1\nfoo bar", 2, "line 2: this is not TOML: Expected '=' after a key"),
        ('port = 1\n\ntext = """\n\n', 3, "line 3: this is not TOML: Unterminated string."),
        ("a = 1\na = 2", 2, "line 2: this is not TOML: Cannot overwrite a value."),
        ('port = "x"', 1, "line 1: port must be a whole number, not text."),
        ("port = 70000", 1, "line 1: port must be at most 65535, not 70000."),
        ("port = true", 1, "line 1: port must be a whole number, not true or false."),
        ("name = 1979-05-27", 1, "line 1: name must be text in quotes, not a date"),
        ('require_key = "no"', 1, "line 1: require_key must be true or false, not text."),
        ('name = "a\\u0007"', 1, "line 1: name has a control character in it."),
        (f'name = "{"x" * 101}"', 1, "line 1: name is longer than 100 characters."),
        ("prot = 1", 1, "line 1: prot is unknown here; did you mean port?"),
        ("[[backend]]", 1, "line 1: backend is unknown here; did you mean backends?"),
        ("zzz = 1", 1, "line 1: zzz is unknown here; known: port, name,"),
        ('policy = "fastest"', 1, "line 1: policy is unknown here; it belongs under [routing]."),
        (ONE + "require_key = true", 4, "backends[0].require_key is unknown here; it belongs at the top"),
        ("[routing]\nqueue = 1", 2, "line 2: routing.queue must be true or false, not a whole number."),
        ("[routing]\nqueue_s = 0", 2, "line 2: routing.queue_s must be more than 0, not 0."),
        ("[[backends]]\nkind = 'vllm'\nurl = 'http://a'\nslots = 0", 4, "must be at least 1, not 0."),
        ('[routing]\npolicy = "slow"', 2, "line 2: routing.policy must be one of local-first, priority,"),
        ('[routing.aliases]\na = "b"\nc = 3', 3, "line 3: routing.aliases.c must be text in quotes"),
        (
            '[routing.aliases]\na = ["b"]\nc = ["d", 3]',
            3,
            "line 3: routing.aliases.c[1] must be text in quotes",
        ),
        ("[[routing.rules]]\nbound = 'lan'", 1, "line 1: routing.rules[0] needs model."),
        (
            "[[routing.rules]]\nmodel = 'x'\nbuond = 'lan'",
            3,
            "rules[0].buond is unknown here; did you mean bound?",
        ),
        ("[discovery]\nignored = 'x'", 2, "line 2: discovery.ignored must be a list, not text."),
        ("backends = 3", 1, "line 1: backends must be a list, not a whole number."),
        ("backends = [3]", 1, "line 1: backends[0] must be a table, not a whole number."),
        ("[[backends]]\nurl = 'http://x'", 1, "line 1: backends[0] needs kind: one of llamacpp, ollama,"),
        (
            ONE + 'ring = "wan"',
            4,
            "line 4: backends[0].ring must be one of machine, lan, company, cloud, not 'wan'.",
        ),
        (ONE + "first_byte_s = nan", 4, "line 4: backends[0].first_byte_s must be more than 0, not nan."),
        (ONE + "idle_s = inf", 4, "line 4: backends[0].idle_s must be at most 86400, not inf."),
        (
            ONE + "id = 'GPU box'",
            4,
            "line 4: backends[0].id must consist of small letters, digits and dashes",
        ),
        (ONE + "name = ' '", 4, "line 4: backends[0].name is empty; leave it out"),
        (ONE + ONE, 6, "line 6: backends[1].url is the same as backends[0].url in line 3."),
        (CLUSTER + CLUSTER, 7, "line 7: backends[1].url is the same as backends[0].url in line 3."),
        (ONE + 'ca_file = "a\\nb"', 4, "line 4: backends[0].ca_file has a control character in it."),
        (ONE + 'proxy = "off"', 4, 'line 4: backends[0].proxy is not "env", "none" or the URL of a proxy.'),
        (ONE + 'proxy = "socks5://p:1"', 4, "line 4: backends[0].proxy is not the URL of an HTTP proxy"),
        (ONE + 'proxy = "http://me:pw@p:1"', 4, "line 4: backends[0].proxy holds a user name or password"),
        (ONE + 'models = "a"', 4, "line 4: backends[0].models must be a list, not text."),
        (ONE + 'models = ["a", ""]', 4, "line 4: backends[0].models[1] is not the name of a model."),
        (
            ONE + "id = 'a'\n" + ONE.replace("8000", "1") + "id = 'a'",
            8,
            "line 8: backends[1].id is the same as backends[0].id in line 4.",
        ),
        ("[[backends]]\nkind = 'mlx'\nurl = 'box'", 3, "line 3: backends[0].url must begin with http"),
        ("x = " + "[" * 5000, None, "The configuration is nested too deeply."),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_key(text: str, line: int | None, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(text, ring_for)
    assert said in caught.value.title
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text", [ONE + 'api_key = "sk-canary"', 'token = "sk-canary"', ONE.replace("box", "me:sk-canary@box")]
)
def test_a_secret_in_the_file_is_refused_with_the_fix_and_never_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(text, ring_for)
    assert "secret" in caught.value.title
    assert "keyring" in caught.value.hint
    assert "MESHLIGHT_SECRET_" in caught.value.hint
    assert "canary" not in f"{caught.value.title} {caught.value.hint}"


def test_a_url_that_cannot_be_a_backends_is_refused_in_the_words_of_who_knows() -> None:
    def picky(_kind: Kind, url: str) -> Ring:
        raise BadAddress(f"{url} is a metadata address.", "Name another host.")

    with pytest.raises(ConfigError) as caught:
        read_config(ONE, picky)
    assert caught.value.title == (
        "line 3: backends[0].url can't be used: http://box:8000 is a metadata address."
    )
    assert caught.value.hint == "Name another host."
    with pytest.raises(ConfigError):
        read_config(ONE + 'ring = "lan"', picky)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('allowed_hosts = ["mesh.example", "http://mesh.example"]', "is a URL"),
        ('allowed_hosts = ["*"]', "would allow every name"),
        ('allowed_hosts = ["a b"]', "is not the name of a host"),
        ('allowed_hosts = "mesh.example"', "allowed_hosts"),
        ("allowed_hosts = [1]", "allowed_hosts"),
        ('allowed_origins = ["https://app.example/path"]', "is not an origin"),
        ('allowed_origins = ["null"]', "is the origin of every local file"),
        ('allowed_origins = ["*"]', "would allow every site"),
    ],
)
def test_a_host_or_an_origin_that_can_t_be_allowed_is_named_with_its_line(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(f'name = "Study"\n{line}\n', ring_for)
    assert caught.value.title.startswith("line 2: allowed_")
    assert said in caught.value.title


def test_the_settings_of_this_machines_models_are_read() -> None:
    text = """
[local]
folders = ["~/models"]
look_in = ["hub"]
runner = "llama-server"
memory = "12 GB"
context = 8192
[[local.models]]
id = "Qwen/Qwen3-8B-GGUF:Q4_K_M"
keep = true
args = ["--temp", "0.6"]
"""
    assert read_config(text, ring_for).local == LocalSettings(
        folders=("~/models",),
        look_in=("hub",),
        runner="llama-server",
        memory="12 GB",
        context=8192,
        models=(LocalModelSettings(id="Qwen/Qwen3-8B-GGUF:Q4_K_M", keep=True, args=("--temp", "0.6")),),
    )


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        ('memory = "much"', 2, "local.memory"),
        (
            'runner = "llamafile"',
            2,
            "must be one of auto, llama-server, xllamacpp, mlx, vllm, not 'llamafile'",
        ),
        ('context = "big"', 2, "must be one of auto, a number of tokens"),
        ("context = 12", 2, "must be at least 256"),
        ('look_in = ["ollama"]', 2, "must be one of own, folder, hub"),
        ('folder = "models"', 2, "must be a whole path"),
        ('folders = ["/a", "b"]', 2, "local.folders[1] must be a whole path"),
        ("idle_s = inf", 2, "must be at most"),
        ("max_loaded = 0", 2, "must be at least 1"),
        ("idel_s = 5", 2, "did you mean idle_s?"),
        ("[[local.models]]\nkeep = true", 2, "needs id"),
        ('[[local.models]]\nid = "a"\nkeeps = true', 4, "did you mean keep?"),
        ('[[local.models]]\nid = "a"\nidle_s = -1', 4, "must be from 0"),
        ('[[local.models]]\nid = "a"\n[[local.models]]\nid = "a"', 5, "is there twice"),
        ('[[local.models]]\nid = "a"\nargs = ["--host", "0.0.0.0"]', 4, "args"),
        ('[[backends]]\nkind = "local"\nurl = "http://x"', 3, "can't be local"),
        ('[[backends]]\nkind = "vllm"\nid = "this-machine"\nurl = "http://x"', 4, "Choose another"),
    ],
)
def test_what_is_wrong_with_them_is_said_with_its_line(lines: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        read_config(f"[local]\n{lines}\n", ring_for)
    assert said in f"{wrong.value.title} {wrong.value.hint}"
    assert wrong.value.line == line


def test_no_backend_takes_the_id_of_this_machines_models() -> None:
    text = '[[backends]]\nkind = "vllm"\nname = "This machine"\nurl = "http://127.0.0.1:8000"\n'
    assert read_config(text, ring_for).backends[0].id == "this-machine-2"


def test_the_lane_is_on_unless_it_is_switched_off() -> None:
    assert read_config("", ring_for).lane
    assert not read_config("lane = false\n", ring_for).lane


def test_hosts_and_origins_that_are_allowed_are_read() -> None:
    text = 'allowed_hosts = ["mesh.example", "*.lan"]\nallowed_origins = ["http://localhost:3000"]\n'
    config = read_config(text, ring_for)
    assert config.allowed_hosts == ("mesh.example", "*.lan")
    assert config.allowed_origins == ("http://localhost:3000",)


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("At the top, above the first table", ConfigEntries),
        ("`[routing]`", Routing),
        ("`[[routing.rules]]`", Rule),
        ("`[[backends]]`", BackendEntry),
        ("`[discovery]`", DiscoverySettings),
        ("`[lan]`", LanSettings),
        ("`[[peers]]`", Peer),
        ("`[local]`", LocalSettings),
        ("`[[local.models]]`", LocalModelSettings),
    ],
)
def test_the_documentation_has_every_key_and_no_other(title: str, table: type[Struct]) -> None:
    text = (Path(__file__).parents[3] / "docs/configuration.md").read_text(encoding="utf-8")
    part = text.split(f"## {title}\n")[1].split("\n## ")[0]
    columns = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    documented = [key.strip(" `") for column in columns for key in column.split(",")]
    tables = {"routing", "discovery", "lan", "local", "backends", "peers", "models"}
    has_parts = table in {ConfigEntries, LocalSettings}
    assert sorted(documented) == sorted(set(table.__struct_fields__) - (tables if has_parts else set()))
