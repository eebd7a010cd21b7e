"""What tests of artefacts share."""

from tests.fakes.cudart import libcudart

__all__ = ["libcudart"]
