"""Labelled images: what a data set is, and the sources it can come from."""
