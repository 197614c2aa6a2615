import pytest

from meshlight.storage.config.toml_layout import KeyPath, layout

TEXT = '''\
# top
port = 1

[routing]   # how
policy = "fastest"
aliases = { a = "b" }
text = """
port = 2
[backends]
"""

[[backends]]
url = "one"

[backends.extra]
deep.er = 1

  [[backends]]
  url = "two"
  list = [
    1, # ]
    # [[backends]]
    2,
  ]

[[routing.rules]]
model = "x"
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("port",), 2),
        (("routing",), 4),
        (("routing", "policy"), 5),
        (("routing", "aliases", "a"), 6),
        (("routing", "text"), 7),
        (("backends", 0), 12),
        (("backends", 0, "url"), 13),
        (("backends", 0, "extra", "deep", "er"), 16),
        (("backends", 1), 18),
        (("backends", 1, "list", 1), 20),
        (("backends", 1, "kind"), 18),
        (("routing", "rules", 0, "model"), 27),
        (("routing", "rules", 0, "nothing", "here"), 26),
    ],
)
def test_every_key_has_its_line_and_a_missing_one_that_of_its_table(place: KeyPath, line: int) -> None:
    assert layout(TEXT).line_of(place) == line


def test_what_is_nowhere_has_no_line() -> None:
    assert layout(TEXT).line_of(("discovery",)) is None
    assert layout("").line_of(("port",)) is None


def test_the_statements_and_what_is_between_them_are_the_whole_text() -> None:
    page = layout(TEXT)
    assert "\n".join(page.lines) == TEXT
    ends = [0, *(s.end for s in page.statements)]
    assert all(end <= s.first < s.end for end, s in zip(ends, page.statements, strict=False))
    assert page.unfinished is None


def test_a_statement_that_never_ends_is_found_by_its_first_line() -> None:
    page = layout('port = 1\n\ntext = """\nmore\n\nport = 2\n')
    assert page.unfinished == 2
    assert [s.first for s in page.statements] == [0]


def test_a_text_of_endless_brackets_is_given_up() -> None:
    assert layout("x = [\n" + "[\n" * 3000).unfinished == 0
