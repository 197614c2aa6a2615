"""The list of services, as strangers may send it."""

import json

import pytest

from meshlight.backends.backend_ai.services import SERVICES_MAX, address_of_service, read_services
from meshlight.http_client.address import Address, parse_address

ITEM = {
    "id": "4f0b7a52-2c5e-4b7f-9a3c-8f2d8c2b1a10",
    "name": "llama",
    "active_route_count": 2,
    "service_endpoint": "https://llama.apps.example/",
    "is_public": False,
}


def read(*items: object) -> list[str]:
    services = read_services(json.dumps(items).encode())
    assert services is not None
    return [service.name for service in services]


def test_a_service_is_read_as_it_is_listed() -> None:
    services = read_services(json.dumps([ITEM]).encode())
    assert services is not None
    (service,) = services
    assert (service.name, service.routes, service.is_public, service.is_up) == ("llama", 2, False, True)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../auth"},
        {"id": 5},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 500},
        {"name": "\u202egnp"},
    ],
)
def test_a_service_that_could_be_mistaken_is_left_out(change: dict[str, object]) -> None:
    assert read(ITEM | change, ITEM) == ["llama"]


@pytest.mark.parametrize(
    "change",
    [
        {"active_route_count": 0},
        {"active_route_count": None},
        {"active_route_count": "2"},
        {"active_route_count": -1},
        {"service_endpoint": None},
        {"service_endpoint": 5},
    ],
)
def test_a_service_without_route_or_address_is_listed_and_not_up(change: dict[str, object]) -> None:
    services = read_services(json.dumps([ITEM | change]).encode())
    assert services is not None
    assert [service.is_up for service in services] == [False]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, ""),
        ({"active_route_count": 0}, "no active route"),
        ({"active_route_count": 0, "replicas": 3}, "no active route (0 of 3 wanted)"),
        (
            {"active_route_count": 0, "replicas": 3, "desired_session_count": 2},
            "no active route (0 of 2 wanted)",
        ),
        ({"active_route_count": 0, "replicas": 0}, "it is stopped (0 replicas wanted)"),
        ({"active_route_count": 0, "replicas": -1}, "no active route"),
        ({"active_route_count": 0, "replicas": True}, "no active route"),
        ({"active_route_count": 0, "replicas": 10**30}, "no active route"),
        ({"service_endpoint": None}, "it has no address yet"),
    ],
)
def test_a_service_says_why_nothing_answers_there(change: dict[str, object], state: str) -> None:
    services = read_services(json.dumps([ITEM | change]).encode())
    assert services is not None
    assert [service.state for service in services] == [state]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"<html>", b"[" * 100_000, b"[" + b"," * 200_000, b"\xff"]
)
def test_what_is_no_list_is_none(body: bytes) -> None:
    assert read_services(body) is None


def test_no_list_is_endless() -> None:
    assert len(read(*({**ITEM, "id": str(number)} for number in range(2000)))) == SERVICES_MAX


def test_a_loopback_address_is_only_used_where_the_manager_is_on_this_machine_too() -> None:
    here, there = parse_address("http://127.0.0.1:8081"), parse_address("https://api.example")
    assert address_of_service("http://127.0.0.1:10201/", here) == parse_address("http://127.0.0.1:10201")
    refused = address_of_service("http://localhost:10201/", there)
    assert "leads to this machine" in str(refused)
    assert isinstance(address_of_service("https://x.apps.example/", there), Address)
