"""Learn to generate small neural networks that meet a stated requirement.

    prototype + data -> graph -> generator -> network -> probe -> inquisitor
                                     ^                                |
                                     +--------- cycle by cycle -------+
                     generator -> finalists -> export -> bench

`gensynth.synthesis` holds the cycle; `gensynth.cli` is the command. Importing this package
imports neither torch nor any of its own parts.
"""

from pathlib import Path

from gensynth.links import explain_lost_links

__version__ = "0.1.0"

explain_lost_links(Path(__file__).parent)
