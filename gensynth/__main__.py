"""`python -m gensynth` is the command `gensynth`."""

from gensynth.cli import main

main()
