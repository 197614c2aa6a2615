import pytest

from local_models.fake_engines import FakeRecords, a_model
from meshlight.local_models.engines.records import BYTES_MAX, Records


def test_what_is_kept_is_read_after_a_restart() -> None:
    store = FakeRecords()
    records, model = Records(store), a_model("a")
    assert (records.load_s(model), records.need_bytes(model, 4_096)) == (None, 0)
    records.keep_load(model, 2.5)
    records.keep_need(model, 4_096, 7)
    again = Records(FakeRecords(store.data))
    assert (again.load_s(model), again.need_bytes(model, 4_096)) == (2.5, 7)
    assert again.need_bytes(model, 8_192) == 0
    assert store.writes == 2


def test_another_file_of_the_same_name_is_another_model() -> None:
    records = Records(FakeRecords())
    records.keep_load(a_model("a"), 2.5)
    assert records.load_s(a_model("a", 2)) is None
    records.keep_need(a_model("a", 2), 1, 7)
    assert records.load_s(a_model("a")) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"{", b"[]", b'{"a": 1}', b'{"a": {"size_bytes": "x"}}', b" " * (BYTES_MAX + 1)),
        *(b'{"\xff": {"size_bytes": 1}}', b'{"a": {"size_bytes": 1, "b": ' + b"[" * 100_000),
    ],
)
def test_what_can_not_be_read_is_nothing(data: bytes) -> None:
    store = FakeRecords(data)
    records = Records(store)
    assert records.load_s(a_model("a")) is None
    records.keep_load(a_model("a"), 1.0)
    assert Records(FakeRecords(store.data)).load_s(a_model("a")) == 1.0


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshlight.local_models.engines.records.MODELS_MAX", 2)
    records = Records(FakeRecords())
    for name in "abac":
        records.keep_load(a_model(name), 1.0)
    assert [records.load_s(a_model(name)) for name in "abc"] == [1.0, None, 1.0]
    for context in range(20):
        records.keep_need(a_model("a"), context, 1)
    assert [records.need_bytes(a_model("a"), context) for context in (0, 3, 4, 19)] == [0, 0, 1, 1]
