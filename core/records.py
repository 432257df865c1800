"""Frozen dataclasses from stored JSON: built strictly, or refused with the field that is wrong.

The tool writes ``asdict`` of a record, so a file of its own has every field: a name more, a name
less or a value of another type means that something else wrote it, or that it was changed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Never, TypeVar, get_args, get_origin, get_type_hints

from .errors import InputError, LoraFormatError

T = TypeVar("T")
_DIGITS, _SHOWN = 19, 60
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


class _DuplicateKeyError(ValueError):
    """One JSON object names a key twice."""


class _MisfitError(ValueError):
    """A value is not of its declared type; the words say where, what it is, what was expected."""


class _NotFiniteError(_MisfitError):
    """A number is infinite or NaN."""


def strict_json(raw: bytes) -> Any:
    """Parse JSON from a stranger: no duplicate keys, NaN, huge integers or deep nesting.

    Raises:
        LoraFormatError: MALFORMED_HEADER or DUPLICATE_KEY.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_small_int,
        )
    except _DuplicateKeyError as error:
        raise LoraFormatError("DUPLICATE_KEY", f"the JSON names {error} twice.") from error
    except (ValueError, RecursionError) as error:
        raise LoraFormatError("MALFORMED_HEADER", f"the JSON cannot be read: {error}") from error


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _DuplicateKeyError(_shown(key))
        result[key] = value
    return result


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _small_int(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"an integer has more than {_DIGITS} digits")
    if text == "-0":
        raise ValueError("-0 is not a size")
    return int(text)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the JSON of one file and names the file when it is refused.

    Attributes:
        where: what the file is called in errors, such as its path.
        code: of the errors.
        fix: what the user can do, without a full stop.
    """

    where: str
    code: str
    fix: str

    def refuse(self, wrong: str | Exception, *, code: str = "") -> Never:
        """Say what is wrong with the file.

        Raises:
            InputError: always.
        """
        words = str(wrong)
        if isinstance(wrong, InputError):
            words = words.removeprefix(f"ERROR/{wrong.code}: ")
        cause = wrong if isinstance(wrong, Exception) else None
        raise InputError(code or self.code, f"{self.where}: {words}; {self.fix}") from cause

    def parse(self, raw: bytes) -> Any:
        """`strict_json` under this reader's code.

        Raises:
            InputError: `code`.
        """
        try:
            return strict_json(raw)
        except LoraFormatError as error:
            self.refuse(error)

    def read(self, kind: type[T], raw: bytes) -> T:
        """`parse`, then `record`."""
        return self.record(kind, self.parse(raw))

    def check_schema(self, facts: Any, schema: int) -> None:
        """Hold the ``schema_version`` of parsed JSON to the one that is read.

        Raises:
            InputError: `code`, it is another or there is none.
        """
        given = facts.get("schema_version") if isinstance(facts, dict) else None
        if type(given) is not int or given != schema:
            self.refuse(f"it has schema {_shown(given)}, this version reads {schema}")

    def record(self, kind: type[T], value: Any) -> T:
        """Parsed JSON as a declared type: a dataclass, or a tuple or dict of such.

        Fields may be text, numbers, truth values, ``Any``, ``Literal``, ``X | None``, tuples (JSON
        lists), dicts with text as keys, and dataclasses. A whole number serves as a float.

        Raises:
            InputError: `code`, with the field that is missing, unknown or of another type;
                NON_FINITE; or what the dataclass itself says of a value.

        Example:
            >>> from .types import ModelHashes
            >>> reader = Reader("x.json", "BAD_FILE", "make it again")
            >>> reader.record(ModelHashes, {"base": "b", "tuned": "t"})
            ModelHashes(base='b', tuned='t')
            >>> try:
            ...     reader.record(ModelHashes, {"base": "b", "tuned": 1})
            ... except InputError as error:
            ...     print(error)
            ERROR/BAD_FILE: x.json: tuned is 1, expected text; make it again
        """
        try:
            return _value(kind, value, "")
        except _MisfitError as misfit:
            not_finite = isinstance(misfit, _NotFiniteError)
            self.refuse(misfit, code="NON_FINITE" if not_finite else "")


def _value(kind: Any, value: Any, place: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _built(kind, value, place)
    if origin is UnionType:
        (wanted,) = (k for k in inner if k is not NoneType)
        return None if value is None else _value(wanted, value, place)
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in inner):
            _misfit(place, value, f"one of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        return _items(inner, value, place)
    if origin is dict:
        if type(value) is not dict:
            _misfit(place, value, "an object")
        return {k: _value(inner[1], v, f"{place}[{_shown(k)}]") for k, v in value.items()}
    return value if kind is Any else _plain(kind, value, place)


def _built(kind: Any, value: Any, place: str) -> Any:
    types = _types(kind)
    if type(value) is not dict:
        _misfit(place, value, f"an object with {', '.join(types)}")
    at = {name: f"{place}.{name}" if place else name for name in types}
    for name in types:
        if name not in value:
            raise _MisfitError(f"{at[name]} is missing")
    for name in value:
        if name not in types:
            known = ", ".join(types)
            raise _MisfitError(f"{place or 'it'} has {_shown(name)}, expected only {known}")
    return kind(**{name: _value(types[name], value[name], at[name]) for name in types})


@functools.cache
def _types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _items(inner: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if type(value) is not list:
        _misfit(place, value, "a list")
    kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    if len(kinds) != len(value):
        _misfit(place, value, f"a list of {len(kinds)}")
    return tuple(_value(kinds[i], v, f"{place}[{i}]") for i, v in enumerate(value))


def _plain(kind: type, value: Any, place: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        _misfit(place, value, _WORDS[kind])
    if kind is float and not math.isfinite(value):
        raise _NotFiniteError(f"{place} is {value}, expected a finite number")
    return value


def _misfit(place: str, value: Any, wanted: str) -> Never:
    raise _MisfitError(f"{place or 'it'} is {_shown(value)}, expected {wanted}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
