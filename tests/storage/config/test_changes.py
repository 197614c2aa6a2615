import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from meshlight.domain.backend import KINDS, RINGS, Backend
from meshlight.domain.config import Config, DiscoverySettings, LocalModelSettings, LocalSettings
from meshlight.domain.errors import BadRequest, Conflict, NotFound
from meshlight.domain.rules import Routing, Rule
from meshlight.storage.config.changes import (
    put_backend,
    remove_backend,
    set_discovery,
    set_local,
    set_routing,
)
from meshlight.storage.config.parser import read_config
from storage.memory_storage import ring_for

words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
names = st.lists(st.sampled_from(["gpu", "box", "m-1"]), max_size=2, unique=True).map(tuple)
seconds = st.floats(0.5, 80_000).map(lambda value: round(value, 1))
backends = st.builds(
    Backend,
    id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,3}", fullmatch=True),
    name=words,
    kind=st.sampled_from([kind for kind in KINDS if kind != "local"]),
    ring=st.sampled_from(RINGS),
    url=st.sampled_from(
        ["http://box:1", "https://api.example.com/v1", "http://localhost:8080", "http://[::1]:2"]
    ),
    enabled=st.booleans(),
    source=st.just("config"),
    priority=st.integers(-9, 9),
    slots=st.sampled_from([None, 1, 8]),
    first_byte_s=seconds,
    idle_s=seconds,
    has_secret=st.booleans(),
    access_key=st.sampled_from(["", "AKIA1", 'a"b']),
    ca_file=st.sampled_from(["", "/etc/ssl/ours.pem", r"C:\ca.pem"]),
    follow_clock=st.booleans(),
)
rules = st.builds(
    Rule,
    model=st.sampled_from(["a*", "b", "c-?", "*"]),
    pin=names,
    prefer=names,
    also=names,
    bound=st.none() | st.sampled_from(RINGS),
    spill=st.sampled_from(RINGS),
    fallback=names,
)
routings = st.builds(
    Routing,
    policy=st.sampled_from(["local-first", "priority", "fastest"]),
    queue=st.booleans(),
    queue_s=st.sampled_from([None, 30.0, 2.5]),
    aliases=st.dictionaries(words, words | names, max_size=3),
    rules=st.lists(rules, max_size=4).map(tuple),
)
discoveries = st.builds(
    DiscoverySettings, enabled=st.booleans(), ignored=st.lists(words, max_size=3, unique=True).map(tuple)
)
local_models = st.builds(
    LocalModelSettings,
    id=st.sampled_from(["a/b:Q4_K_M", "tiny", "한"]),
    keep=st.booleans(),
    idle_s=st.none() | st.integers(0, 9_000).map(float),
    context=st.none() | st.integers(256, 99_000),
    args=st.sampled_from([(), ("--temp", "0.6")]),
    hidden=st.booleans(),
)
locals_ = st.builds(
    LocalSettings,
    enabled=st.booleans(),
    folder=st.sampled_from(["", "/big/models", "~/models"]),
    folders=st.lists(st.sampled_from(["~/a", "/b"]), max_size=2, unique=True).map(tuple),
    look_in=st.sampled_from([(), ("hub",), ("hub", "jan")]),
    runner=st.sampled_from(["auto", "xllamacpp"]),
    memory=st.sampled_from(["auto", "12 GB"]),
    max_loaded=st.integers(1, 9),
    idle_s=st.integers(0, 9_000).map(float),
    context=st.sampled_from(["auto", 4096]),
    models=st.lists(local_models, max_size=3, unique_by=lambda model: model.id).map(tuple),
)

CLOUD = Backend(id="a", name="a", kind="openai", ring="cloud", url="https://api.example.com", has_secret=True)
TEXT = """\
# Tom's

[[backends]]
kind = "vllm"
url = "http://box:8000"   # the big one

[[backends]]
kind = "ollama"
url = "http://box:11434"

# bounds
[[routing.rules]]
model = "a" # first

# about b
[[routing.rules]]
model = "b"
pin = ["x"]
"""


@settings(deadline=None)
@given(st.lists(st.one_of(backends, routings, discoveries, locals_), min_size=1, max_size=8))
def test_whatever_is_written_is_read_back_the_same(
    changes: list[Backend | Routing | DiscoverySettings | LocalSettings],
) -> None:
    text, config = "", Config()
    for change in changes:
        if isinstance(change, Routing):
            text = set_routing(text, config.routing, change)
            config = replace(config, routing=change)
        elif isinstance(change, LocalSettings):
            text = set_local(text, config.local, change)
            # Those that stay keep their place in the file.
            places = {model.id: index for index, model in enumerate(config.local.models)}
            ordered = sorted(change.models, key=lambda model: places.get(model.id, 99))
            config = replace(config, local=replace(change, models=tuple(ordered)))
        elif isinstance(change, DiscoverySettings):
            text = set_discovery(text, config.discovery, change)
            config = replace(config, discovery=change)
        else:
            try:
                text = put_backend(text, config, change, ring_for)
            except Conflict:
                text = remove_backend(text, config, config.backends[0].id, ring_for)
                config = replace(config, backends=config.backends[1:])
            else:
                kept = tuple(change if b.id == change.id else b for b in config.backends)
                config = replace(config, backends=kept if change in kept else (*kept, change))
        assert read_config(text, ring_for) == config


