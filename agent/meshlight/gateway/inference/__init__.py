"""Inference: a request comes in, its routes are ranked and tried, and the first good answer is streamed back.

The path of `POST /v1/chat/completions`, in order:

 1. `server/client_connection`: parses HTTP/1.1 from the socket, with limits and deadlines.
 2. `server/request_cycle`: this request and its answer as ASGI (`scope`, `receive`, `send`).
 3. `access/guard`: checks Host, Origin, key and size, or answers with an error.
 4. `inference/app`: finds the operation of the path, and calls the relay.
 5. `inference/request`: reads the body into an `InferenceRequest`.
 6. `inference/json_body`: finds `model` and `stream` in it, in one unambiguous reading.
 7. `inference/relay`: takes the best route, then the next one, until one gives an answer.
 8. `domain/routing`: ranks the routes of the model, with reasons.
 9. `inference/retry_policy`: says what may be sent again, and whether another route may be tried.
10. `inference/attempt`: builds the backend's request (translated by `translation/` if it must be), sends it, and
    waits for the first body byte. From a failing answer, `upstream_errors` and `failures` tell what is wrong.
11. `inference/headers`: chooses the headers that pass, in both directions.
12. `http_client/client`: sends it on a pooled connection; the answer's head comes back as a `Response`.
13. `inference/streaming`: passes the answer on piece by piece, and notes the token counts.
14. `inference/sinks`: hands the pieces to ASGI; `request_cycle` (2) writes them to the socket.

When no route gives an answer, `route_errors` makes the client's error. `timeouts` ends waits: when the first byte is
late, the backend falls, or the client leaves.
"""
