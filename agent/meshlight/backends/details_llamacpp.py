"""What llama-server tells beyond its list: properties, slots; as a router, which models are loaded.

Fields as answered by build 11434; the server's README describes `/props` and `/slots`.
"""

from meshlight.backends.detail_channel import Ask, Listed, Told
from meshlight.backends.listing import Facts, read_items
from meshlight.backends.model_facts import (
    facts,
    number,
    parameters_said,
    quantization_said,
    read_facts,
    read_objects,
    tokens,
    translated,
    word,
    words,
)
from meshlight.domain.model import ModelDetail

_SLOTS_MAX = 10_000
_LOADED = {"loaded": True, "unloaded": False, "loading": False, "sleeping": False, "failed": False}
_CLAIMED = {"completion": ("chat", "completion"), "embedding": ("embeddings",), "rerank": ("rerank",)}
_INPUTS = {"image": ("vision",), "audio": ("audio",)}
_OUTPUTS = {"audio": ("speech",), "image": ("image",)}


class LlamaCppTeller:
    """One GET of `/props`; and one of `/slots`, but only when the server is awake and not about to fall asleep.

    Looking at the slots counts as work for `--sleep-idle-seconds`: it wakes a server and keeps it awake. So a
    server that may sleep (its properties say whether it does) is asked only after requests of ours went there,
    or while it was busy. The list and the properties disturb nothing. A router is asked for nothing of one
    model: that would load it.
    """

    def __init__(self) -> None:
        self._props: Facts = {}
        self._was_busy = False

    async def tell(self, ask: Ask, listed: Listed) -> Told:
        """Ask for the properties and, if it is no burden, for the slots."""
        self._props = props = read_facts(await ask("/props")) or self._props
        items = read_items(listed.body)
        claims = read_items(listed.body, "models")
        alone = props if len(listed.models) == 1 and props.get("role") != "router" else {}
        details = {
            model: detail
            for model in listed.models
            if (detail := _detail(items.get(model, {}), claims.get(model, {}), alone)) != ModelDetail()
        }
        about = {"Version": word(props.get("build_info"))}
        if props.get("role") == "router":
            about["Loaded"] = _loaded_said(details, len(listed.models), props)
        else:
            about["Slots"] = await self._slots(ask, props, was_used=listed.was_used)
        return Told(
            details=details,
            about={label: said for label, said in about.items() if said},
            again=self._was_busy,
        )

    async def _slots(self, ask: Ask, props: Facts, *, was_used: bool) -> str:
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
    meta = facts(item, "meta")
    architecture = facts(item, "architecture")
    takes = translated(words(architecture.get("input_modalities")), _INPUTS)
    modalities = facts(props, "modalities")
    can = [
        *translated(words(claim.get("capabilities")), _CLAIMED),
        *(sense for sense in ("vision", "audio") if sense in takes or modalities.get(sense) is True),
        *translated(words(architecture.get("output_modalities")), _OUTPUTS),
    ]
    if facts(props, "chat_template_caps").get("supports_tools") is True:
        can.append("tools")
    status = _LOADED.get(word(facts(item, "status").get("value")))
    if status is None and props:
        status = props.get("is_sleeping") is not True  # alone, it answers only once its model is there
    return ModelDetail(
        context=tokens(meta.get("n_ctx")) or tokens(facts(props, "default_generation_settings").get("n_ctx")),
        loaded=status,
        quantization=quantization_said(word(meta.get("ftype")) or word(props.get("model_ftype"))),
        parameters=parameters_said(number(meta.get("n_params"))),
        capabilities=tuple(dict.fromkeys(can)),
    )


def _loaded_said(details: dict[str, ModelDetail], total: int, props: Facts) -> str:
    loaded = sum(detail.loaded is True for detail in details.values())
    most = number(props.get("max_instances"), _SLOTS_MAX)
    return f"{loaded} of {total} models" + (f", at most {most} at a time" if most else "")
