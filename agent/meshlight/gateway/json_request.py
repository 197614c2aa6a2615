"""A request to `/mesh` whose body is read strictly, as what its handler takes."""

from typing import Any

import msgspec
from litestar import Request
from litestar.typing import FieldDefinition
from msgspec import Struct

from meshlight.domain.errors import BadRequest
from meshlight.gateway.mistakes import malformed, mistake


class JsonRequest(Request[Any, Any, Any]):
    """Litestar would take `"5"` for a number and could not say what else would have been right."""

    async def body(self) -> bytes:
        """Return the body; BadRequest where there is none and the handler can't do without."""
        body = await super().body()
        if not body and not self._wanted.has_default:
            raise BadRequest("The request has no body.", "Send a JSON object.")
        return body

    async def json(self) -> Any:
        """Return the body as the struct that the handler's `data` is; BadRequest says what does not fit."""
        shape = self._wanted.annotation
        if not (isinstance(shape, type) and issubclass(shape, Struct)):
            raise TypeError(f"A body is decoded as a struct, not as {shape}.")
        try:
            return msgspec.json.decode(await self.body(), type=shape)
        except msgspec.ValidationError as error:
            raise mistake(error, shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed(error) from None
        except RecursionError:
            raise BadRequest("The body is nested too deeply.", "Send one flat JSON object.") from None

    @property
    def _wanted(self) -> FieldDefinition:
        return self.route_handler.parsed_fn_signature.parameters["data"]
