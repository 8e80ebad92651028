"""Whether a series jumps, rises or stays: three fits, and which of them its length and its noise allow."""

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST, MOST = 8, 60
"""Points of a series that says anything; a longer one than MOST is averaged over neighbours."""
POSITIVE = 2.0
"""A difference of BIC above this is evidence (Kass and Raftery 1995, J. Am. Stat. Assoc. 90, 773-795)."""


class Fits(NamedTuple):
    """The Bayesian information criterion of each fit (Schwarz 1978, Annals of Statistics 6, 461-464); least is best.

    Attributes:
        level: one mean.
        ramp: one mean, a straight way, another mean; the way may be the whole series.
        jump: one mean up to a point, another one from there on.
        at: that point, as a share of the series.
        rise: the mean after it less the mean before it.
    """

    level: float
    ramp: float
    jump: float
    at: float
    rise: float

    @property
    def gradual(self) -> float:
        """How much the better one of level and ramp is preferred to the jump; below 0 the jump is."""
        return self.jump - min(self.level, self.ramp)


def fits(series: Sequence[float]) -> Fits:
    """Fit a series by least squares. A change point counts as a parameter (Yao 1988, Stat. Prob. Letters 6, 181-189).

    Raises:
        ValueError: it has fewer than LEAST points.

    >>> jumps, rises = fits([0.0, 0.1] * 10 + [0.8, 0.9] * 10), fits([i / 40 for i in range(40)])
    >>> jumps.gradual < -POSITIVE, round(jumps.at, 2), rises.gradual > POSITIVE
    (True, 0.5, True)
    """
    import numpy as np

    if len(series) < LEAST:
        raise ValueError(f"{len(series)} points say nothing of a change, {LEAST} do")
    values_N = np.array([part.mean() for part in np.array_split(np.array(series), min(MOST, len(series)))])
    n = len(values_N)
    places_N = np.arange(n)
    jumps = {at: _rest(values_N, places_N >= at) for at in range(1, n)}
    ramps = [
        _rest(values_N, np.clip((places_N - start) / (end - start), 0, 1))
        for start in range(n - 2)
        for end in range(start + 2, n)
    ]
    at = min(jumps, key=lambda place: jumps[place])
    level = float(((values_N - values_N.mean()) ** 2).sum())
    rise = float(values_N[at:].mean() - values_N[:at].mean())
    return Fits(_bic(level, n, 1), _bic(min(ramps), n, 4), _bic(jumps[at], n, 3), at / n, rise)


def _rest(values_N: "NDArray[np.float64]", shape_N: "NDArray[np.floating | np.bool_]") -> float:
    """The sum of squares that is left of the values by a line over a shape."""
    centred_N, shape_N = values_N - values_N.mean(), shape_N - shape_N.mean()
    return float((centred_N**2).sum() - (centred_N * shape_N).sum() ** 2 / (shape_N**2).sum())


def _bic(rest: float, n: int, parameters: int) -> float:
    """Of normal errors; shares that differ by less than 1e-6 are the same."""
    return n * log(max(rest / n, 1e-12)) + parameters * log(n)
