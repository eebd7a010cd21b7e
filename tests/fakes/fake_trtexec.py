"""NVIDIA's `trtexec` in four versions, as a program: `python -S fake_trtexec.py VERSION ...`.

It takes the options that a version's help lists, and ends with an error for any other, as the real
one does (NVIDIA/TensorRT, samples/common/sampleOptions.cpp). A run takes 1 ms to the device, 3 ms
there and 1 ms back; a graph saves 1 ms, spinning 0.25 ms, and without --exposeDMA transfers of one
run hide in the next. Warm-up runs are ten times slower; 8.x writes their times too.

GENSYNTH_TRTEXEC chooses the machine: "small" has memory for 64 MiB of workspace, "killed" is
killed, "loud" writes 50 MB, "hangs-building" and "hangs-running" never end. Each call is a line
of the file that GENSYNTH_TRTEXEC_CALLS names.
"""

import base64
import json
import os
import signal
import site
import sys
import time
from pathlib import Path
from typing import Any

COMMON = """onnx saveEngine loadEngine shapes minShapes optShapes maxShapes loadInputs iterations
    warmUp duration sleepTime threads avgRuns percentile verbose exposeDMA exportTimes exportOutput
    exportProfile dumpOutput dumpProfile separateProfileRun timingCacheFile device plugins help
    timeDeserialize timeRefit tacticSources sparsity refit best calib noTF32 noBuilderCache"""
OPT_IN = "noDataTransfers useSpinWait useCudaGraph"
CONSTRAINTS = "precisionConstraints layerPrecisions layerOutputTypes"
OPTIONS = {
    "8.2.1": f"{COMMON} {OPT_IN} fp16 int8 workspace streams buildOnly minTiming nvtxMode safe",
    "8.6.1": f"""{COMMON} {OPT_IN} {CONSTRAINTS} fp16 int8 workspace memPoolSize streams infStreams
        buildOnly skipInference profilingVerbosity exportLayerInfo useManagedMemory""",
    "10.3.0": f"""{COMMON} {OPT_IN} {CONSTRAINTS} fp16 int8 bf16 memPoolSize infStreams
        skipInference profilingVerbosity exportLayerInfo useManagedMemory
        builderOptimizationLevel""",
    "11.0.0": f"""{COMMON} includeDataTransfers noSpinWait noCudaGraph memPoolSize infStreams
        skipInference profilingVerbosity exportLayerInfo builderOptimizationLevel""",
}
NUMBERS = {"8.2.1": "8201", "8.6.1": "8601", "10.3.0": "100300", "11.0.0": "110000"}
UNSUPPORTED = "HardSwish"


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")


