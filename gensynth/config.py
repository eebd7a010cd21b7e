"""The run file: everything a synthesis run is told, as frozen dataclasses.

    requirements = ["top1 >= 87%", "macs <= 4M"]    RunConfig
    [prototype]                                     PrototypeConfig
    [data]                                          DataConfig
    [task]                                          TaskConfig
    [search]                                        SearchConfig
    [finalists]                                     FinalistsConfig
    [latency]                                       LatencyConfig

A field's name is its key, its default stands here and nowhere else; the defaults together
are the quickstart. `read` takes a TOML file and what the command line changes in it, and
`to_toml` writes the resolved file that a run folder keeps. What a name refers to (a data
set, a prototype, a metric) is not looked up here but by the module that knows it.
"""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from gensynth.errors import ConfigError
from gensynth.nearest import did_you_mean

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Above0 = Annotated[float, Field(gt=0)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PrototypeConfig:
    """The network that the generated ones descend from.

    Attributes:
        network: a built-in name, or "module:factory" of one's own.
        weights: a safetensors file of its trained weights; None takes the ones that ship with
            a built-in prototype for a built-in data set.
        train: whether the prototype is trained first, from nothing, in place of reading
            weights.
        seen_search: whether the weights were trained on the search images too; figures
            measured on these are then marked as seen.
    """

    network: str = "resnet8"
    weights: Path | None = None
    train: bool = False
    seen_search: bool = False

    def __post_init__(self) -> None:
        if self.train and self.weights is not None:
            raise ValueError("weights and train exclude each other, got both")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """The images, and how a network is to see them.

    Attributes:
        source: "fashion-mnist", "cifar10", "module:factory", or a folder of images by class.
            A name with a "/" in it is a folder, relative to the run file.
        folder: where the official files of "cifar10" lie; None fetches them once.
        size: side of the square images in pixels, to which a folder's are brought.
        mean: of each channel of images scaled to [0, 1]; None is the data set's own.
        std: standard deviation of each channel, likewise.
        colour: "rgb", "bgr" or "grey": the channels that the prototype reads, in order.
    """

    source: str = "fashion-mnist"
    folder: Path | None = None
    size: Positive | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Above0, ...] | None = None
    colour: Literal["rgb", "bgr", "grey"] = "rgb"

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together, got one of them")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(
                "mean and std must have one value a channel each, got "
                f"{len(self.mean)} and {len(self.std)}"
            )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TaskConfig:
    """What a network is trained to do.

    Attributes:
        loss: "cross_entropy".
        class_weights: weight of each class in the loss, in label order; None weighs all alike.
        train: "module:function" of one's own training function in place of ours.
    """

    loss: str = "cross_entropy"
    class_weights: tuple[Above0, ...] | None = None
    train: str | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SearchConfig:
    """How the generator is learned. Budgets are images, never seconds.

    Attributes:
        cycles: times that a network is generated, probed and evaluated, and learned from.
        warmup_images: images of the sandwich training before the first cycle, after which
            slices of the prototype's weights work as networks.
        images: training images of the short distillation within a cycle.
        peak_lr: largest learning rate of the short distillation.
        full_networks: of the first so many cycles, the network is also distilled as a finalist
            is, which teaches how far the short distillation falls short of it.
        probe_images: images whose responses are observed.
        candidates: seeds whose networks are costed and ranked before a cycle picks one.
        shortlist: seeds whose untrained networks are probed before a cycle picks one; four
            times as many in the first cycle.
        directions: independent ways in which a seed tilts a network.
        align: channels that are kept or removed together, the block a device computes at once.
        absorb: share of a cycle's fine-tuned weights that the shared weights take over.
        diversity: weight of the family's spread in the objective; in units of utility.
        risk: share of seeds, in [0, 1], that may be predicted to violate a requirement.
        learn_weights: whether the shared weights learn at all; if not, neither the warm-up nor
            the absorption takes place.
        operators: what may stand for a dense convolution, such as "separable" or
            "low_rank_2", see `gensynth.substitution`, and resolutions of the input such as
            "resolution_3_4"; none leaves all as it is.
    """

    cycles: Positive = 12
    warmup_images: Natural = 6_000
    images: Positive = 2_500
    peak_lr: Above0 = 0.1
    full_networks: Natural = 1
    probe_images: Positive = 512
    candidates: Positive = 256
    shortlist: Positive = 6
    directions: Positive = 4
    align: Positive = 2
    absorb: Share = 0.3
    diversity: Annotated[float, Field(ge=0)] = 0.05
    risk: Share = 0.1
    learn_weights: bool = True
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FinalistsConfig:
    """How the chosen networks are distilled before they are certified.

    Attributes:
        count: networks distilled and certified.
        aim: the accuracy that cycles and finalists strive for: the required one as a "point"
            value, or what a "certificate" of it asks of the test split, which is more.
        epochs: passes over the training images, each.
        peak_lr: largest learning rate.
        batch: images a step.
        temperature: softening of the prototype's and the network's answers.
        hard_weight: share of the loss with the labels beside the prototype's answers, in
            [0, 1].
    """

    count: Positive = 3
    aim: Literal["point", "certificate"] = "point"
    epochs: Above0 = 7
    peak_lr: Above0 = 0.1
    batch: Positive = 128
    temperature: Above0 = 4.0
    hard_weight: Share = 0.1


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LatencyConfig:
    """How latency is measured on this machine.

    Attributes:
        repeats: timed runs of each network, warm-up left out.
        threads: processor threads of the runtime.
    """

    repeats: Positive = 200
    threads: Positive = 1


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RunConfig:
    """A whole run.

    Attributes:
        requirements: inequalities such as "top1 >= 87%", see `gensynth.requirements`.
        utility: "netscore", "information_density" or arithmetic over metrics, see
            `gensynth.utility`.
        seed: of the run; all of its randomness follows from it.
        out: the run folder; None leaves the choice to the command.
    """

    requirements: tuple[str, ...] = ("top1 >= 87%", "macs <= 4M")
    utility: str = "netscore"
    seed: Natural = 0
    out: Path | None = None
    prototype: PrototypeConfig = Field(default_factory=PrototypeConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    task: TaskConfig = Field(default_factory=TaskConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    finalists: FinalistsConfig = Field(default_factory=FinalistsConfig)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)


_TABLES: dict[str, Any] = {
    field.name: field.type
    for field in dataclasses.fields(RunConfig)
    if dataclasses.is_dataclass(field.type)
}
_TOP = tuple(f.name for f in dataclasses.fields(RunConfig) if f.name not in _TABLES)
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dataclass_type": "a table",
}


