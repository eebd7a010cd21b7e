"""Numbers from machines: latency and energy, beside others measured in the same minutes.

    session       a measurement from the question to the record: `measure`
      dialogue      what is said with the device's agent        place
      subjects      the files, and what they are fed          feed, onnx_cost, observed, structure
                    onnx_operators: which of them multiply
      request       what is asked of a device                 grades, endtoend
      correctness   whether it computed what it should
      figures       what the times say                        compare
      quiet         whether something disturbed them
      control       a chart of the reference network of every board    reference
      energy        what the power samples say                samples, integrate
      record        all of it as plain values; `kept`: what one that is read must have
      store         every measurement that was ever made here         tables
    estimate      what a network would take where it was not measured, a folder of its own
    latency       ONNX files in this process, for a run's own cards   timing

Nothing here builds files (`export`); machines are reached through `devices`. From Python:

    from gensynth.bench import measure
    record = measure(["small.onnx", "large.onnx"], device="tx2", precision="fp16", energy=True)
    for network in record["networks"]:
        print(network["name"], network["latency"]["p50_ms"], network["ratio"])
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gensynth.bench.session import measure

__all__ = ["measure"]


def __getattr__(name: str) -> "Any":
    # What `measure` needs takes a second to import, which `gensynth.bench.compare` does not need.
    if name != "measure":
        raise AttributeError(f"module 'gensynth.bench' has no attribute {name!r}")
    from gensynth.bench.session import measure

    return measure
