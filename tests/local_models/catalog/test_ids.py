"""Names of models: each means one of them."""

from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.local_models import LocalModel
from meshlight.local_models.catalog.ids import Names, Unnamed, name_all


def unnamed(
    stem: str,
    quantization: str = "",
    *,
    repo: str = "",
    folder: str = "models",
    place: str = "own",
    rank: int = 0,
) -> Unnamed:
    model = LocalModel(
        id="", format="gguf", path="p", files=("p",), size_bytes=1, store="own", quantization=quantization
    )
    file_stem = f"{stem}-{quantization}" if quantization else stem
    return Unnamed(
        model=model, stem=stem, file_stem=file_stem, folder=folder, repo=repo, place=place, rank=rank
    )


def ids(*models: Unnamed) -> list[str]:
    named = name_all(models)
    assert [model.id for model in named.values()] == list(named)
    return list(named)


def test_a_repositorys_file_is_called_by_its_quantization() -> None:
    assert ids(unnamed("m", "Q8_0", repo="o/r"), unnamed("m", repo="o/s")) == ["o/r:Q8_0", "o/s"]


def test_another_file_is_called_by_its_name() -> None:
    assert ids(unnamed("m", "Q8_0"), unnamed("n")) == ["m-Q8_0", "n"]


def test_a_name_that_says_nothing_is_replaced_by_the_folders() -> None:
    assert ids(
        unnamed("model", folder="Jan-v1"),
        unnamed("ggml-model", "Q4_0", folder="x"),
        unnamed("model", folder=""),
    ) == ["Jan-v1", "x:Q4_0", "model"]


def test_the_same_id_twice_is_told_apart() -> None:
    assert ids(*[unnamed("m", folder=folder) for folder in ("a", "b", "b", "b")]) == [
        "m",
        "b/m",
        "m@own",
        "m@own-2",
    ]
    repository = [unnamed(stem, "Q4_0", repo="o/r") for stem in ("one", "two")]
    assert ids(*repository, unnamed("one", "Q4_0", repo="o/r", place="hub")) == [
        "o/r:Q4_0",
        "o/r:two-Q4_0",
        "o/r:Q4_0@hub",
    ]


def test_the_preferred_quantization_has_the_repositorys_name() -> None:
    named = name_all([unnamed("m", kind, repo="o/r") for kind in ("Q2_K", "Q8_0", "Q4_K_M", "BF16")])
    assert {model.id: model.names for model in named.values()} == {
        "o/r:Q2_K": ("m-Q2_K",),
        "o/r:Q8_0": ("m-Q8_0",),
        "o/r:Q4_K_M": ("m-Q4_K_M", "o/r", "m"),
        "o/r:BF16": ("m-BF16",),
    }


def test_an_older_revision_gives_way() -> None:
    new, old = unnamed("m", "Q4_0", repo="o/r"), unnamed("m", "Q4_0", repo="o/r", rank=1)
    assert ids(new, old) == ["o/r:Q4_0"]


def test_names_are_found_as_people_write_them() -> None:
    named = name_all([unnamed("m", "Q4_K_M", repo="Owner/Repo"), unnamed("Other")])
    names = Names(named)
    for name in (
        "Owner/Repo:Q4_K_M",
        "owner/repo:q4_k_m",
        "hf.co/Owner/Repo",
        "huggingface.co/owner/repo:Q4_K_M",
    ):
        found = names.find(name)
        assert found is not None
        assert found.id == "Owner/Repo:Q4_K_M"
    assert names.find("nothing") is None
    assert names.find("") is None


def test_names_of_strangers_are_safe_to_show() -> None:
    (model_id,) = ids(unnamed("\x1b[2Jm\u202e\n" + "x" * 1000, repo="o\n/r\x00"))
    assert model_id == "o /r"
    assert ids(unnamed("\x07\u200b")) == ["model"]


STEMS = st.sampled_from(["m", "n", "model", "", "m-Q4_0"])


@given(
    st.lists(
        st.builds(
            unnamed,
            STEMS,
            st.sampled_from(["", "Q4_0"]),
            repo=st.sampled_from(["", "o/r", "m"]),
            folder=st.sampled_from(["", "m", "a"]),
            place=st.sampled_from(["own", "hub"]),
        ),
        max_size=12,
    )
)
def test_every_name_means_one_model(models: list[Unnamed]) -> None:
    named = name_all(models)
    assert len(named) == len(models)
    all_names = [name for model in named.values() for name in (model.id, *model.names)]
    assert len(all_names) == len(set(all_names))
    assert all(all_names)
    names = Names(named)
    assert all(names.find(model.id) is model for model in named.values())
