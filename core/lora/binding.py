"""Matches an adapter's modules to a base model's, and refuses what would silently do nothing."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import LoraFormatError, plural
from .formats import MAX_LISTED, LoraFile, LoraModule
from .names import flatten, ldm_to_diffusers
from .operators import Full, Operator, delta, delta_shape, fits, is_zero, tensors_of

MIN_MATCHED = 0.95
MAX_ENTRY = 65_504.0
MAX_RELATIVE_NORM = 10.0
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
Weights = Mapping[str, Mapping[str, Tensor]]


class BoundOperator(NamedTuple):
    """A change and the base module it belongs to."""

    component: str
    module: str
    operator: Operator


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of one component an adapter reaches.

    Attributes:
        matched: modules of the adapter that found their base module; ``total`` is all of them.
        base_touched: base modules with a weight of two or more axes that are changed;
            ``base_total`` is all of those.
    """

    component: str
    matched: int
    total: int
    base_touched: int
    base_total: int


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """An adapter placed on a base. ``unmatched`` are keys that found no base module."""

    pairs: tuple[BoundOperator, ...]
    unmatched: tuple[str, ...]
    coverage: tuple[Coverage, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeltaCheck:
    """Size of one module's change: Frobenius norms in fp64.

    Attributes:
        relative: ``delta_norm / base_norm``, None where the base weight is all zeros.
        max_abs: largest entry of the change.
    """

    component: str
    module: str
    delta_norm: float
    base_norm: float
    relative: float | None
    max_abs: float


def select(lora: LoraFile, components: Iterable[str]) -> LoraFile:
    """The same file with only the named components' modules."""
    names = set(components)
    return replace(lora, modules=tuple(m for m in lora.modules if m.component in names))


def bind(lora: LoraFile, modules: Shapes) -> Binding:
    """Places every change on its base module.

    Args:
        lora: the adapter.
        modules: component -> diffusers module name -> shape of its weight. Give all modules
            that have a weight; kohya's underscored names are resolved against them.

    Raises:
        LoraFormatError: WRONG_BASE if shapes differ or fewer than 95 % of the adapter's modules
            are found; NOT_APPLIED if none is found or nothing would change; AMBIGUOUS if two
            changes address one module or one name fits two modules.
    """
    places = [(module, _find(module, index)) for module, index in _with_index(lora, modules)]
    pairs = [
        BoundOperator(module.component, name, module.operator)
        for module, name in places
        if name is not None
    ]
    unmatched = tuple(module.key for module, name in places if name is None)
    _check_matched(lora, unmatched, modules)
    _check_shapes(lora, pairs, modules)
    _check_single_writer(pairs)
    if all(is_zero(pair.operator) for pair in pairs):
        raise LoraFormatError(
            "NOT_APPLIED",
            f"all {len(pairs)} changes are zero (alpha 0 or empty factors): the adapter does "
            "nothing to the base, so nothing can be concluded from it.",
        )
    coverage = _coverage(lora, pairs, modules)
    warnings = (*lora.warnings, *_coverage_warnings(coverage, unmatched))
    return Binding(tuple(pairs), unmatched, coverage, warnings)


def check_deltas(binding: Binding, weights: Weights) -> tuple[DeltaCheck, ...]:
    """Computes every change against the real weights and refuses impossible ones.

    Args:
        binding: from `bind`.
        weights: component -> module name -> base weight, any float type.

    Raises:
        LoraFormatError: NON_FINITE; OVERFLOW for an entry over 65,504 (fp16's largest) or a
            change over ten times the base's norm; NOT_APPLIED if every change is zero.
    """
    checks = tuple(_check(pair, weights[pair.component][pair.module]) for pair in binding.pairs)
    _raise_listed(
        "NON_FINITE",
        "whose change is not finite",
        [c.module for c in checks if not math.isfinite(c.delta_norm)],
    )
    _raise_listed("OVERFLOW", "whose change is too large for any real adapter", _too_large(checks))
    biases = any(_bias_norm(pair.operator) > 0 for pair in binding.pairs)
    if not biases and all(check.delta_norm == 0 for check in checks):
        raise LoraFormatError("NOT_APPLIED", "every change is zero on this base.")
    return checks


Index = Mapping[str, list[str]]


def _with_index(
    lora: LoraFile, modules: Shapes
) -> Iterable[tuple[LoraModule, tuple[Index, int, Mapping[str, tuple[int, ...]]]]]:
    indices = {
        component: (_index(names), _layers_per_block(names), names)
        for component, names in modules.items()
    }
    empty: tuple[Index, int, Mapping[str, tuple[int, ...]]] = ({}, 2, {})
    return [(module, indices.get(module.component, empty)) for module in lora.modules]


def _index(names: Iterable[str]) -> Index:
    """Base modules by underscored name without the text encoder's optional outer prefix."""
    index: dict[str, list[str]] = {}
    for name in names:
        index.setdefault(_bare(flatten(name)), []).append(name)
    return index


def _bare(flat: str) -> str:
    return flat.removeprefix("text_model_")


def _layers_per_block(names: Iterable[str]) -> int:
    prefix = "down_blocks.0.resnets."
    layers = {name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)}
    return len(layers) or 2


