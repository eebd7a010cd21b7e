"""What tests of whole runs share."""

from tests.runs.instant import instant_warm_up

__all__ = ["instant_warm_up"]
