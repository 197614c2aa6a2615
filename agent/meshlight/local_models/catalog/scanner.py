"""Makes models out of files: which belong together, what each is, and why the others are no models.

Pure but for `facts_of`, which gives the header of a file.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from meshlight.domain.local_models import LocalModel, Purpose, RejectedFile
from meshlight.domain.text import sanitize
from meshlight.local_models.catalog.file_names import (
    is_draft,
    is_projector_name,
    quantization_in,
    stem_of,
    without_quantization,
)
from meshlight.local_models.catalog.gguf_models import BadGguf, FactsOf, GgufModel, gguf_models
from meshlight.local_models.catalog.header import BadFile, Facts, Header
from meshlight.local_models.catalog.ids import Unnamed, name_all
from meshlight.local_models.catalog.projectors import family, is_projector, projector_for
from meshlight.local_models.catalog.safetensors import ADAPTER, CONFIG, weights_of
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder, Identity, Stopped, Survey

NAME_MAX = 120
REJECTED_MAX = 500
"""Files of which it is told that they are no models."""
DRAFT_SHARE = 0.5
"""A model that only drafts is smaller than this share of the one that it drafts for."""
_EMBEDDING = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert"}
    | {"eurobert", "t5encoder", "gemma-embedding", "llama-embed"}
)
"""Architectures that only embed, whether or not the header names a pooling."""
_MEAN, _RANK = 1, 4
"""llama.cpp's types of pooling."""
_NO_LANGUAGE = frozenset(
    {"aura", "chroma", "cosmos", "flux", "hidream", "hyvid", "lumina2", "ltxv", "pig", "qwen_image", "sd1"}
    | {"sd3", "sdxl", "wan", "wavtokenizer-dec", "whisper"}
)
"""Architectures of pictures, films and sound."""
_DRAFTS = frozenset({"eagle", "eagle3", "dflash"})
_SIZE_LABEL = re.compile(r"[0-9A-Za-z.x_-]{1,20}")
_NO_MODEL = {
    "adapter": "An adapter (LoRA), which changes another model: it can't be run alone.",
    "imatrix": "An importance matrix, which helps to quantize a model.",
    "vocabulary": "A vocabulary without weights, made for tests.",
    "control-vector": "A control vector, which steers another model: it can't be run alone.",
}
_DRAFT = "A draft, which makes another model faster: it is not run alone."
_LONELY = "A projector, which lets a model see, but that model is not here."

FolderFactsOf = Callable[[FoundFolder], Facts]


class Scan(Struct, frozen=True, kw_only=True):
    """What was found on the disks."""

    models: dict[str, LocalModel]
    rejected: tuple[RejectedFile, ...]


class _Rejection(Struct, frozen=True):
    file: RejectedFile
    identities: frozenset[Identity]
    repo: str
    rank: int


