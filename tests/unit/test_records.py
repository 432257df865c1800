"""Records come back from JSON as they were written, and every other JSON is refused by field."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError
from lora_forensics.core.records import Reader, strict_json
from lora_forensics.core.specs import Spec, setting

READER = Reader("kept.json", "BAD_FILE", "write it again")


@dataclass(frozen=True)
class Sides(Spec):
    side: int = setting(8, "pixels", low=1, high=64)


@dataclass(frozen=True)
class Inner:
    name: str
    share: float


@dataclass(frozen=True)
class Outer:
    count: int
    sure: bool
    kind: Literal["mark", "token"]
    maybe: Inner | None
    pair: tuple[int, str]
    rows: tuple[Inner, ...]
    named: dict[str, tuple[float, ...]]
    more: Any
    settings: Sides = Sides()


numbers = st.floats(allow_nan=False, allow_infinity=False)
inner = st.builds(Inner, st.text(), numbers)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
    lambda value: st.lists(value) | st.dictionaries(st.text(), value),
    max_leaves=4,
)
outer = st.builds(
    Outer,
    count=st.integers(-(10**17), 10**17),
    sure=st.booleans(),
    kind=st.sampled_from(["mark", "token"]),
    maybe=st.none() | inner,
    pair=st.tuples(st.integers(1, 9), st.text()),
    rows=st.lists(inner, max_size=3).map(tuple),
    named=st.dictionaries(st.text(), st.lists(numbers).map(tuple), max_size=2),
    more=plain,
    settings=st.integers(1, 64).map(Sides),
)
ONE = Outer(3, True, "mark", Inner("a", 0.5), (1, "b"), (Inner("c", 1.0),), {"d": (2.0,)}, None)


def changed(**changes: Any) -> Any:
    return json.loads(json.dumps(asdict(ONE))) | changes


@given(outer)
def test_what_was_written_comes_back(record):
    assert READER.read(Outer, json.dumps(asdict(record)).encode()) == record


@given(st.sampled_from([f.name for f in fields(Outer)]), st.text(min_size=1))
def test_every_field_and_no_other_is_there(name, other):
    facts = changed()
    del facts[name]
    with pytest.raises(InputError, match=f"BAD_FILE: kept.json: {name} is missing; write it again"):
        READER.record(Outer, facts)
    if other not in changed():
        with pytest.raises(InputError, match=r"BAD_FILE: kept\.json: it has .*expected only count"):
            READER.record(Outer, changed() | {other: 1})


@given(plain)
def test_strange_values_are_refused_and_never_a_crash(value):
    for kind in (Outer, tuple[Inner, ...], dict[str, Inner], tuple[int, str]):
        try:
            record = READER.record(kind, value)
        except InputError:
            continue
        assert record in ((), {}) or (len(value) == 2 and list(record) == value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": True}, "count is True, expected a whole number"),
        ({"count": 3.0}, "count is 3.0, expected a whole number"),
        ({"sure": 1}, "sure is 1, expected true or false"),
        ({"kind": "subset"}, "kind is 'subset', expected one of mark, token"),
        ({"maybe": {"name": "a", "share": "x"}}, "maybe.share is 'x', expected a number"),
        ({"maybe": []}, "maybe is [], expected an object with name, share"),
        ({"pair": [1]}, "pair is [1], expected a list of 2"),
        ({"pair": {"0": 1}}, "pair is {'0': 1}, expected a list"),
        ({"rows": [{"name": "a", "share": 1}, 7]}, "rows[1] is 7, expected an object"),
        ({"rows": [{"name": None, "share": 1}]}, "rows[0].name is None, expected text"),
        ({"named": {"d": [None]}}, "named['d'][0] is None, expected a number"),
        ({"named": [1]}, "named is [1], expected an object"),
        ({"more": "x", "count": "y" * 999}, "count is '" + "y" * 59 + "..., expected"),
    ],
)
def test_the_field_is_named_and_what_was_expected(changes, words):
    with pytest.raises(InputError) as error:
        READER.record(Outer, changed(**changes))
    assert f"kept.json: {words}" in str(error.value)


def test_a_whole_number_serves_as_a_float_and_nothing_else_converts():
    (row,) = READER.record(tuple[Inner, ...], [{"name": "a", "share": 1}])
    assert type(row.share) is float
    with pytest.raises(InputError, match=r"NON_FINITE.*share is inf"):
        READER.read(Inner, b'{"name": "a", "share": 1e999}')


def test_a_setting_out_of_bounds_is_named_by_the_spec_itself():
    with pytest.raises(InputError, match="BAD_SETTING: side is 65"):
        READER.record(Outer, changed(settings={"side": 65}))


@pytest.mark.parametrize("schema", [1, 3, "2", 2.0, True, None])
def test_another_schema_is_named(schema):
    READER.check_schema({"schema_version": 2}, 2)
    for facts in ({"schema_version": schema}, {}, [schema], schema):
        with pytest.raises(InputError, match=r"BAD_FILE: kept\.json: it has schema .*reads 2"):
            READER.check_schema(facts, 2)


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":2}', b"[Infinity]", b"[" * 99_999, b"9" * 5000, b"\xff", b"-0", b""]
)
def test_strict_json_refuses(raw):
    with pytest.raises(InputError):
        strict_json(raw)
    with pytest.raises(InputError, match=r"BAD_FILE: kept\.json: "):
        READER.parse(raw)
