"""Share of photos used and likelihood ratios, each case judged by the others only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import MissingDependencyError, NotEnoughDataError
from ...rates.facts import LikelihoodCheck, PhotoCalls, Reference, UsageCheck
from ...rates.precedents import called_share, set_statistic
from ...statistics.likelihood import calibration_quality
from ...statistics.usage import UsageShare, best_threshold
from .examine import PRIMARY, Examined
from .rates import Floats, Results, estimate, share, standardized


def case_usage(e: Examined, others: Results) -> UsageShare | None:
    """DUCI: which share of a case's photos was used, calibrated on other cases of equal steps.

    The threshold comes from one half of those cases, its two error rates from the other half.

    Args:
        e: the case.
        others: all cases; the case itself and other training lengths are left out.

    Returns:
        None where members and non-members are called too alike for any share.
    """
    known = photo_calls(others, e.case.steps, without=e.case.number)
    if known is None:
        return None
    return called_share(known, standardized(e.scores[PRIMARY])[0], seed=e.case.seed)


def photo_calls(results: Results, steps: int, *, without: int = -1) -> PhotoCalls | None:
    """A threshold from one half of the cases of so many steps, its rates from the other half.

    Args:
        results: all cases.
        steps: of training.
        without: number of a case that is left out.

    Returns:
        None with fewer than two cases of a truth.
    """
    like = [
        [o for o in part if o.case.number != without and o.case.steps == steps]
        for part in (results.guilty, results.innocent)
    ]
    if min(len(part) for part in like) < 2:
        return None
    threshold = best_threshold(*(_photos(part[::2]) for part in like))
    member_cases, nonmember_cases = (_called(part[1::2], threshold) for part in like)
    (hits, members), (false, nonmembers) = (
        tuple(map(sum, zip(*counts, strict=True))) for counts in (member_cases, nonmember_cases)
    )
    return PhotoCalls(
        steps=steps,
        threshold=threshold,
        hits=hits,
        members=members,
        false=false,
        nonmembers=nonmembers,
        member_cases=member_cases,
        nonmember_cases=nonmember_cases,
    )


def _called(cases: Sequence[Examined], threshold: float) -> tuple[tuple[int, int], ...]:
    """Photos called and photos asked about, of each case."""
    scores = [standardized(e.scores[PRIMARY])[0] for e in cases]
    return tuple((int((s >= threshold).sum()), len(s)) for s in scores)


def _photos(cases: Sequence[Examined]) -> Floats:
    return np.concatenate([standardized(e.scores[PRIMARY])[0] for e in cases])


def usage_checks(results: Results) -> tuple[UsageCheck, ...]:
    """Estimated share of photos used against the truth, one row a truth."""
    rows = []
    for part in (results.innocent, results.partial, results.guilty):
        shares = [case_usage(e, results) for e in part]
        estimated = [(e, u) for e, u in zip(part, shares, strict=True) if u is not None]
        if estimated:
            covered = sum(u.low <= e.case.used <= u.high for e, u in estimated)
            rows.append(
                UsageCheck(
                    part[0].case.used,
                    estimate([u.share for _, u in estimated]),
                    share(covered, len(estimated)),
                    len(part) - len(estimated),
                )
            )
    return tuple(rows)


def reference(results: Results) -> Reference:
    """Set statistics of all cases of full truth."""
    guilty, innocent = (
        tuple(set_statistic(e.scores[PRIMARY].photos, e.scores[PRIMARY].controls) for e in part)
        for part in (results.guilty, results.innocent)
    )
    lengths = sorted({e.case.steps for e in (*results.guilty, *results.innocent)})
    calls = (photo_calls(results, steps) for steps in lengths)
    return Reference(guilty, innocent, tuple(c for c in calls if c is not None))


def likelihood_check(results: Results) -> LikelihoodCheck | None:
    """How good likelihood ratios of whole cases are; None without `lir` or enough cases."""
    known = reference(results)
    try:
        quality = calibration_quality(known.guilty, known.innocent)
    except (MissingDependencyError, NotEnoughDataError):
        return None
    guilty, innocent = np.array(quality.members), np.array(quality.nonmembers)
    return LikelihoodCheck(
        method=f"{quality.calibrator} calibration of the set statistic, five folds",
        cllr=float(quality.cllr),
        cllr_min=float(quality.cllr_min),
        misleading_innocent=share(int((innocent > 0).sum()), len(innocent)),
        misleading_guilty=share(int((guilty < 0).sum()), len(guilty)),
        largest_innocent=float(10 ** innocent.max()),
    )
