"""All the power of a Jetson module, from the rails that carry it.

The rails of each board are in NVIDIA's public device trees; their accuracy is that of the
INA3221 and of the shunts.
"""

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.power.rails import Rail, discover, integer
from gensynth.devices.agent.wire import sysfs
from gensynth.devices.agent.wire.status import Fault

# A rail through which all of a module's power comes.
TOTALS = ("VDD_IN", "POM_5V_IN")
# Boards without one: the rails behind the input, all of them.
SUMS = (
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"),  # AGX Orin
)


class Board(NamedTuple):
    """What a board's rails can carry.

    Attributes:
        model: in the text of /proc/device-tree/model, in lower case.
        plausible_w: the least and the most it can draw.
        typical_w: under load; the systematic error is stated for it.
    """

    model: str
    plausible_w: Tuple[float, float]
    typical_w: float


BOARDS = (
    Board("agx orin", (2.0, 150.0), 35.0),
    Board("orin nx", (1.0, 80.0), 18.0),
    Board("orin nano", (1.0, 60.0), 12.0),
    Board("agx xavier", (1.0, 120.0), 25.0),
    Board("jetson-agx", (1.0, 120.0), 25.0),
    Board("xavier nx", (0.5, 45.0), 12.0),
    Board("nano", (0.5, 25.0), 6.0),
    Board("tx2", (0.5, 40.0), 8.0),
    Board("quill", (0.5, 40.0), 8.0),  # what a TX2 calls itself on older images
)
_ANY_BOARD = Board("", (0.3, 150.0), 10.0)

# INA3221 datasheet, maximum: shunt offset 80 µV; gain 0.25 % each of voltage and current.
# NVIDIA's boards have 5 mOhm shunts, whose tolerance of 1 % is an assumption.
SHUNT_OFFSET_V = 80e-6
GAIN_PCT = 0.25 + 0.25 + 1.0


def open_rails(root: str) -> Meter:
    """Return a meter of all the power that the module takes.

    Raises:
        NoMeter: if there is no monitor, none whose rails add up to the module, or none that
            this user may read.
        Fault: `sensor_bad` if what it reads cannot be a power of this board.
    """
    found, forbidden, broken = discover(root)
    board = _board(root)
    for name in TOTALS:
        if name in found:
            return _meter(root, board, [found[name]], name, "module")
    for names in SUMS:
        if set(names) <= set(found):
            rails = [found[name] for name in names]
            return _meter(root, board, rails, "+".join(names), "sum_of_rails")
    totals = [{name} for name in TOTALS] + [set(names) for names in SUMS]
    for total in totals:
        if total <= set(found) | set(broken):
            raise NoMeter(_unreadable(broken, sorted(total & set(broken))))
    if forbidden:
        raise NoMeter(
            "the power rails are there, but this user may not read them; until the board's next "
            "start this mends it: sudo chmod a+r {}".format(" ".join(forbidden)),
            {"forbidden": forbidden},
        )
    if broken and not found:
        raise NoMeter(_unreadable(broken, sorted(broken)))
    if not found:
        raise NoMeter("no INA3221 monitor below /sys/bus/i2c or /sys/class/hwmon")
    raise NoMeter(
        "rails {} are there, but none is {}, which carry all of a module's power, and they are no "
        "full set that is known; part of a board is not measured".format(
            ", ".join(sorted(found)), " or ".join(TOTALS)
        )
    )


def _unreadable(broken: Dict[str, str], names: List[str]) -> str:
    said = ("{} is there, but cannot be read: {}".format(name, broken[name]) for name in names)
    return "the power rail " + "; ".join(said)


def _meter(root: str, board: Board, rails: List[Rail], name: str, scope: str) -> Meter:
    reads = [_reader(root, rail) for rail in rails]
    slowest = max(rails, key=lambda rail: rail.tau_s)
    return Meter(
        read=reads[0] if len(reads) == 1 else lambda: sum(read() for read in reads),
        rail=name,
        scope=scope,
        sensor="INA3221, {}".format(slowest.averaging),
        kind="power",
        period_s=slowest.period_s,
        tau_s=slowest.tau_s,
        tau_known=slowest.averaging_known,
        plausible_w=board.plausible_w,
        offset_w=sum(SHUNT_OFFSET_V / rail.shunt_ohm * _volts(root, rail) for rail in rails),
        gain_pct=GAIN_PCT,
        typical_w=board.typical_w,
    )


def _reader(root: str, rail: Rail) -> Callable[[], float]:
    """Return what reads a rail in watts."""
    millivolts = sysfs.locate(root, rail.folder + "/" + rail.millivolts)
    milliamperes = sysfs.locate(root, rail.folder + "/" + rail.milliamperes)

    def product() -> float:
        return integer(millivolts) * integer(milliamperes) * 1e-6

    if rail.power is None:
        return product
    power = sysfs.locate(root, rail.folder + "/" + rail.power)
    readings = [(integer(power), product()) for _ in range(5)]
    scale = _scale(readings)
    if scale is None:
        raise Fault(
            "sensor_bad",
            "{}: voltage times current must be the power in mW or µW, got {:.3f} W and a power "
            "reading of {}".format(rail.name, readings[0][1], readings[0][0]),
        )
    return lambda: integer(power) * scale


def _scale(readings: List[Tuple[int, float]]) -> Optional[float]:
    """Return the watts of one unit of the power file: it holds mW, or µW as hwmon would have it.

    The load may change between a reading of the power and one of voltage and current, but not
    a thousandfold.
    """
    for reading, product_w in readings:
        for scale in (1e-3, 1e-6):
            if 0.3 * product_w < reading * scale < 3 * product_w:
                return scale
    return 1e-3 if all(product_w <= 0 for _, product_w in readings) else None  # seen later


def _volts(root: str, rail: Rail) -> float:
    millivolts = integer(sysfs.locate(root, rail.folder + "/" + rail.millivolts))
    if not 500 <= millivolts <= 30000:
        raise Fault(
            "sensor_bad",
            "{} must be at 500 to 30000 mV, got {} mV".format(rail.name, millivolts),
        )
    return millivolts * 1e-3


def _board(root: str) -> Board:
    model = (sysfs.text(root, "/proc/device-tree/model") or "").lower()
    for board in BOARDS:
        if board.model in model:
            return board
    return _ANY_BOARD
