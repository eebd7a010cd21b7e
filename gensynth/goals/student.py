"""Student's t: what the mean of a few windows says, and how surely.

Nothing here knows what was measured. The values are taken as independent draws of one
normal distribution, which means of whole windows are and single samples are not.
"""

from functools import lru_cache

CONFIDENCE = 0.95


@lru_cache(maxsize=256)
def quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return the t that |T| stays below with this confidence.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: in (0, 1), two-sided.

    Raises:
        ValueError: if either is out of range.

    Example:
        >>> round(quantile(9), 3)
        2.262
    """
    from scipy.special import stdtrit  # here, since most commands need no interval

    if freedom < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"freedom must be at least 1 and confidence in (0, 1), got {freedom} and {confidence}"
        )
    return float(stdtrit(freedom, (1 + confidence) / 2))
