"""Every error leaves in OpenAI's envelope, with a sentence and a hint."""

import msgspec

from meshlight.domain import errors
from meshlight.domain.errors import BadRequest, MeshlightError, ModelNotFound, envelope


def test_the_envelope_is_the_one_that_openai_clients_read() -> None:
    error = BadRequest("The request names no model.", 'Add "model".', param="model")
    assert msgspec.to_builtins(envelope(error)) == {
        "error": {
            "message": 'The request names no model. Add "model".',
            "type": "invalid_request_error",
            "code": "invalid_request",
            "param": "model",
            "hint": 'Add "model".',
        }
    }


def test_every_error_is_drawn_in_the_tree() -> None:
    tree = errors.__doc__ or ""
    pending = [MeshlightError]
    while pending:
        kind = pending.pop()
        assert kind.__name__ in tree
        pending.extend(kind.__subclasses__())


def test_the_status_tells_what_kind_of_trouble_it_is() -> None:
    assert ModelNotFound("x").status == 404
    assert errors.EveryRouteDown("x").status == 503
    assert errors.FirstByteTooLate("x").status == 504
    assert errors.AllBusy("x").status == 429
    assert errors.PayloadTooLarge("x").status == 413
    assert errors.Unauthorized("x").type == "authentication_error"
