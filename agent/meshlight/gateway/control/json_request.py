"""The requests of `/mesh`: their bodies are decoded strictly, as the struct of their handler."""

from typing import Any

import msgspec
from litestar import Request
from litestar.typing import FieldDefinition
from msgspec import Struct

from meshlight.domain.errors import BadRequest
from meshlight.gateway.validation import malformed_json, validation_error


class JsonRequest(Request[Any, Any, Any]):
    """Decodes bodies strictly: Litestar would accept `"5"` as a number, and its errors name no alternatives."""

    async def body(self) -> bytes:
        """Return the body; raises BadRequest if there is none and the handler can't do without."""
        body = await super().body()
        if not body and not self._data_field.has_default:
            raise BadRequest("The request has no body.", "Send a JSON object.")
        return body

    async def json(self) -> Any:
        """Return the body as the struct of the handler's `data`; raises BadRequest if it does not fit."""
        shape = self._data_field.annotation
        if not (isinstance(shape, type) and issubclass(shape, Struct)):
            raise TypeError(f"A body is decoded as a struct, not as {shape}.")
        try:
            return msgspec.json.decode(await self.body(), type=shape)
        except msgspec.ValidationError as error:
            raise validation_error(error, shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed_json(error) from None
        except RecursionError:
            raise BadRequest("The body is nested too deeply.", "Send one flat JSON object.") from None

    @property
    def _data_field(self) -> FieldDefinition:
        return self.route_handler.parsed_fn_signature.parameters["data"]