def _find(
    module: LoraModule, index: tuple[Index, int, Mapping[str, tuple[int, ...]]]
) -> str | None:
    by_flat, layers, names = index
    if module.name in names:
        return module.name
    flat = flatten(module.name)
    matches = by_flat.get(_bare(flat)) or by_flat.get(ldm_to_diffusers(flat, layers)) or []
    if len(matches) > 1:
        raise LoraFormatError("AMBIGUOUS", f"{module.key!r} fits {matches} of the base.")
    return matches[0] if matches else None


def _check_matched(lora: LoraFile, unmatched: tuple[str, ...], modules: Shapes) -> None:
    total = len(lora.modules)
    if len(unmatched) == total:
        raise LoraFormatError(
            "NOT_APPLIED",
            f"none of the adapter's {plural(total, 'module')} is in the base "
            f"({sorted(modules)} given). {_family_note(lora)} First: {list(unmatched[:3])}.",
        )
    if total - len(unmatched) < MIN_MATCHED * total:
        raise LoraFormatError(
            "WRONG_BASE",
            f"not in the base: {len(unmatched)} of {plural(total, 'module')} "
            f"({sorted(modules)} given), at most {1 - MIN_MATCHED:.0%} may be missing. "
            f"{_family_note(lora)} First: {list(unmatched[:MAX_LISTED])}.",
        )


def _check_shapes(lora: LoraFile, pairs: Iterable[BoundOperator], modules: Shapes) -> None:
    wrong = [
        f"{pair.module}: adapter {list(delta_shape(pair.operator))}, base "
        f"{list(modules[pair.component][pair.module])}"
        for pair in pairs
        if not _fits(pair.operator, tuple(modules[pair.component][pair.module]))
    ]
    _raise_listed("WRONG_BASE", f"of another shape. {_family_note(lora)}", wrong)


def _fits(operator: Operator, shape: tuple[int, ...]) -> bool:
    bias = operator.bias if isinstance(operator, Full) else None
    return fits(delta_shape(operator), shape) and (bias is None or bias.shape == shape[:1])


def _check_single_writer(pairs: Iterable[BoundOperator]) -> None:
    counts = Counter((pair.component, pair.module) for pair in pairs)
    twice = [f"{component} {module}" for (component, module), n in counts.items() if n > 1]
    _raise_listed("AMBIGUOUS", "of the base written twice", twice)


def _raise_listed(code: str, what: str, items: list[str]) -> None:
    if items:
        raise LoraFormatError(
            code, f"{plural(len(items), 'module')} {what}. First: {'; '.join(items[:MAX_LISTED])}."
        )


def _family_note(lora: LoraFile) -> str:
    if lora.family == "unknown":
        return "The file's names do not tell its family; give the base it was trained on."
    return f"The file looks like {lora.family}; give the base it was trained on."


def _coverage(
    lora: LoraFile, pairs: Iterable[BoundOperator], modules: Shapes
) -> tuple[Coverage, ...]:
    total = Counter(module.component for module in lora.modules)
    matched = Counter(pair.component for pair in pairs)
    touched = Counter(
        pair.component for pair in pairs if len(modules[pair.component][pair.module]) > 1
    )
    return tuple(
        Coverage(
            component,
            matched[component],
            total[component],
            touched[component],
            sum(len(shape) > 1 for shape in modules.get(component, {}).values()),
        )
        for component in sorted({*total, *modules})
    )


def _coverage_warnings(coverage: Iterable[Coverage], unmatched: tuple[str, ...]) -> Iterable[str]:
    for part in coverage:
        if part.base_total and not part.total:
            yield f"the adapter does not change the {part.component}."
    if unmatched:
        yield f"{plural(len(unmatched), 'module')} without a place: {list(unmatched[:MAX_LISTED])}."


def _check(pair: BoundOperator, weight: Tensor) -> DeltaCheck:
    change = delta(pair.operator, weight).double()
    delta_norm = math.hypot(_norm(change), _bias_norm(pair.operator))
    base_norm = _norm(weight.double())
    relative = delta_norm / base_norm if base_norm > 0 else None
    peak = float(change.abs().max()) if change.numel() else 0.0
    return DeltaCheck(pair.component, pair.module, delta_norm, base_norm, relative, peak)


def _too_large(checks: Iterable[DeltaCheck]) -> list[str]:
    return [
        f"{check.module} (largest entry {check.max_abs:.3g}, norm {check.delta_norm:.3g} on a "
        f"base of {check.base_norm:.3g})"
        for check in checks
        if check.max_abs > MAX_ENTRY or (check.relative or 0.0) > MAX_RELATIVE_NORM
    ]


def _bias_norm(operator: Operator) -> float:
    bias = tensors_of(operator).get("bias")
    return 0.0 if bias is None else _norm(bias.double())


def _norm(value: Tensor) -> float:
    return float(torch.linalg.vector_norm(value))
