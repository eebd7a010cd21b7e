"""What `import gensynth` offers: arguments as Python has them, results that show themselves.

    synth     a module or a name, images, requirements -> a run
    results   a run and a family of networks, printed, in a notebook and as a data frame

What is computed stands in `gensynth.runs`; nothing here adds to it.
"""
