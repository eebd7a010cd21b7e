"""gensynth."""
