"""What tests of the agent share."""

from tests.fakes.cudart import libcudart

__all__ = ["libcudart"]
