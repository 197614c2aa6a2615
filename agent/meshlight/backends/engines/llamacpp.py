"""llama.cpp's `llama-server`, with one model or as a router of many.

What llama-server tells beyond its list: properties, slots; as a router, which models are loaded.

Fields as answered by build 11434; the server's README describes `/props` and `/slots`.
"""

from meshlight.backends.base import MODELS, Channel, ChannelDeps, DetectedEngine, Engine, HttpClient, ask
from meshlight.backends.metadata import (
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
from meshlight.backends.model_list import Facts, Listing, read_items, read_models
from meshlight.domain.backend import ModelDetail
from meshlight.domain.operations import Operation
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply

_SERVER = "llama.cpp"
_OWNER = "llamacpp"


class LlamaCpp(Engine):
    """It signs each answer `Server: llama.cpp`, also the 503 while loading and the 401 without the key.

    Behind a proxy that rewrites the header, the models still say `owned_by: llamacpp`.
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

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """One GET; a server that is loading or wants a key is recognised too, without its models."""
        reply = await ask(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        if not _signs(reply) and (listing is None or _OWNER not in listing.owners):
            return None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: ChannelDeps) -> Channel:
        """Keep what it tells of itself and its models."""
        return MetadataChannel(self, LlamaCppMetadata(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:
        """A list with models that bears neither mark is another engine's."""
        return not listing.models or _OWNER in listing.owners or _signs(reply)


def _signs(reply: Reply) -> bool:
    return header_value(reply.headers, b"server").lower().startswith(_SERVER)


_SLOTS_MAX = 10_000
_LOADED = {"loaded": True, "unloaded": False, "loading": False, "sleeping": False, "failed": False}
_CLAIMED = {"completion": ("chat", "completion"), "embedding": ("embeddings",), "rerank": ("rerank",)}
_INPUTS = {"image": ("vision",), "audio": ("audio",)}
_OUTPUTS = {"audio": ("speech",), "image": ("image",)}


class LlamaCppMetadata:
    """One GET of `/props`; and one of `/slots`, but only when the server is awake and not about to fall asleep.

    Looking at the slots counts as work for `--sleep-idle-seconds`: it wakes a server and keeps it awake. So a
    server that may sleep (its properties say whether it does) is asked only after requests of ours went there,
    or while it was busy. The list and the properties disturb nothing. A router is asked for nothing of one
    model: that would load it.
    """

    def __init__(self) -> None:
        self._props: Facts = {}
        self._was_busy = False

    async def tell(self, ask: EngineQuery, listed: ModelListReply) -> MetadataSnapshot:
        """Ask for the properties and, if it is no burden, for the slots."""
        self._props = props = read_object(await ask("/props")) or self._props
        items = read_items(listed.body)
        claims = read_items(listed.body, "models")
        alone = props if len(listed.models) == 1 and props.get("role") != "router" else {}
        details = {
            model: detail
            for model in listed.models
            if (detail := _detail(items.get(model, {}), claims.get(model, {}), alone)) != ModelDetail()
        }
        about = {"Version": short_text(props.get("build_info"))}
        if props.get("role") == "router":
            about["Loaded"] = _loaded_text(details, len(listed.models), props)
        else:
            about["Slots"] = await self._slots(ask, props, was_used=listed.was_used)
        return MetadataSnapshot(
            details=details,
            about={label: said for label, said in about.items() if said},
            again=self._was_busy,
        )

    async def _slots(self, ask: EngineQuery, props: Facts, *, was_used: bool) -> str:
        total = number(props.get("total_slots"), _SLOTS_MAX)
        may_look = "is_sleeping" not in props or was_used or self._was_busy
        self._was_busy = False
        if props.get("endpoint_slots") is False or props.get("is_sleeping") is True:
            may_look = False
        slots = read_objects(await ask("/slots")) if may_look else []
        if not slots:
            return "" if total is None else str(total)
        busy = sum(slot.get("is_processing") is True for slot in slots)
        self._was_busy = busy > 0
        return f"{busy} of {len(slots)} busy"


def _detail(item: Facts, claim: Facts, props: Facts) -> ModelDetail:
    """Put together what list and properties say of one model; `props` is empty where they are not its own."""
    meta = as_object(item, "meta")
    architecture = as_object(item, "architecture")
    takes = mapped(short_texts(architecture.get("input_modalities")), _INPUTS)
    modalities = as_object(props, "modalities")
    can = [
        *mapped(short_texts(claim.get("capabilities")), _CLAIMED),
        *(sense for sense in ("vision", "audio") if sense in takes or modalities.get(sense) is True),
        *mapped(short_texts(architecture.get("output_modalities")), _OUTPUTS),
    ]
    if as_object(props, "chat_template_caps").get("supports_tools") is True:
        can.append("tools")
    status = _LOADED.get(short_text(as_object(item, "status").get("value")))
    if status is None and props:
        status = props.get("is_sleeping") is not True  # alone, it answers only once its model is there
    return ModelDetail(
        context=tokens(meta.get("n_ctx"))
        or tokens(as_object(props, "default_generation_settings").get("n_ctx")),
        loaded=status,
        quantization=quantization_text(short_text(meta.get("ftype")) or short_text(props.get("model_ftype"))),
        parameters=parameters_text(number(meta.get("n_params"))),
        capabilities=tuple(dict.fromkeys(can)),
    )


def _loaded_text(details: dict[str, ModelDetail], total: int, props: Facts) -> str:
    loaded = sum(detail.loaded is True for detail in details.values())
    most = number(props.get("max_instances"), _SLOTS_MAX)
    return f"{loaded} of {total} models" + (f", at most {most} at a time" if most else "")
