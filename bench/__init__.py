"""Numbers from machines: how long a network takes, beside others in the same minutes.

    timing      several things timed in turns
    compare     intervals of medians and ratios
    latency     ONNX files on a device

Nothing here builds files (`export`) or knows machines (`devices`).
"""
