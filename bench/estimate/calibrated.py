"""Estimates of a device, calibrated by whatever was measured on it before.

estimates_of    a kind of device and settings -> what is known of it without a measurement
Calibrated      the same with what the store holds; a file that was measured has no estimate
"""

from dataclasses import dataclass

from onnx import ModelProto

from gensynth.bench.estimate.boards.board import Board, Setting
from gensynth.bench.estimate.boards.tensorrt_board import TensorRTBoard
from gensynth.bench.estimate.calibration import Known, known_of, measured
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.processor import Processor
from gensynth.bench.store import Store
from gensynth.devices.profiles import Profile
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError
from gensynth.goals.figure import Figure

KNOWN_PROCESSORS = ("local", "x86")
"""Profiles of processors of which something is known before any measurement."""


def estimates_of(
    name: str, profile: Profile, *, precision: str, batch: int, power_mode: int | None = None
) -> Processor | TensorRTBoard:
    """Return what is known of a kind of device.

    Args:
        name: of the device.
        profile: its kind.
        precision, batch, power_mode: that networks run in.

    Raises:
        ConfigError: if nothing is known of it, or of it in these settings.
    """
    if profile.runtimes != ("onnxruntime",):
        setting = Setting(precision, power_mode)
        board = TensorRTBoard(name, profile, setting, batch)
        board.board.clocks(setting)  # says so if nothing is known of the board or its mode
        return board
    if precision != "fp32":
        raise ConfigError(
            f"there are no estimates of {precision.upper()} on {name}; leave out precision, and "
            f"measure with: gensynth bench RUN --precision {precision}"
        )
    from gensynth.export.runtime import convolution_block

    block = convolution_block() if profile.name in KNOWN_PROCESSORS else None
    return Processor(name, block, batch)


@dataclass(frozen=True)
class Calibrated:
    """A device that can be asked, and what its store holds of it.

    Attributes:
        device: as it is registered.
        profile: its kind.
        store: of measurements.
        threads: of a run.
    """

    device: Device
    profile: Profile
    store: Store
    threads: int = 1

    def mode(self, setting: Setting) -> int | None:
        """Return the power mode that a setting means."""
        if self.profile.runtimes == ("onnxruntime",):
            return setting.power_mode
        return Board(self.profile).mode(setting)

    def file(
        self, model: ModelProto, images: int, setting: Setting, sha256: str
    ) -> tuple[tuple[Kernel, ...], dict[str, Figure]]:
        """Return the kernels of a file and its figures by metric, a measured one before all.

        Raises:
            ConfigError: if nothing is known of the device in these settings.
            ExportError: if the size of a value does not follow from the file.
            StoreError: if the store is damaged.
        """
        known = self.known(setting, images)
        estimates = estimates_of(
            self.device.alias, self.profile, precision=setting.precision, batch=images,
            power_mode=setting.power_mode,
        ).learned(known.samples, known.watts)  # fmt: skip
        kernels = estimates.kernels(model)
        found = dict(estimates.figures(kernels))
        own = None if known.context is None else measured(self.store, known.context, sha256)
        if own is not None:
            found["latency_ms"] = own
        found["throughput"] = found["latency_ms"].inverse().scaled(1000 * images)
        if "joule_per_img" in found:
            found["img_per_joule"] = found["joule_per_img"].inverse()
        return kernels, found

    def known(self, setting: Setting, images: int) -> Known:
        """Return what the store holds that calibrates these settings."""
        return known_of(
            self.store, self.device, precision=setting.precision, threads=self.threads,
            batch=images, power_mode=setting.power_mode,
        )  # fmt: skip

    def assumptions(self, setting: Setting, images: int) -> list[str]:
        """Return what the figures rest on, a sentence each."""
        known = self.known(setting, images)
        own = sum(sample.variance == 0 for sample in known.samples)
        others = len(known.samples) - own
        calibrating = (
            f"networks that calibrate: {own} measured here with these settings, {others} with "
            "others or another version, which count for less"
        )
        said = [calibrating]
        if known.context is not None:
            said.append(
                f"as it was when it measured last: {known.context.runtime} "
                f"{known.context.runtime_version}, {known.context.threads} threads"
            )
        if self.profile.runtimes == ("onnxruntime",):
            said.append(
                "ONNX Runtime's kernels by rule; without a measurement, the roofline of one thread "
                "of some processor"
            )
            return said
        return [*said, *Board(self.profile).assumptions(setting)]
