"""Other spellings of an inference path lead to that path, and to nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.gateway.server.path_spelling import canonical_path, normalize_path


@pytest.mark.parametrize(
    ("path", "stands_for"),
    [
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1//chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("//chat/completions//", "/v1/chat/completions"),
        ("/embeddings", "/v1/embeddings"),
        ("/rerank", "/v1/rerank"),
        ("/reranking", "/v1/rerank"),
        ("/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/responses/", "/v1/responses"),
        ("//api/chat", "/api/chat"),
        ("/api/tags/", "/api/tags"),
        ("/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("//v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("//v1/models/a//b%2Fc", "/v1/models/a//b%2Fc"),
    ],
)
def test_another_spelling_is_the_path_that_it_stands_for(path: str, stands_for: str) -> None:
    assert canonical_path(path) == stands_for


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/mesh/snapshot",
        "//mesh/snapshot",
        "/mesh/snapshot/",
        "/mesh//v1/chat/completions",
        "//mesh/../v1/models",
        "/v1/mesh/",
        "//healthz",
        "//metrics",
        "/app/main.js/",
        "/v1/models/m",
        "/chat",
        "/CHAT/completions",
        "/v1/chat%2Fcompletions/",
        "/%761/chat/completions/",
        "/peer/catalog/",
        "//v1/models/../../mesh",
    ],
)
def test_no_other_path_changes_to_one_that_is_not_inference(path: str) -> None:
    found = canonical_path(path)
    assert found is None or found.startswith(("/v1/models/", "/v1beta/models/"))


@given(st.text("/.%v1apimeshodlbt2F", max_size=30))
def test_whatever_comes_out_is_a_path_of_inference(text: str) -> None:
    scope = {"path": f"/{text}", "raw_path": f"/{text}".encode()}
    normalize_path(scope)
    if scope["path"] != f"/{text}":
        assert str(scope["path"]).startswith(("/v1/", "/api/", "/v1beta/"))
