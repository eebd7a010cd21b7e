"""Power of a Jetson through jetson-stats, where its rails are for root alone.

The service of jetson-stats reads the rails as root and hands them on, at the interval of the
first that asked for one. Its "avg" is a smoother, (new + old) // 2, and is never used; nor is
its total where that is the sum of whatever it found. The package is optional and not ours:
4.3.2 is the last for Python 3.6, and client and service must be of one version.
"""

from typing import Any, Dict, List, Tuple

from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.power.module_power import SUMS, TOTALS
from gensynth.devices.agent.power.rails import AVERAGING_TAU_S

INTERVAL_S = 0.5


def open_jtop() -> Meter:
    """Return the module's power as jtop's service last read it.

    Raises:
        NoMeter: if jetson-stats is not installed, its service is not active or of another
            version, or it has no rails that carry all of a module's power.
    """
    try:
        from jtop import jtop
    except ImportError as error:
        raise NoMeter("jetson-stats is not installed: {}".format(error)) from error
    client = None
    try:
        client = jtop(interval=INTERVAL_S)
        client.start()
        if not client.ok():  # waits for the first reading
            raise ValueError("its service gives no readings")
        names, scope = _source(client.power)
        period_s = float(client.interval)
    except Exception as error:  # noqa: BLE001 - jtop raises what it likes
        _close(client)
        raise NoMeter("jetson-stats: {}".format(error)) from error

    def read() -> float:
        if not client.ok(spin=True):  # without spin it waits for the next reading
            raise OSError("jtop's service ended")
        rails = _rails(client.power)
        return sum(float(rails[name]["power"]) for name in names) * 1e-3

    return Meter(
        read=read,
        rail="+".join(names),
        scope=scope,
        sensor="jetson-stats, every {:g} s".format(period_s),
        kind="power",
        period_s=period_s,
        tau_s=period_s + AVERAGING_TAU_S,  # the age of a reading, on top of the chip's averaging
        tau_known=False,
        plausible_w=(0.3, 150.0),
        close=client.close,
    )


def _rails(power: Any) -> Dict[str, Any]:
    """Return every rail by its name; jtop takes the one it holds for the total out of them."""
    if not isinstance(power, dict):
        raise ValueError("version 4 or newer is needed, whose rails have names and units")
    rails = dict(power["rail"])
    if "name" in power["tot"]:
        rails[power["tot"]["name"]] = power["tot"]
    return rails


def _source(power: Any) -> Tuple[List[str], str]:
    """Return the rails that carry all of a module's power, and the scope of their sum."""
    rails = _rails(power)
    for name in TOTALS:
        if name in rails:
            return [name], "module"
    for names in SUMS:
        if set(names) <= set(rails):
            return list(names), "sum_of_rails"
    raise ValueError("its rails are no full set that is known: {}".format(", ".join(sorted(rails))))


def _close(client: Any) -> None:
    """End a client that has begun; one that was never started cannot be closed."""
    if client is not None and client.is_alive():
        client.close()