def main() -> int:
    """Do what the options say."""
    version, arguments = sys.argv[1], sys.argv[2:]
    with Path(os.environ["GENSYNTH_TRTEXEC_CALLS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(arguments) + "\n")
    known = OPTIONS[version].split()
    say(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{NUMBERS[version]}] # trtexec")
    given = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not name.startswith("--") or name[2:] not in known:
            say(f"[01/01/2026-00:00:00] [E] Unknown option: {argument}")
            return 1
        given[name[2:]] = value
    if "help" in given:
        # From 10 on the real text has more than 40 KB.
        width = 1500 if len(NUMBERS[version]) > 4 else 200
        for name in known:
            say(f"  --{name}=spec".ljust(30) + "as its reference says ".ljust(width, "."))
        return 0
    machine = os.environ.get("GENSYNTH_TRTEXEC")
    if machine == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if machine == "loud":
        say("x" * 50_000_000)
    if machine == ("hangs-building" if "onnx" in given else "hangs-running"):
        time.sleep(3600)
    if "onnx" in given and not _build(version, given):
        return 1
    if not {"skipInference", "buildOnly"} & given.keys() and not _run(version, given):
        return 1
    say(f"&&&& PASSED TensorRT.trtexec [TensorRT v{NUMBERS[version]}]")
    return 0


def _build(version: str, given: dict[str, str]) -> bool:
    content = Path(given["onnx"]).read_bytes()
    if UNSUPPORTED.encode() in content:
        say("[E] [TRT] ModelImporter.cpp:140: While parsing node number 1 [HardSwish -> b]:")
        if version.startswith("8"):
            say("[E] [TRT] ERROR: In node 1 (importFallbackPluginImporter): UNSUPPORTED_NODE")
        else:
            say("[E] [TRT] ERROR: In function checkFallbackPluginImporter:")
            say('[6] creator && "Plugin not found, are the plugin name, version, and ..."')
        return False
    workspace = given.get("workspace") or given["memPoolSize"].replace("workspace:", "")
    if os.environ.get("GENSYNTH_TRTEXEC") == "small" and int(workspace) > 64:
        say("[E] Error[2]: [virtualMemoryBuffer.cpp] OutOfMemory (no further information)")
        return False
    plan = {
        "version": version,
        "onnx": base64.b64encode(content).decode(),
        "shapes": given.get("shapes"),
    }
    Path(given["saveEngine"]).write_text(json.dumps(plan))
    if "exportLayerInfo" in given:
        half = "FP16" if "fp16" in given else "FP32"
        output = {"Name": "c", "Format/Datatype": f"Row major linear {half}"}
        layers: list[Any] = [{"Name": "stem/conv", "Outputs": [output]}]
        if given.get("profilingVerbosity") != "detailed":
            layers = ["stem/conv"]
        Path(given["exportLayerInfo"]).write_text(json.dumps({"Layers": layers}))
    return True


def _run(version: str, given: dict[str, str]) -> bool:
    plan = json.loads(Path(given["loadEngine"]).read_text())
    if plan["version"] != version:
        say("[E] Engine deserialization failed")
        return False
    if "exportOutput" in given:
        outputs = [
            f'{{ "name" : "{name}"\n, "dimensions" : "{"x".join(map(str, values.shape))}"\n'
            f', "values" : [ {", ".join(f"{value:.6g}" for value in values.flat)} ]\n }}\n'
            for name, values in _computed(plan, given).items()
        ]
        Path(given["exportOutput"]).write_text("[\n  " + ", ".join(outputs) + "]\n")
    if "exportTimes" in given:
        Path(given["exportTimes"]).write_text(json.dumps(_times(version, given)))
    if "exportProfile" in given:
        layer = {"name": "stem/conv", "timeMs": 300.0, "averageMs": 3.0, "percentage": 100.0}
        if not version.startswith("8.2"):
            layer["medianMs"] = 3.0
        Path(given["exportProfile"]).write_text(json.dumps([{"count": 100}, layer]))
    return True


def _computed(plan: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    site.main()  # which -S leaves out
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    assert plan["shapes"] == given.get("shapes")
    model = onnx.load_from_string(base64.b64decode(plan["onnx"]))
    sizes = {
        name.strip("'"): [int(size) for size in shape.split("x")]
        for name, _, shape in (
            part.rpartition(":") for part in given.get("shapes", "").split(",") if part
        )
    }
    files = {
        name.strip("'"): path
        for name, _, path in (part.rpartition(":") for part in given["loadInputs"].split(","))
    }
    feed = {}
    for entry in model.graph.input:
        kind = entry.type.tensor_type
        fixed = [size.dim_value for size in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        content = Path(files[entry.name]).read_bytes()
        feed[entry.name] = np.frombuffer(content, dtype).reshape(sizes.get(entry.name, fixed))
    names = [entry.name for entry in model.graph.output]
    with np.errstate(all="ignore"):
        return dict(zip(names, ReferenceEvaluator(model).run(names, feed), strict=True))


def _times(version: str, given: dict[str, str]) -> list[dict[str, float]]:
    if version.startswith("11"):
        moves, spins = "includeDataTransfers" in given, "noSpinWait" not in given
        graph = "noCudaGraph" not in given
    else:
        moves, spins = "noDataTransfers" not in given, "useSpinWait" in given
        graph = "useCudaGraph" in given
    move = 1.0 if moves else 0.0
    compute = 3.0 - graph - 0.25 * spins - (0.5 if "exposeDMA" not in given else 0)
    warm_up, duration = float(given["warmUp"]), 1000 * float(given["duration"])
    entries: list[dict[str, float]] = []
    now = 0.0
    measured = 0
    while measured < int(given["iterations"]) or now < warm_up + duration:
        slow = 10 if now + move < warm_up else 1
        entry = {
            "startComputeMs": now + move,
            "computeMs": slow * compute,
            "latencyMs": slow * (compute + 2 * move),
        }
        measured += slow == 1
        if slow == 1 or version.startswith("8"):
            entries.append(entry)
        now += entry["latencyMs"]
    return entries


if __name__ == "__main__":
    sys.exit(main())
