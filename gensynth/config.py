"""The run file: everything a synthesis run is told, as frozen dataclasses.

    requirements = ["top1 >= 87%", "macs <= 4M"]    RunConfig
    [prototype]                                     PrototypeConfig
    [data]                                          DataConfig
    [task]                                          TaskConfig
    [search]                                        SearchConfig
    [finalists]                                     FinalistsConfig
    [latency]                                       LatencyConfig
    [device.tx2]                                    DeviceConfig, of every device by its name

A field's name is its key, its default stands here and nowhere else; the defaults together
are the quickstart. `runfile` reads it from TOML and writes it back. What a name refers to (a
data set, a prototype, a metric) is not looked up here but by the module that knows it.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic import dataclasses as validated

from gensynth.outside import Sides, named_path

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Above0 = Annotated[float, Field(gt=0)]


def located(path: str | Path, folder: Path | None = None) -> Path:
    """Return a path made absolute: relative ones lie in a folder, else in the working directory.

    Links are kept as they are; "~" is the user's home.

    Raises:
        ValueError: if no file can have this name.
    """
    return ((folder or Path()) / named_path(str(path))).absolute()


def located_source(source: str, folder: Path | None = None) -> str:
    """Return a data source with its path made absolute, if it is a path and not a name.

    A name with a "/" in it is a path, unless it is `module:factory`; a name without is one if it
    is there, and not the name of a built-in data set.
    """
    path = located(source, folder)
    if source in BUILT_IN_DATA:
        return source
    return str(path) if path.exists() or ("/" in source and ":" not in source) else source


BUILT_IN_DATA = ("fashion-mnist", "cifar10", "camvid")
"""Names that `gensynth.data` knows; a folder of such a name is written with a "/"."""


def _arguments(given: Any) -> Any:
    """Return a table of plain values as pairs of name and value, lists as tuples: hashable."""
    if isinstance(given, Mapping):
        given = tuple(given.items())
    if not isinstance(given, tuple):
        raise ValueError(f"arguments must be a table such as {{depth = 20}}, got {given!r:.40}")
    pairs = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in given)
    for name, value in pairs:
        parts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(part, bool | int | float | str) for part in parts):
            raise ValueError(
                f"arguments must be numbers, words, true, false or lists of these, got {name} = "
                f"{value!r:.40}"
            )
    return pairs


Arguments = Annotated[
    tuple[tuple[str, Any], ...], BeforeValidator(_arguments), PlainSerializer(dict)
]
"""A table of plain values, such as {depth = 20}, for a function of the user's."""

