"""llama.cpp's `llama-server`, with one model or as a router of many.

Beyond its list it reports properties and slots; as a router, which models are loaded. Fields are those of build
11434; the server's README describes `/props` and `/slots`.
"""

from collections.abc import Mapping

from meshlight.backends.base import (
    MODELS,
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    HttpClient,
    fetch_without_key,
)
from meshlight.backends.metadata import (
    EVERY_S,
    SLOTS_MAX,
    WARMTH_EVERY_S,
    EngineQuery,
    MetadataChannel,
    MetadataSnapshot,
    ModelListReply,
    as_object,
    mapped,
    number,
    parameters_text,
    quantization_text,
    read_object,
    read_objects,
    short_text,
    short_texts,
    tokens,
)
from meshlight.backends.model_control import ask, refusal
from meshlight.backends.model_list import Facts, Listing, read_items, read_models
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.errors import NotFound
from meshlight.domain.operations import Operation
from meshlight.domain.text import sanitize_line
from meshlight.http_client.error_text import message_of
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

_SERVER = "llama.cpp"
_OWNER = "llamacpp"
_MANAGE_S = 30.0
_DONE_ALREADY = {"load": "already running", "unload": "not running"}
"""What a router says of a model that is as wanted."""


class LlamaCpp(BackendKind):
    """Recognised by the header `Server: llama.cpp`, also on the 503 while loading and the 401 without a key.

    Behind a proxy that rewrites the header, the models are still `owned_by: llamacpp`.
    """

    kind = "llamacpp"
    label = "llama.cpp"
    start = "Start it (`llama-server -m MODEL.gguf`)"
    usual_ports = (8080, 9931)
    operations = frozenset[Operation](
        {
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "rerank",
            "messages",
            "messages/count_tokens",
            "audio/transcriptions",
        }
    )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """One GET; a server that is loading or requires a key is detected too, without its models."""
        reply = await fetch_without_key(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        if not _has_header(reply) and (listing is None or _OWNER not in listing.owners):
            return None
        return self.detected(upstream, listing.models if listing else ())

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Read its metadata beside the probes."""
        return MetadataChannel(self, LlamaCppMetadata(), deps)

    def is_own_list(self, reply: Reply, listing: Listing) -> bool:
        """Whether the header or an owner names llama.cpp; an empty list has no owner."""
        return not listing.models or _OWNER in listing.owners or _has_header(reply)

    async def load_model(
        self,
        upstream: HttpClient,
        backend: Backend,
        secret: str | None,
        model: str,
        *,
        stays: bool = True,  # noqa: ARG002 — here every loaded model does
    ) -> None:
        """Have a router load a model; it answers at once, and its list tells when the model is loaded."""
        await self._manage(upstream, backend, secret, model, "load")

    async def unload_model(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str
    ) -> None:
        """Have a router unload a model."""
        await self._manage(upstream, backend, secret, model, "unload")

    async def _manage(
        self,
        upstream: HttpClient,
        backend: Backend,
        secret: str | None,
        model: str,
        verb: str,
    ) -> None:
        headers = self.authorize_at(upstream.address, secret)
        reply = await ask(upstream, f"/models/{verb}", {"model": model}, headers, _MANAGE_S)
        said = message_of(reply)
        if reply.status == 200 or (reply.status == 400 and _DONE_ALREADY[verb] in said):
            return
        if reply.status == 404 or "not found" in said:  # the answer to an unknown path is the same
            raise NotFound(
                f"{backend.name} has no model {sanitize_line(model, 80)!r} to {verb}.",
                "Refresh: its list of models may have changed, or it is no router of many models any more.",
            )
        raise refusal(reply, backend, model, verb, secret)


def _has_header(reply: Reply) -> bool:
    return header_value(reply.headers, b"server").lower().startswith(_SERVER)


_LOADED = {"loaded": True, "unloaded": False, "loading": False, "sleeping": False, "failed": False}
_FAILED_SHOWN = 8
_EXIT_CODE_MAX = 1 << 32
_CLAIMED = {"completion": ("chat", "completion"), "embedding": ("embeddings",), "rerank": ("rerank",)}
_INPUTS = {"image": ("vision",), "audio": ("audio",)}
_OUTPUTS = {"audio": ("speech",), "image": ("image",)}


class LlamaCppMetadata:
    """One GET of `/props`, and one of `/slots` if that does not keep the server awake.

    For `--sleep-idle-seconds` a request for the slots counts as work: it wakes a server and keeps it awake. So for
    a server that may sleep (its properties say so) it is sent only after requests of ours, or while it was busy. The
    list and the properties do not count as work. A router gets no request about one model: that would load it.

    With `-np N`, list and properties give the context of one slot, and with `--kv-unified` (the default without
    `-np`) each slot may use all of it. What the slots say of themselves counts more: that is certainly what one
    request has, should another version or a wrapper list the total.
    """

    def __init__(self) -> None:
        self._props: Facts = {}
        self._was_busy = False
        self._slot_context: int | None = None
        """Tokens of the smallest slot, by the last look at the slots; None while unknown."""

    async def read(self, query: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Read the properties and, if that does not keep it awake, the slots."""
        props = read_object(await query("/props")) or self._props
        if _shape(props) != _shape(self._props):
            self._slot_context = None  # it was started anew
        self._props = props
        items = read_items(listed.body)
        claims = read_items(listed.body, "models")
        is_router = props.get("role") == "router"
        alone = props if len(listed.models) == 1 and not is_router else {}
        slots_line = "" if is_router else await self._slots(query, props, was_used=listed.was_used)
        slot_context = self._slot_context if alone else None
        details = {
            model: detail
            for model in listed.models
            if (detail := _detail(items.get(model, {}), claims.get(model, {}), alone, slot_context))
            != ModelDetail()
        }
        about = {"Version": short_text(props.get("build_info"))}
        if is_router:
            about["Loaded"] = _loaded_text(details, len(listed.models), props)
            about |= _failed_lines(items)
        else:
            about["Slots"] = slots_line
        return MetadataSnapshot(
            details=details,
            about={label: text for label, text in about.items() if text},
            again=self._was_busy or any(_is_loading(item) for item in items.values()),
            can_load=is_router,
            every_s=WARMTH_EVERY_S if is_router else EVERY_S,
        )

    async def _slots(self, query: EngineQuery, props: Facts, *, was_used: bool) -> str:
        total = number(props.get("total_slots"), SLOTS_MAX)
        may_read = "is_sleeping" not in props or was_used or self._was_busy
        self._was_busy = False
        if props.get("endpoint_slots") is False or props.get("is_sleeping") is True:
            may_read = False
        slots = read_objects(await query("/slots")) if may_read else []
        if not slots:
            return "" if total is None else str(total)
        contexts = [context for slot in slots if (context := tokens(slot.get("n_ctx"))) is not None]
        if len(contexts) == len(slots):
            self._slot_context = min(contexts)
        busy = sum(slot.get("is_processing") is True for slot in slots)
        self._was_busy = busy > 0
        return f"{busy} of {len(slots)} busy"


def _shape(props: Facts) -> tuple[object, ...]:
    """Return what differs in a server that was started with another model, other slots or another context."""
    context = as_object(props, "default_generation_settings").get("n_ctx")
    return props.get("model_path"), props.get("total_slots"), context


def _is_loading(item: Facts) -> bool:
    return as_object(item, "status").get("value") == "loading"


def _detail(item: Facts, claim: Facts, props: Facts, slot_context: int | None) -> ModelDetail:
    """Combine what list, properties and slots say about one model; `props` is empty if they are not about it."""
    meta = as_object(item, "meta")
    architecture = as_object(item, "architecture")
    inputs = mapped(short_texts(architecture.get("input_modalities")), _INPUTS)
    modalities = as_object(props, "modalities")
    capabilities = [
        *mapped(short_texts(claim.get("capabilities")), _CLAIMED),
        *(sense for sense in ("vision", "audio") if sense in inputs or modalities.get(sense) is True),
        *mapped(short_texts(architecture.get("output_modalities")), _OUTPUTS),
    ]
    if as_object(props, "chat_template_caps").get("supports_tools") is True:
        capabilities.append("tools")
    is_loaded = _LOADED.get(short_text(as_object(item, "status").get("value")))
    if is_loaded is None and props:
        # With one model it answers only once that is loaded.
        is_loaded = props.get("is_sleeping") is not True
    return ModelDetail(
        context=slot_context
        or tokens(meta.get("n_ctx"))
        or tokens(as_object(props, "default_generation_settings").get("n_ctx")),
        loaded=is_loaded,
        slots=number(props.get("total_slots"), SLOTS_MAX),
        quantization=quantization_text(short_text(meta.get("ftype")) or short_text(props.get("model_ftype"))),
        parameters=parameters_text(number(meta.get("n_params"))),
        capabilities=tuple(dict.fromkeys(capabilities)),
    )


def _failed_lines(items: Mapping[str, Facts]) -> dict[str, str]:
    """Return a line for each model that a router failed to load when it was last requested."""
    lines: dict[str, str] = {}
    for model, item in items.items():
        status = as_object(item, "status")
        if status.get("failed") is True or status.get("value") == "failed":
            code = number(status.get("exit_code"), _EXIT_CODE_MAX)
            exit_code = "" if code is None else f" (exit code {code})"
            lines[f"Model {sanitize_line(model, 60)}"] = (
                f"failed to load when last requested{exit_code}: its log says why"
            )
        if len(lines) == _FAILED_SHOWN:
            break
    return lines


def _loaded_text(details: dict[str, ModelDetail], total: int, props: Facts) -> str:
    loaded = sum(detail.loaded is True for detail in details.values())
    most = number(props.get("max_instances"), SLOTS_MAX)
    return f"{loaded} of {total} models" + (f", at most {most} at a time" if most else "")
