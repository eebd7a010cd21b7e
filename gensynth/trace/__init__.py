"""A torch module read as a graph: torch.fx finds the calls, one example gives the shapes.

    capture     the calls, in order, and the line of the user's code that makes each
    reader      runs the calls on the example and writes a vertex for each
    modules     what torch's layers mean in the vocabulary
    functions   what torch's functions, methods and Python's operators mean

A layer the vocabulary cannot say becomes an `opaque` vertex with the reason. What cannot
even be that is a `TraceError` that names the user's file and line. The module itself is
never changed: a copy is traced, in evaluation mode.
"""

from gensynth.trace.reader import trace

__all__ = ["trace"]