Place = Annotated[Path, AfterValidator(located)]
"""A file or folder, absolute whoever names it: a run goes on from another working directory."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def table(kind: type[T]) -> type[T]:
    """Make a class a table of the run file: frozen, by keyword, checked.

    Made in Python it takes a list where a tuple is meant, and text where a path is.

    Raises:
        ConfigError: where one is made in Python of what it cannot hold, in the words of
            `gensynth.config_file`.
    """
    made: Any = validated.dataclass(kind, frozen=True, kw_only=True, config=_STRICT)
    check = made.__init__
    paths = {name for name, of in kind.__annotations__.items() if of == Place | None}

    @functools.wraps(check)
    def begin(self: T, *arguments: Any, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
            elif isinstance(value, str) and name in paths:
                values[name] = Path(value)
        try:
            check(self, *arguments, **values)
        except ValidationError as error:
            from gensynth.config_file import in_our_words

            raise in_our_words(error, kind.__name__) from error

    made.__init__ = begin
    checked: type[T] = made
    return checked


@table
class PrototypeConfig:
    """The network that the generated ones descend from.

    Attributes:
        network: a built-in name, "timm:NAME", "torchvision:NAME", or "module:factory" of one's own.
        arguments: of its factory, beside the classes and channels that it is asked for, such as
            {depth = 20}.
        weights: a file of its trained weights, as safetensors or as torch.save writes them; None
            takes the ones that ship with a built-in prototype for a built-in data set, or those
            that its library publishes.
        pretrained: whether a network of timm or torchvision begins from the weights that its
            library publishes, where no file is named.
        train: whether the prototype is trained first: from the weights that it begins from, else
            from nothing.
        epochs: of that training, passes over the training images; None takes 30, and 10 from
            weights.
        batch: images a step of it.
        peak_lr: its largest learning rate; None takes 0.2, and 0.02 from weights.
        outputs: parts of the network, such as "model.22.cv2.0", whose answers the task reads, in
            this order; what comes after them, such as the decoding of boxes, is left out. Or keys
            of a dictionary that it returns, such as "out". None takes all that the network returns.
        seen_search: whether the weights were trained on the search images too; figures
            measured on these are then marked as seen.
    """

    network: str = "resnet8"
    arguments: Arguments = ()
    weights: Place | None = None
    pretrained: bool = True
    train: bool = False
    epochs: Above0 | None = None
    batch: Positive | None = None
    peak_lr: Above0 | None = None
    outputs: tuple[str, ...] = ()
    seen_search: bool = False

    def __post_init__(self) -> None:
        recipe = {"epochs": self.epochs, "batch": self.batch, "peak_lr": self.peak_lr}
        given = [name for name, value in recipe.items() if value is not None]
        if given and not self.train:
            raise ValueError(f"{given[0]} is of the prototype's training, so it needs train = true")


@table
class DataConfig:
    """The images, and how a network is to see them.

    Attributes:
        source: "fashion-mnist", "cifar10", "camvid", "module:factory", or a folder: of images by
            class, or of images and masks, as the task needs; for boxes COCO's JSON file, or a
            folder of such. Paths are relative to the run file.
        folder: where the official files of "cifar10" or "camvid" lie, or the images of a JSON
            file; None fetches the official ones once.
        classes: names of a folder's classes, in the order of their numbers in its masks; of the
            categories of a JSON file, those that are taught.
        void: number in a folder's masks for pixels that are neither taught nor scored.
        size: to which a folder's images are brought, and by a letterbox those with boxes: the
            side of a square in pixels, or (height, width).
        mean: of each channel of images scaled to [0, 1]; None is the data set's own.
        std: standard deviation of each channel, likewise.
        colour: "rgb", "bgr" or "grey": the channels that the prototype reads, in order.
        augment: how training images are changed: "none", or one or more of "crop", "flip", a
            policy such as "trivialaugment", and "module:function"; see `gensynth.data.augment`.
            None is what suits the data set.
    """

    source: Annotated[str, AfterValidator(located_source)] = "fashion-mnist"
    folder: Place | None = None
    classes: tuple[str, ...] | None = None
    void: Annotated[int, Field(ge=0, le=255)] | None = None
    size: Sides = None
    mean: tuple[float, ...] | None = None
    std: tuple[Above0, ...] | None = None
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    augment: str | tuple[str, ...] | None = None

    @property
    def augments(self) -> tuple[str, ...]:
        """What `augment` names."""
        return (self.augment,) if isinstance(self.augment, str) else self.augment or ()

    def __post_init__(self) -> None:
        if self.classes is not None and not 0 < len(set(self.classes)) == len(self.classes):
            raise ValueError(f"classes must be names, each once, got {list(self.classes)}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together, got one of them")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(
                "mean and std must have one value a channel each, got "
                f"{len(self.mean)} and {len(self.std)}"
            )


TASKS = ("classification", "segmentation", "detection")


def _known_task(kind: str) -> str:
    if kind not in TASKS and ":" not in kind:
        raise ValueError(f"must be one of {', '.join(TASKS)}, or module:MyTask, got {kind!r:.40}")
    return kind


@table
class TaskConfig:
    """What a network is trained to do.

    Attributes:
        kind: "classification", one class an image; "segmentation", one a pixel; "detection",
            boxes with a class; or "module:MyTask" of one's own, see `gensynth.tasks.task`.
        metric: by which networks are judged, of those that the task measures; None takes the one
            that is required, or its first: top1, pixel_accuracy or ap50.
        class_weights: weight of each class in the loss, in label order; None weighs all alike.
        train: "module:function" of one's own training function in place of ours.
    """

    kind: Annotated[str, AfterValidator(_known_task)] = "classification"
    metric: str | None = None
    class_weights: tuple[Above0, ...] | None = None
    train: str | None = None


@table
class SearchConfig:
    """How the generator is learned. Budgets are images, never seconds.

    Attributes:
        cycles: times that a network is generated, probed and evaluated, and learned from.
        warmup_images: images of the sandwich training before the first cycle, after which
            slices of the prototype's weights work as networks.
        images: training images of the short distillation within a cycle.
        peak_lr: largest learning rate of the short distillation; None finds one before the
            warm-up, from 0.1 downward, see `gensynth.training.learning_rate`.
        full_networks: of the first so many cycles, the network is also distilled as a finalist
            is, which teaches how far the short distillation falls short of it.
        probe_images: images whose responses are observed.
        candidates: seeds whose networks are costed and ranked before a cycle picks one.
        shortlist: seeds whose untrained networks are probed before a cycle picks one; four
            times as many in the first cycle.
        directions: independent ways in which a seed tilts a network.
        round_to: channels that are kept or removed together; None takes the block that this
            machine computes convolutions in, see `gensynth.space.width_step`.
        reptile_rate: share of a cycle's fine-tuned weights that the shared weights take over.
        diversity: weight of the family's spread in the objective; in units of utility.
        risk: share of seeds, in [0, 1], that may be predicted to violate a requirement.
        learn_weights: whether the shared weights learn at all; if not, neither the warm-up nor
            the absorption takes place.
        substitutes: what may stand for a dense convolution, such as "separable" or
            "low_rank_2", see `gensynth.space.substitutes`, and resolutions of the input such as
            "resolution_3_4"; none leaves all as it is.
        start: a finished run of the same prototype and images, whose generator, shared weights
            and observations the search goes on from; None begins anew.
    """

    cycles: Positive = 12
    warmup_images: Natural = 6_000
    images: Positive = 2_500
    peak_lr: Above0 | None = None
    full_networks: Natural = 1
    probe_images: Positive = 512
    candidates: Positive = 256
    shortlist: Positive = 6
    directions: Positive = 4
    round_to: Positive | None = None
    reptile_rate: Share = 0.3
    diversity: Annotated[float, Field(ge=0)] = 0.05
    risk: Share = 0.1
    learn_weights: bool = True
    substitutes: tuple[str, ...] = ()
    start: Place | None = None


@table
class FinalistsConfig:
    """How the chosen networks are distilled before they are certified.

    Attributes:
        count: networks distilled and certified.
        aim: the score that cycles and finalists strive for: the required one as a "point"
            value, or what a "certificate" of it asks of the test split, which is more. None is
            the certificate, if the test split is large enough to give one.
        epochs: passes over the training images, each.
        peak_lr: largest learning rate; None is the one that is found before the warm-up.
        batch: images a step.
        temperature: softening of the prototype's and the network's answers.
        hard_weight: share of the loss with the labels beside the prototype's answers, in
            [0, 1].
    """

    count: Positive = 3
    aim: Literal["point", "certificate"] | None = None
    epochs: Above0 = 12
    peak_lr: Above0 | None = None
    batch: Positive = 128
    temperature: Above0 = 4.0
    hard_weight: Share = 0.1


@table
class LatencyConfig:
    """How latency is measured on this machine.

    Attributes:
        repeats: timed runs of each network, warm-up left out; fewer than five give no interval.
        threads: processor threads of the runtime.
    """

    repeats: Positive = 200
    threads: Positive = 1


@table
class DeviceConfig:
    """How networks are measured, or estimated, on one device.

    Attributes:
        precision: "fp32", "fp16" or "int8": what networks are computed in there.
        batch: images of one run; a latency is that of a run, everything else that of an image.
        threads: that one operator may use, where a processor computes.
        power_mode: nvpmodel's number; None leaves the board as it is.
        grade: how long finalists are measured, see `gensynth.bench.grades`; None takes the
            shortest that has what is asked for.
        profile: the kind of board that it is, see `gensynth.devices.profiles`; None takes the
            registered device's, or the device's name where it is a kind of board itself.
    """

    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    batch: Positive = 1
    threads: Positive = 1
    power_mode: Natural | None = None
    grade: str | None = None
    profile: str | None = None


@table
class RunConfig:
    """A whole run.

    Attributes:
        requirements: inequalities such as "top1 >= 87%" or "macs <= 50%", see
            `gensynth.goals.requirements`.
        utility: "netscore", "information_density" or arithmetic over metrics, see
            `gensynth.goals.utility`.
        seed: of the run; all of its randomness follows from it.
        out: the run folder; None leaves the choice to the command.
        modules: folders in which modules of one's own are looked for, before the working directory;
            a run adds those in which it found the modules that it names.
        devices: what networks are for, by name: `local`, a registered device, or a kind of board
            of which there are estimates alone. In the file they are `device = "tx2"`, a list of
            names, or a table [device.tx2] for each.
    """

    requirements: tuple[str, ...] = ("top1 >= 87%", "macs <= 4M")
    utility: str = "netscore"
    seed: Natural = 0
    out: Place | None = None
    modules: tuple[Place, ...] = ()
    prototype: PrototypeConfig = Field(default_factory=PrototypeConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    task: TaskConfig = Field(default_factory=TaskConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    finalists: FinalistsConfig = Field(default_factory=FinalistsConfig)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    devices: Mapping[str, DeviceConfig] = Field(default_factory=dict)
