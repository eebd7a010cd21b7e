"""Devices in words: which there are, and what works on one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensynth.render.figures import GAP, columns, wrapped

if TYPE_CHECKING:
    from gensynth.devices.check import Checked, Finding
    from gensynth.devices.registry import Device

_MARKS = {True: "works", False: "fails", None: "none"}


def devices(known: "Sequence[Device]") -> str:
    """Return a line for each device, and how to add one."""
    rows = [["name", "profile", "reached by"]]
    rows += [[d.alias, d.profile, d.destination or "this machine"] for d in known]
    lines = columns(rows, left=3)
    if len(known) == 1:
        lines += ["", "add a board: gensynth devices add tx2 nvidia@192.168.55.1"]
    return "\n".join(lines)


def checked(found: "Checked", width: int = 80) -> str:
    """Return what works on a device, and under it how to mend what does not."""
    head = f"{found.device.alias}: {found.profile.title}"
    if found.simulated:
        head = f"SIMULATED {head}; a model of a board answers"
    lines = [head]
    for finding in found.findings:
        lines += _lines(finding, width)
    if found.can_measure:
        lines.append(f"measure: gensynth bench NET.onnx --device {found.device.alias}")
    else:
        lines.append("nothing can be measured there until a runtime works")
    return "\n".join(lines)


def _lines(finding: "Finding", width: int) -> list[str]:
    start = f"{_MARKS[finding.works]:<6}{finding.what:<9}"
    lines = [
        start + wrapped(finding.said, width - len(start)).replace("\n", "\n" + " " * len(start))
    ]
    if finding.mend:
        indent = " " * len(start)
        lines.append(
            indent + wrapped("-> " + finding.mend, width - len(indent)).replace("\n", "\n" + indent)
        )
    return lines + [GAP + line for line in finding.lines]
