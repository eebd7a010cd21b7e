"""What tests of artefacts share."""

from tests.fakes.cudart import libcudart
from tests.runs.instant import instant_warm_up

__all__ = ["instant_warm_up", "libcudart"]
