import pytest

from meshlight.domain.proxy import Proxy, UnusableProxy, choose_proxy, is_excepted, proxy_fault, read_proxy

CORP = {"HTTPS_PROXY": "http://proxy.corp:3128"}


def chosen(environment: dict[str, str], host: str = "api.openai.com", scheme: str = "https") -> Proxy | None:
    found = choose_proxy("env", scheme, host, environment)
    assert not isinstance(found, UnusableProxy)
    return found


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("HTTP://Proxy.Corp:3128/", Proxy("proxy.corp", 3128)),
        ("proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("http://proxy.corp", Proxy("proxy.corp", 1080)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("http://ann:a%40b@10.0.0.1:8080", Proxy("10.0.0.1", 8080, "ann:a@b")),
        ("http://ann@10.0.0.1:8080", Proxy("10.0.0.1", 8080, "ann:")),
    ],
)
def test_a_proxy_is_read_as_curl_reads_it(text: str, proxy: Proxy) -> None:
    assert read_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "socks5://p:1",
        "https://p:1",
        "http://",
        "http://p:0",
        "http://p:x",
        "http://p/x",
        "http://p?x",
        "http://a b",
        "http://p\r\nx:1",
        "http://[::1",
        "http://[zz]:1",
        "http://p" * 400,
        "http://-p:1",
    ],
)
def test_what_is_no_http_proxy_is_refused(text: str) -> None:
    assert isinstance(read_proxy(text), str)


@pytest.mark.parametrize("setting", ["", "env", "none", "http://proxy:3128", "http://[::1]:1"])
def test_a_good_setting_has_no_fault(setting: str) -> None:
    assert proxy_fault(setting) is None


@pytest.mark.parametrize(
    "setting", ["ENV", "off", "proxy:3128", "socks5://p:1", "http://p:1/x", "http://a:pw@p:1"]
)
def test_what_is_wrong_with_a_setting_is_said_without_a_password(setting: str) -> None:
    fault = proxy_fault(setting)
    assert fault
    assert "pw" not in fault


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"}, "small"),
        ({"HTTPS_PROXY": "http://large:1", "ALL_PROXY": "http://all:1"}, "large"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://large:1"}, "large"),
        ({"all_proxy": "http://all:1"}, "all"),
        ({"ALL_PROXY": "http://all:1"}, "all"),
        ({"http_proxy": "http://plain:1"}, None),
        ({}, None),
    ],
)
def test_the_variables_count_in_curls_order(environment: dict[str, str], host: str | None) -> None:
    found = chosen(environment)
    assert (found and found.host) == host


def test_a_server_without_tls_has_a_variable_of_its_own_in_small_letters_only() -> None:
    assert chosen({"http_proxy": "http://plain:1"}, scheme="http") == Proxy("plain", 1, variable="http_proxy")
    assert chosen({"HTTP_PROXY": "http://header:1"} | CORP, scheme="http") is None


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "api.localhost", "LOCALHOST."]
)
def test_this_machine_is_never_asked_through_the_environments_proxy(host: str) -> None:
    assert chosen(CORP, host) is None


@pytest.mark.parametrize(
    ("host", "no_proxy", "excepted"),
    [
        ("api.openai.com", "*", True),
        ("api.openai.com", "openai.com", True),
        ("api.openai.com", ".openai.com", True),
        ("openai.com", ".openai.com", True),
        ("api.openai.com.", "OpenAI.com.", True),
        ("api.openai.com", "a.test, openai.com", True),
        ("api.openai.com", "a.test openai.com", True),
        ("notopenai.com", "openai.com", False),
        ("openai.com", "api.openai.com", False),
        ("api.openai.com", "*.openai.com", False),
        ("api.openai.com", "a.test,*", False),
        ("api.openai.com", "", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4,10.1.2", False),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("2001:db8::1", "2001:db8:0::1", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "10.0.0.0/8,bad/999", False),
    ],
)
def test_exceptions_are_read_as_curl_reads_them(host: str, no_proxy: str, *, excepted: bool) -> None:
    assert is_excepted(host, no_proxy) == excepted
    assert (chosen(CORP | {"NO_PROXY": no_proxy}, host) is None) == excepted


def test_the_small_lettered_exceptions_come_first() -> None:
    assert chosen(CORP | {"no_proxy": "a.test", "NO_PROXY": "*"}) is not None


def test_a_variable_that_names_no_http_proxy_is_named_in_the_reason() -> None:
    found = choose_proxy("env", "https", "h.test", {"ALL_PROXY": "socks5h://127.0.0.1:9050"})
    assert isinstance(found, UnusableProxy)
    assert found.what == "The variable ALL_PROXY"


def test_a_proxy_of_its_own_is_used_whatever_the_environment_says() -> None:
    environment = CORP | {"NO_PROXY": "*"}
    assert choose_proxy("http://mine:8", "https", "localhost", environment) == Proxy("mine", 8)
    assert choose_proxy("none", "https", "api.openai.com", CORP) is None
