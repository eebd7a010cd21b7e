"""The names of a run folder's files, and what a path means: a run, a network in one, or neither.

Names and paths alone: what the files hold is said by `gensynth.runs`, and a network's own files by
`gensynth.graph.files`. It stands below both `bench` and `runs`, which read runs.
"""

from pathlib import Path

FORMAT_FILE = "FORMAT"
RUN_FILE = "run.toml"
ENVIRONMENT_FILE = "environment.json"
INPUTS_FILE = "inputs.json"
PHASES_FILE = "phases.json"
RESULT_FILE = "result.json"
LATENCY_FILE = "latency.json"
LEDGER_FILE = "ledger.jsonl"
DEVICE_COSTS_FILE = "device_costs.safetensors"
CALIBRATION_FILE = "calibration.json"
MEASURED_FILE = "measured.json"
GENERATOR_FILE = "generator.json"
INQUISITOR_FILE = "inquisitor.json"

PROTOTYPE = "prototype"
FINALISTS = "finalists"
GENERATED = "generated"
PICTURES = "pictures"
TRAINING = "training"


def is_run(path: Path) -> bool:
    """Return whether a folder is a run, finished or not."""
    return (path / FORMAT_FILE).exists()


def run_of(path: Path) -> Path | None:
    """Return the run that a path is or is in; None for a network by itself."""
    if is_run(path):
        return path
    return next((p for p in path.resolve().parents[:2] if is_run(p)), None)


def is_finished(run: Path) -> bool:
    """Return whether a run is whole."""
    return (run / RESULT_FILE).is_file()