def scan(
    surveys: Iterable[Survey],
    facts_of: FactsOf,
    folder_facts_of: FolderFactsOf,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Scan:
    """Return all models of all stores; a file that is found twice counts where it is found first. Raises Stopped."""
    scanner = _Scanner(facts_of, folder_facts_of, is_stopped)
    for survey in surveys:
        scanner.add(survey)
    return Scan(models=name_all(scanner.models), rejected=tuple(scanner.rejected()))


class _Scanner:
    """Collects models and rejected files, store by store."""

    def __init__(
        self, facts_of: FactsOf, folder_facts_of: FolderFactsOf, is_stopped: Callable[[], bool]
    ) -> None:
        self._is_stopped = is_stopped
        self._facts_of = facts_of
        self._folder_facts_of = folder_facts_of
        self.models: list[Unnamed] = []
        self._rejected: list[_Rejection] = []
        self._taken: set[Identity] = set()
        """Files of models."""
        self._repo_names: set[tuple[str, str]] = set()
        """Repository and name of each model's files, to keep quiet about older revisions of them."""

    def add(self, survey: Survey) -> None:
        """Add one store."""
        for group in _groups(survey.folders):
            if self._is_stopped():
                raise Stopped
            found: list[GgufModel] = []
            for folder in group:
                for name, why in folder.odd:
                    self._reject(survey, folder, name, why, ())
                self._add_safetensors(survey, folder)
                files = [file for file in folder.files if _is_gguf(file.name) and self._is_new(file)]
                for model in gguf_models(folder, files, self._facts_of):
                    if isinstance(model, BadGguf):
                        self._reject(survey, folder, model.files[0].name, model.why, model.files)
                    else:
                        found.append(model)
            self._add_group(survey, found)

    def rejected(self) -> Iterable[RejectedFile]:
        """Return the files that are in no model after all, each once."""
        told: set[RejectedFile] = set()
        for rejection in self._rejected:
            is_used = bool(rejection.identities) and rejection.identities <= self._taken
            is_old = rejection.rank > 0 and (rejection.repo, rejection.file.name) in self._repo_names
            if is_used or is_old or rejection.file in told:
                continue
            if len(told) == REJECTED_MAX:
                return
            told.add(rejection.file)
            yield rejection.file

    def _reject(
        self, survey: Survey, folder: FoundFolder, name: str, why: str, files: Sequence[FoundFile]
    ) -> None:
        file = RejectedFile(name=sanitize(name, NAME_MAX) or "?", store=survey.place.store, why=why)
        identities = frozenset(file.identity for file in files if file.identity[1])
        self._rejected.append(_Rejection(file, identities, folder.repo, folder.rank))

    def _is_new(self, file: FoundFile) -> bool:
        return not file.identity[1] or file.identity not in self._taken

    def _add_group(self, survey: Survey, found: Sequence[GgufModel]) -> None:
        """Add the models among files that belong together."""
        projectors: list[GgufModel] = []
        models: list[GgufModel] = []
        for file in found:
            if is_projector(file):
                projectors.append(file)
            elif why := _why_no_model(file.header):
                self._reject(survey, file.folder, file.files[0].name, why, file.files)
            else:
                models.append(file)
        largest = max((model.size for model in models if not _is_draft(model)), default=0)
        drafts = [model for model in models if _is_draft(model) and model.size < DRAFT_SHARE * largest]
        models = [model for model in models if model not in drafts] if drafts else models
        for draft in drafts:
            self._reject(survey, draft.folder, draft.files[0].name, _DRAFT, draft.files)
        seeing = [model for model in models if _purpose(model.header)[0] == "chat"] if projectors else []
        paired: set[str] = set()
        for model in models:
            projector = projector_for(model, seeing, projectors) if model in seeing else None
            if projector is not None:
                paired.add(family(projector))
            self._add_gguf(survey, model, projector)
        for projector in projectors:
            if family(projector) not in paired:
                self._reject(survey, projector.folder, projector.files[0].name, _LONELY, projector.files)

    def _add_gguf(self, survey: Survey, found: GgufModel, projector: GgufModel | None) -> None:
        header, folder = found.header, found.folder
        files = found.files + (projector.files if projector else ())
        purpose, pooling = _purpose(header)
        self._take(folder, files)
        model = LocalModel(
            id="",
            format="gguf",
            path=found.files[0].path,
            files=tuple(file.path for file in files),
            size_bytes=sum(file.size for file in files),
            changed_ns=max(file.mtime_ns for file in files),
            store=survey.place.store,
            purpose=purpose,
            architecture=header.architecture,
            parameters=_parameters(header),
            quantization=quantization_in(found.stem) or header.quantization,
            context_max=header.context_max,
            kv_bytes_per_token=header.kv_bytes_per_token,
            vocabulary=header.vocabulary,
            has_chat_template=header.has_chat_template,
            takes_tools=header.takes_tools,
            projector=projector.files[0].path if projector else "",
            pooling=pooling,
        )
        self._add(survey, folder, model, without_quantization(found.stem), found.stem)

    def _add_safetensors(self, survey: Survey, folder: FoundFolder) -> None:
        wanted = weights_of(file.name for file in folder.files)
        weights = tuple(file for file in folder.files if file.name in wanted)
        if not weights or not any(map(self._is_new, weights)):
            return
        names = {file.name for file in folder.files}
        if CONFIG not in names:
            if ADAPTER in names:
                self._reject(survey, folder, _base(folder), _NO_MODEL["adapter"], weights)
            return
        facts = self._folder_facts_of(folder)
        if isinstance(facts, BadFile):
            self._reject(survey, folder, _base(folder), facts.why, weights)
            return
        self._take(folder, weights)
        name = _base(folder)
        model = LocalModel(
            id="",
            format="mlx" if facts.is_mlx else "safetensors",
            path=folder.path,
            files=tuple(file.path for file in folder.files),
            size_bytes=sum(file.size for file in weights),
            changed_ns=max(file.mtime_ns for file in folder.files),
            store=survey.place.store,
            purpose=facts.purpose or "chat",
            architecture=facts.architecture,
            parameters=_parameters(facts),
            quantization=facts.quantization,
            context_max=facts.context_max,
            kv_bytes_per_token=facts.kv_bytes_per_token,
            vocabulary=facts.vocabulary,
            has_chat_template=facts.has_chat_template,
            takes_tools=facts.takes_tools,
        )
        self._add(survey, folder, model, name, name)

    def _take(self, folder: FoundFolder, files: Sequence[FoundFile]) -> None:
        self._taken.update(file.identity for file in files if file.identity[1])
        self._repo_names.update((folder.repo, sanitize(file.name, NAME_MAX)) for file in files)

    def _add(self, survey: Survey, folder: FoundFolder, model: LocalModel, stem: str, file_stem: str) -> None:
        place = survey.place
        self.models.append(
            Unnamed(
                model=model,
                stem=stem,
                file_stem=file_stem,
                folder=_base(folder),
                repo=folder.repo,
                rank=folder.rank,
                place=place.label if place.store == "folder" else place.store,
            )
        )


def _groups(folders: Sequence[FoundFolder]) -> list[list[FoundFolder]]:
    """Return folders whose files belong together: those of a repository, others each for itself.

    A folder of projectors alone (by their names) belongs to the one that it lies in.
    """
    groups: dict[str, list[FoundFolder]] = {}
    for folder in folders:
        root = folder.root
        if (
            root not in groups
            and folder.files
            and all(is_projector_name(stem_of(file.name)) for file in folder.files)
        ):
            above = root.replace("\\", "/").rpartition("/")[0]
            root = next((known for known in groups if known.replace("\\", "/") == above), root)
        groups.setdefault(root, []).append(folder)
    return list(groups.values())


def _base(folder: FoundFolder) -> str:
    """Return the name of a folder, which is the repository's where it has one."""
    name = folder.repo if folder.repo and folder.path == folder.root else folder.path
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _why_no_model(header: Header) -> str:
    if header.architecture in _NO_LANGUAGE:
        return f"Not a language model ({header.architecture})."
    if header.role == "model" and not header.architecture:
        return "Its header names no architecture: no engine can run it."
    return _NO_MODEL.get(header.role, "")


def _is_draft(model: GgufModel) -> bool:
    return model.header.architecture in _DRAFTS or is_draft(model.stem)


def _purpose(header: Header) -> tuple[Purpose, int]:
    """Return what a model is for, and its pooling."""
    if header.pooling == _RANK:
        return "rerank", _RANK
    if header.pooling:
        return "embedding", header.pooling
    if header.architecture in _EMBEDDING:
        return "embedding", _MEAN
    return "chat", 0


def _parameters(header: Header) -> str:
    """Return the size of a model in words, such as `1.7B` or `8x7B`."""
    if _SIZE_LABEL.fullmatch(header.size_label):
        return header.size_label
    count = header.parameters
    if count >= 100_000_000_000:
        return f"{count / 1e9:.0f}B"
    for unit, name, digits in ((1e9, "B", 1), (1e6, "M", 0), (1e3, "K", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return ""