def read(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a run file and lay what the command line says over it.

    Relative paths in the file are relative to the file's folder, those in `overrides` to
    the working directory; all paths of the result are absolute.

    Args:
        path: the TOML file; None starts from the defaults.
        overrides: values by key ("seed") or by table and key ("search.cycles"). None means
            that the option was not given.

    Raises:
        ConfigError: if the file cannot be read or is not TOML, a key or table is unknown, or
            a value has the wrong type or is out of range. Every fault is named, one a line.
    """
    document = {} if path is None else _located(_load(path), path.resolve().parent)
    given = _located(_nested(overrides or {}), Path.cwd())
    try:
        merged = json.dumps(_laid_over(document, given), default=_json_value)
        return TypeAdapter(RunConfig).validate_json(merged)
    except ValidationError as error:
        file = f"{path.name}: " if path else ""
        faults = [
            ("" if _holds(given, fault["loc"]) else file) + _sentence(fault["loc"], fault)
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(faults)) from error


def to_toml(config: RunConfig) -> str:
    """Return the run file that says all of this configuration; `read` gives it back."""
    sections = [_assignments({name: getattr(config, name) for name in _TOP})]
    for name in _TABLES:
        table = getattr(config, name)
        values = {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}
        sections.append(f"[{name}]\n{_assignments(values)}")
    return "\n".join(sections)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: must be text in UTF-8, {error.reason}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {"search.cycles": 3, "seed": 1} into {"search": {"cycles": 3}, "seed": 1}."""
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            table, dot, name = key.partition(".")
            (nested.setdefault(table, {}) if dot else nested)[name if dot else key] = value
    return nested


def _laid_over(document: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in given.items():
        below = document.get(key, {})
        if not isinstance(value, dict):
            merged[key] = value
        elif isinstance(below, dict):
            merged[key] = {**below, **value}
    return merged


def _located(document: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a document absolute, those relative to `base` included."""
    located = dict(document)
    for name, table in _TABLES.items():
        if isinstance(document.get(name), dict):
            located[name] = _located_fields(document[name], table, base)
    return _located_fields(located, RunConfig, base)


def _located_fields(values: dict[str, Any], table: type, base: Path) -> dict[str, Any]:
    located = dict(values)
    for field in dataclasses.fields(table):
        value = values.get(field.name)
        folder = field.name == "source" and isinstance(value, str) and "/" in value
        if (field.type == Path | None and isinstance(value, str | Path)) or folder:
            located[field.name] = str(base / Path(str(value)).expanduser())
    return located


def _json_value(value: Any) -> Any:
    # A TOML date suits no key; as an object it is refused with the key's name.
    return str(value) if isinstance(value, Path) else {"date": str(value)}


def _holds(given: dict[str, Any], place: tuple[int | str, ...]) -> bool:
    if len(place) < 2:
        return place[0] in given
    table = given.get(str(place[0]))
    return place[1] in table if isinstance(table, dict) else table is not None


def _sentence(place: tuple[int | str, ...], fault: Mapping[str, Any]) -> str:
    """Say in our words what pydantic found wrong at a place in the run file."""
    table = str(place[0]) if place[0] in _TABLES else ""
    where = f" in [{table}]" if table else ""
    if fault["type"] == "unexpected_keyword_argument":
        return _unknown(str(place[-1]), table, fault["input"])
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}{where}"
    if fault["type"] == "dataclass_type":
        return f"[{table}] must be a table, got {_shown(fault['input'])}"
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].removeprefix("Input should be ")
    name = str(place[1] if table else place[0])
    name = f"each value of {name}" if isinstance(place[-1], int) else name
    return f"{name}{where} must be {expected}, got {_shown(fault['input'])}"


def _unknown(key: str, table: str, value: Any) -> str:
    homes = [
        name for name, kind in _TABLES.items() if key in {f.name for f in dataclasses.fields(kind)}
    ]
    if not table and isinstance(value, dict):
        return f"unknown table [{key}]; {did_you_mean(f'[{key}]', [f'[{t}]' for t in _TABLES])}"
    known = [f.name for f in dataclasses.fields(_TABLES[table])] if table else [*_TOP, *_TABLES]
    if table and key in _TOP:
        hint = "it belongs above the first table"
    elif homes:
        hint = f"it belongs in [{homes[0]}]"
    else:
        hint = did_you_mean(key, known)
    return f"unknown key '{key}'{f' in [{table}]' if table else ''}; {hint}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _assignments(values: Mapping[str, Any]) -> str:
    """Return the lines of one TOML table; a key without a value is left out."""
    return "".join(f"{k} = {_toml_value(v)}\n" for k, v in values.items() if v is not None)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, str | Path):
        # JSON's escapes are TOML's, but TOML wants DEL escaped too.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
