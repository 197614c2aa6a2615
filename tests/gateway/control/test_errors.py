"""Whatever goes wrong in a handler leaves in the one envelope."""

import json

import pytest
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.testing import TestClient
from msgspec import Struct

from meshlight.domain.errors import EveryRouteDown, ModelNotFound
from meshlight.gateway.control.errors import HANDLERS


class Form(Struct, forbid_unknown_fields=True):
    url: str
    priority: int = 0


@get("/fail/{how:str}")
async def fail(how: FromPath[str]) -> str:
    match how:
        case "own":
            raise ModelNotFound("No backend serves 'x'.", "Try 'y'.")
        case "route":
            raise EveryRouteDown("Down.", retry_after_s=3)
        case "teapot":
            raise HTTPException(status_code=418, detail="I am\n a teapot")
        case "gone":
            raise HTTPException(status_code=503, detail="secret words")
        case _:
            raise ValueError("secret words")


@post("/form")
async def form(data: JSONBody[Form], wait: FromQuery[bool] = False) -> str:
    return f"{data.url}{wait}"


@pytest.fixture(scope="module")
def client() -> TestClient[Litestar]:
    return TestClient(
        Litestar([fail, form], exception_handlers=HANDLERS, logging_config=None, openapi_config=None),
        raise_server_exceptions=False,
    )


def test_our_own_errors_keep_their_status_and_words(client: TestClient[Litestar]) -> None:
    got = client.get("/fail/own")

    assert got.status_code == 404
    assert got.json()["error"] == {
        "message": "No backend serves 'x'. Try 'y'.",
        "type": "invalid_request_error",
        "code": "model_not_found",
        "param": None,
        "hint": "Try 'y'.",
    }
    assert client.get("/fail/route").headers["retry-after"] == "3"


def test_a_fault_tells_nothing_but_its_id(
    client: TestClient[Litestar], caplog: pytest.LogCaptureFixture
) -> None:
    for how in ("fault", "gone"):
        got = client.get(f"/fail/{how}")
        assert got.status_code == 500
        assert "secret words" not in got.text
        assert got.json()["error"]["hint"].split()[3] in caplog.text
    assert "secret words" not in caplog.text.replace('"secret words"', "")


def test_what_litestar_finds_wrong_is_said_in_the_same_shape(client: TestClient[Litestar]) -> None:
    missing = client.get("/nowhere")
    method = client.put("/form")
    teapot = client.get("/fail/teapot")

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert "/nowhere" in missing.json()["error"]["message"]
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in method.headers["allow"]
    assert (teapot.status_code, teapot.json()["error"]["message"]) == (400, "I am a teapot.")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"url": 1}', "url"),
        ('{"url": "x", "priority": "high"}', "priority"),
        ("{}", None),
        ("{", None),
        ("[" * 100_000, None),
        (json.dumps({"url": "x", "api_key": "secret words"}), None),
    ],
)
def test_a_body_that_does_not_fit_names_the_field(
    body: str, param: str | None, client: TestClient[Litestar]
) -> None:
    got = client.post("/form", content=body, headers={"content-type": "application/json"})
    error = got.json()["error"]

    assert got.status_code == 400
    assert (error["code"], error["param"]) == ("invalid_request", param)
    assert "secret words" not in got.text
    assert len(error["message"]) < 600


def test_a_parameter_that_does_not_fit_is_named(client: TestClient[Litestar]) -> None:
    got = client.post("/form?wait=perhaps", json={"url": "x"})

    assert (got.status_code, got.json()["error"]["param"]) == (400, "wait")