@settings(deadline=None)
@given(st.lists(rules, max_size=5).map(tuple), st.lists(rules, max_size=5).map(tuple))
def test_rules_can_be_put_into_any_order(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> None:
    text = set_routing("", Routing(), Routing(rules=old))
    text = set_routing(text, Routing(rules=old), Routing(rules=new))
    assert read_config(text, ring_for).routing.rules == new


def test_a_rule_that_moves_takes_its_comments_along() -> None:
    old = read_config(TEXT, ring_for).routing
    first, second = old.rules
    text = set_routing(TEXT, old, replace(old, rules=(second, replace(first, bound="lan"))))
    assert '# about b\n[[routing.rules]]\nmodel = "b"\npin = ["x"]\n' in text
    assert '# bounds\n[[routing.rules]]\nmodel = "a" # first\nbound = "lan"\n' in text
    assert text.index("about b") < text.index("bounds")


def test_a_bound_that_is_lifted_leaves_the_file() -> None:
    text = '[[routing.rules]]\nmodel = "a"\nbound = "lan" # c\nspill = "lan"\n'
    old = read_config(text, ring_for).routing
    lifted = set_routing(text, old, replace(old, rules=(Rule(model="a", spill="lan"),)))
    assert lifted == '[[routing.rules]]\nmodel = "a"\nspill = "lan"\n'


def test_a_setting_of_one_local_model_is_changed_where_it_stands() -> None:
    text = '[local]\nidle_s = 60 # soon\n\n# mine\n[[local.models]]\nid = "a/b:Q4"\nkeep = true # always\n'
    old = read_config(text, ring_for).local
    new = replace(old, models=(replace(old.models[0], keep=False, context=8192),))
    assert set_local(text, old, new) == text.replace("true # always", "false # always") + "context = 8192\n"
    assert set_local(text, old, replace(old, models=())) == "[local]\nidle_s = 60 # soon\n"


def test_no_change_changes_no_byte() -> None:
    config = read_config(TEXT, ring_for)
    assert set_routing(TEXT, config.routing, config.routing) == TEXT
    assert set_discovery(TEXT, config.discovery, config.discovery) == TEXT


def test_an_id_that_hangs_on_the_order_of_the_file_is_written_down_before_the_order_changes() -> None:
    config = read_config(TEXT, ring_for)
    assert [b.id for b in config.backends] == ["box", "box-2"]
    text = remove_backend(TEXT, config, "box", ring_for)
    [left] = read_config(text, ring_for).backends
    assert left == config.backends[1]
    assert "the big one" not in text


def test_a_changed_backend_keeps_its_id_under_a_new_name() -> None:
    config = read_config(TEXT, ring_for)
    renamed = replace(config.backends[0], name="GPU", url="http://gpu:1")
    text = put_backend(TEXT, config, renamed, ring_for)
    assert read_config(text, ring_for).backends == (renamed, config.backends[1])
    assert 'url = "http://gpu:1"   # the big one' in text


def test_what_goes_without_saying_is_not_written() -> None:
    plain = Backend(id="box", name="box", kind="vllm", ring="lan", url="http://box:8000")
    text = put_backend("", Config(), plain, ring_for)
    assert text == '[[backends]]\nid = "box"\nkind = "vllm"\nurl = "http://box:8000"\n'


def test_the_url_of_another_backend_is_a_conflict() -> None:
    config = read_config(TEXT, ring_for)
    with pytest.raises(Conflict) as caught:
        put_backend(TEXT, config, replace(config.backends[1], url="http://BOX:8000/v1"), ring_for)
    assert "as 'box'" in caught.value.title


def test_two_accounts_of_one_address_are_two_backends() -> None:
    text = put_backend("", Config(), CLOUD, ring_for)
    text = put_backend(text, read_config(text, ring_for), replace(CLOUD, id="b", name="b"), ring_for)
    cluster = replace(CLOUD, id="c", name="c", kind="cluster", access_key="AKIA1")
    text = put_backend(text, read_config(text, ring_for), cluster, ring_for)
    config = read_config(text, ring_for)
    assert [backend.id for backend in config.backends] == ["a", "b", "c"]
    assert config.backends[2] == cluster
    with pytest.raises(Conflict, match="as 'c'"):
        put_backend(text, config, replace(cluster, id="d"), ring_for)


def test_a_url_that_is_none_is_a_bad_request() -> None:
    config = read_config(TEXT, ring_for)
    with pytest.raises(BadRequest) as caught:
        put_backend(TEXT, config, replace(config.backends[0], url="http://box:0x1"), ring_for)
    assert caught.value.param == "url"


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(NotFound) as caught:
        remove_backend(TEXT, read_config(TEXT, ring_for), "nobody", ring_for)
    assert "'nobody'" in caught.value.title
