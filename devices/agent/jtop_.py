"""Power of a Jetson through jetson-stats, where its rails are for root alone.

The service of jetson-stats reads the rails as root and hands them on. Its "avg" is a smoother,
(new + old) // 2, and is never used. The package is optional and not ours: 4.3.2 is the last
for Python 3.6, and client and service must be of one version.
"""

from typing import Any

from gensynth.devices.agent.meter import Meter, NoMeter
from gensynth.devices.agent.module_power import TOTALS

INTERVAL_S = 0.5


def open_jtop() -> Meter:
    """Return the module's total power as jtop's service last read it.

    Raises:
        NoMeter: if jetson-stats is not installed, its service is not active or of another
            version, or this board has no total.
    """
    try:
        from jtop import jtop
    except ImportError as error:
        raise NoMeter("jetson-stats is not installed: {}".format(error)) from error
    try:
        client = jtop(interval=INTERVAL_S)
        client.start()
        total = _total(client)
    except Exception as error:  # noqa: BLE001 - jtop raises what it likes
        raise NoMeter("jetson-stats: {}".format(error)) from error
    if "power" not in total or "name" not in total:
        raise NoMeter("jetson-stats knows no total power of this board")

    def read() -> float:
        if not client.ok():
            raise OSError("jtop's service ended")
        return float(_total(client)["power"]) * 1e-3

    return Meter(
        read=read,
        rail=str(total["name"]),
        scope="module" if total["name"] in TOTALS else "sum_of_rails",
        sensor="jetson-stats, every {} s".format(INTERVAL_S),
        kind="power",
        period_s=INTERVAL_S,
        tau_s=INTERVAL_S,  # a reading is up to one interval old, on top of the chip's averaging
        tau_known=False,
        plausible_w=(0.3, 150.0),
    )


def _total(client: Any) -> Any:
    return client.power.get("tot", {})
