import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlight.domain.errors import BadAddress, MeshlightError
from meshlight.http_client.address import Address, forbid, parse_address, plain_ip, ring_of


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", Address("http", "127.0.0.1", 8080)),
        ("http://127.0.0.1:8080/", Address("http", "127.0.0.1", 8080)),
        ("http://localhost:11434/v1", Address("http", "localhost", 11434)),
        ("HTTP://GPU.Local:8000/v1/", Address("http", "gpu.local", 8000)),
        ("https://api.openai.com/v1", Address("https", "api.openai.com", 443)),
        ("http://host", Address("http", "host", 80)),
        ("http://[::1]:8080/v1", Address("http", "::1", 8080)),
        ("http://[0:0:0:0:0:0:0:1]", Address("http", "::1", 80)),
        ("https://gw.example/llm/", Address("https", "gw.example", 443, "/llm")),
        ("https://open.bigmodel.cn/api/paas/v4", Address("https", "open.bigmodel.cn", 443, "/api/paas/v4")),
        ("http://my_engine:1234", Address("http", "my_engine", 1234)),
        ("https://bücher.example", Address("https", "xn--bcher-kva.example", 443)),
        ("http://h//v1//", Address("http", "h", 80)),
    ],
)
def test_a_url_is_read_into_its_parts(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "http://"),
        ("127.0.0.1:8080", "http://"),
        ("localhost:8080", "http://"),
        ("ftp://host", "http://"),
        ("file:///etc/passwd", "http://"),
        ("http://", "no host"),
        ("http:///v1", "no host"),
        ("http://:8080", "no host"),
        ("http://user:secret@host", "user name"),
        ("http://token@host", "user name"),
        ("http://host:0", "port"),
        ("http://host:", "port"),
        ("http://host:99999", "read"),
        ("http://host:port", "read"),
        ("http://host?", "query"),
        ("http://host/v1?beta", "query"),
        ("http://host?x=1&", "query"),
        ("http://host?x=1?y=2", "query"),
        ('http://host?x=a"b', "query"),
        ("unix:///run/x.sock?x=1", "query"),
        ("http://host/#top", "fragment"),
        ("http://ho\nst", "control"),
        ("http://host\r\nx: y", "control"),
        ("http://host\0", "control"),
        ("http://host/a b", "spaces"),
        ("http://host/\x7f", "control"),
        ("http://host/é", "escaped"),
        ("http://host\\evil", "host name"),
        ("http://ho%73t", "host name"),
        ("http://-host", "host name"),
        ("http://a..b", "host name"),
        ("http://" + "a" * 64, "host name"),
        ("http://[::1", "read"),
        ("http://[v1.x]", "IPv6"),
        ("http://[fe80::1%25eth0]:80", "IPv6"),
        ("http://127.1", "not an IPv4"),
        ("http://2130706433", "not an IPv4"),
        ("http://0x7f.0.0.1", "not an IPv4"),
        ("http://0x7f000001", "not an IPv4"),
        ("http://127.0.0.1.", "not an IPv4"),
        ("http://256.0.0.1", "not an IPv4"),
        ("http://h/" + "a" * 2048, "longer"),
    ],
)
def test_a_url_that_cannot_be_a_backend_is_refused_with_the_reason(url: str, word: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(url)
    assert word in f"{caught.value.title} {caught.value.hint}"
    assert caught.value.param == "url"
    assert caught.value.status == 400


AZURE = "https://r.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21"


@pytest.mark.parametrize("end", ["", "/", "/chat/completions"])
def test_the_query_of_the_url_follows_every_request(end: str) -> None:
    address = parse_address(AZURE.replace("?", f"{end}?"))
    base = "/openai/deployments/gpt"
    assert address.url == AZURE
    assert address.target("/v1/chat/completions") == f"{base}/chat/completions?api-version=2024-10-21"
    assert address.target("/v1/models?limit=9") == f"{base}/models?limit=9&api-version=2024-10-21"
    assert address.target("/v1/x?api-version=2020-01-01") == f"{base}/x?api-version=2024-10-21"


@pytest.mark.parametrize(
    "name", ["key", "api-key", "api_key", "access_token", "sig", "subscription-key", "code"]
)
def test_a_key_in_a_query_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(f"https://h/x?api-version=1&{name}=hunter2")
    assert "keyring" in caught.value.hint
    assert "hunter2" not in caught.value.title + caught.value.hint


def test_a_refusal_never_repeats_a_password() -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address("http://user:hunter2@host")
    assert "hunter2" not in caught.value.title + caught.value.hint


def test_a_url_without_a_scheme_is_answered_with_what_was_perhaps_meant() -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address("localhost:8080")
    assert "http://localhost:8080" in caught.value.hint


@settings(deadline=None)
@given(st.text(max_size=80) | st.text(max_size=60).map("http://{}".format))
def test_any_text_is_an_address_or_a_bad_address(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert parse_address(address.url) == address
    address.url.encode("ascii")


@settings(deadline=None)
@given(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["host", "gpu.local", "10.0.0.1", "[::1]", "[2001:db8::1]"]),
    st.none() | st.integers(1, 65535),
    st.lists(st.sampled_from(["v1", "v4", "api", "openai", "%20", "a.b"]), max_size=4),
)
def test_an_address_reads_back_from_its_own_url(
    scheme: str, host: str, port: int | None, path: list[str]
) -> None:
    url = f"{scheme}://{host}" + (f":{port}" if port else "") + "".join(f"/{part}" for part in path)
    address = parse_address(url)
    assert parse_address(address.url) == address
    assert parse_address(url + "/") == address


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h:8080", "/v1/models", "/v1/models"),
        ("http://h:8080/v1", "/v1/models", "/v1/models"),
        ("http://h:8080/v1", "/api/tags", "/api/tags"),
        ("http://h/llm", "/v1/chat/completions", "/llm/v1/chat/completions"),
        ("http://h/llm", "/health", "/llm/health"),
        ("https://open.bigmodel.cn/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("https://g/v1beta/openai/", "/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("https://api.groq.com/openai/v1", "/v1/chat/completions", "/openai/v1/chat/completions"),
        ("http://h/v1/v1", "/v1/models", "/v1/v1/models"),
        ("http://h/vllm", "/v1/models", "/vllm/v1/models"),
        ("https://models.github.ai/inference", "/v1/chat/completions", "/inference/chat/completions"),
        ("https://api.fireworks.ai/inference/v1", "/v1/models", "/inference/v1/models"),
        ("https://gw.example/v1/ACCOUNT/NAME/compat/", "/v1/models", "/v1/ACCOUNT/NAME/compat/models"),
        ("https://h/client/v4/accounts/ID/ai/v1", "/v1/models", "/client/v4/accounts/ID/ai/v1/models"),
        ("https://h/odd/chat/completions", "/v1/embeddings", "/odd/embeddings"),
        ("https://h/chat/completions", "/v1/models", "/models"),
        ("https://h/v1/chat/completions", "/v1/models", "/v1/models"),
    ],
)
def test_a_target_holds_the_version_once_and_where_the_url_says(url: str, path: str, target: str) -> None:
    assert parse_address(url).target(path) == target


