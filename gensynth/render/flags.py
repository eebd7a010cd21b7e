"""What a measurement's flags mean, in words: one text for the bench's table and a run's."""

STATUS = {
    "throttled": "the board slowed itself down meanwhile; cool it and measure again",
    "not_steady": "the warm-up never settled; something else runs there, or clocks move",
}
"""Flags that are a status: their figures may not be used."""

FLAGS = {
    "clocks_unlocked": "clocks could not be locked; `gensynth devices check` says how",
    "power_mode_refused": "the power mode could not be set; `gensynth devices check` says how",
    "power_mode_changed": "the power mode was changed by someone else meanwhile",
    "clocks_not_restored": "clocks could not be put back as they were",
    "smaller_workspace": "the engine was built with less memory than asked for",
    "sensor_missing": "no energy: the device has no power sensor that can be read",
    "sensor_bad": "no energy: the power sensor cannot be believed",
    "few_windows": "joules are of too few windows: fewer than three, or than half of those taken",
    "drift": "the last rounds were over 2 % slower than the first",
    "scatter": "the runs scatter more than those of a quiet machine",
    "busy": "something else ran there meanwhile",
    "slow": "the device was slower than it uses to be",
    "reference_left_out": "nothing shows whether the device was as fast as it uses to be",
    "threads": "more threads than processors: they wait for each other",
    "on_the_processor": "measured on the processor, not with TensorRT",
    "other_precision": "most layers of the engine compute in another precision than asked for",
}


def told(flag: str) -> str:
    """Return a flag as a table tells it."""
    if flag in STATUS:
        return f"{flag.upper().replace('_', ' ')}: {STATUS[flag]}"
    return f"note: {FLAGS.get(flag, flag)}"
