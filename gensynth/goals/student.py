"""Student's t: what the mean of a few windows says, and how surely.

Nothing here knows what was measured. The values are taken as independent draws of one
normal distribution, which means of whole windows are and single samples are not.
"""

import math
from functools import lru_cache

CONFIDENCE = 0.95


@lru_cache(maxsize=256)
def quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return the t that |T| stays below with this confidence.

    The distribution has a closed form for whole degrees of freedom, with
    theta = atan(t / sqrt(freedom)):

        odd    2/pi (theta + sin theta (cos theta + 2/3 cos^3 theta + 2 4/(3 5) cos^5 theta + ...))
        even   sin theta (1 + 1/2 cos^2 theta + 1 3/(2 4) cos^4 theta + ...)

    up to the power freedom - 2; it is inverted by bisection of theta.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: in (0, 1), two-sided.

    Raises:
        ValueError: if either is out of range.

    Example:
        >>> round(quantile(9), 3)
        2.262
    """
    if freedom < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"freedom must be at least 1 and confidence in (0, 1), got {freedom} and {confidence}"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _share_within(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _share_within(theta: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan theta)."""
    cosine = math.cos(theta)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for power in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total