@pytest.mark.parametrize(
    ("url", "authority", "place"),
    [
        ("http://host", "host", "host:80"),
        ("https://host", "host", "host:443"),
        ("https://host:80", "host:80", "host:80"),
        ("http://[::1]:8080", "[::1]:8080", "[::1]:8080"),
        ("http://[::1]", "[::1]", "[::1]:80"),
    ],
)
def test_the_default_port_is_left_out_of_the_host_header_but_told_to_people(
    url: str, authority: str, place: str
) -> None:
    address = parse_address(url)
    assert (address.authority, address.host_port) == (authority, place)


@pytest.mark.parametrize(
    ("ip", "word"),
    [
        ("169.254.169.254", "link-local"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::ffff:224.0.0.1", "multicast"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("2002:a9fe:a9fe::", "link-local"),
        ("host", "not an IP"),
    ],
)
def test_addresses_that_are_nobodys_or_hold_secrets_are_forbidden(ip: str, word: str) -> None:
    assert word in (forbid(ip) or "")


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.5", "8.8.8.8", "2001:4860::1", "fd00::1", "100.64.0.1"]
)
def test_machines_and_clouds_are_allowed(ip: str) -> None:
    assert forbid(ip) is None


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_however_it_is_wrapped(ip: object) -> None:
    assert forbid(f"::ffff:{ip}") == forbid(str(ip))
    assert plain_ip(f"::ffff:{ip}") == str(ip)


@pytest.mark.parametrize(
    ("url", "ring"),
    [
        ("http://127.0.0.1:8080", "machine"),
        ("http://127.8.8.8", "machine"),
        ("http://[::1]", "machine"),
        ("http://[::ffff:127.0.0.1]", "machine"),
        ("http://localhost", "machine"),
        ("http://ollama.localhost", "machine"),
        ("http://192.168.1.5", "lan"),
        ("http://10.1.1.1", "lan"),
        ("http://172.16.0.1", "lan"),
        ("http://100.101.102.103", "lan"),
        ("http://[fd12::1]", "lan"),
        ("http://gpu.local", "lan"),
        ("http://gpu.local.", "lan"),
        ("http://gpu", "lan"),
        ("http://nas.home.arpa", "lan"),
        ("https://api.openai.com", "cloud"),
        ("http://8.8.8.8", "cloud"),
        ("http://100.128.0.1", "cloud"),
        ("http://[2001:4860:4860::8888]", "cloud"),
    ],
)
def test_the_ring_follows_from_the_host(url: str, ring: str) -> None:
    assert ring_of(parse_address(url)) == ring


def test_a_bad_address_is_one_of_the_projects_errors() -> None:
    assert issubclass(BadAddress, MeshlightError)
