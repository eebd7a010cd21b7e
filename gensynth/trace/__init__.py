"""A torch module read as a graph: torch.fx finds the calls, one example gives the shapes.

    capture     the calls, in order, what each computes, the user's line that makes it
    reader      writes a vertex for each call; `trace` itself
    modules     what torch's layers mean in the vocabulary
    weighted    convolutions, linear layers and norms, with their tensors
    functions   what torch's functions and methods mean
    arithmetic  what + - * / mean, with values, constants and parameters
    arguments   traced values and weights within nested arguments
    answers_apart    whether images are answered one by one
    channels_last    code that has an image's channels last
    layout      what views, slices and permutations mean
    meaning     the types that pass between these

A layer the vocabulary cannot say becomes an `opaque` vertex with the reason. What cannot
even be that is a `TraceError` that names the user's file and line. The module itself is
never changed: a copy is traced, in evaluation mode.
"""

from gensynth.trace.reader import trace

__all__ = ["trace"]
