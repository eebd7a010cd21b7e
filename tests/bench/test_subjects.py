"""Which files a path means, and what each is fed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gensynth.bench.subjects import Subject, find, read
from gensynth.errors import ConfigError, ExportError, RunError
from tests.onnx_files.written import convolution, unary, written


def one(path: Path, **options: object) -> Subject:
    (source,) = find([path])
    return read(source, **options)  # type: ignore[arg-type]


def network_folder(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    convolution(folder / "network.onnx")
    (folder / "card.json").write_text(json.dumps({"name": name}))
    return folder


def finished_run(path: Path) -> Path:
    network_folder(path / "prototype", "resnet20")
    for name in ("FermiNet-A", "FermiNet-B"):
        network_folder(path / "finalists" / name, name)
    (path / "FORMAT").write_text("1\n")
    (path / "result.json").write_text(json.dumps({"finalists": ["FermiNet-A", "FermiNet-B"]}))
    return path


def artefact(path: Path, *, images: np.ndarray) -> Path:
    path.mkdir(parents=True)
    convolution(path / "network.onnx", size=images.shape[-1])
    np.savez(path / "samples.npz", images=images)
    size = images.shape[-1]
    reads = {"mode": "RGB", "height": size, "width": size, "mean": [0.5] * 3, "std": [0.25] * 3}
    (path / "manifest.json").write_text(json.dumps({"name": path.name, "reads": reads}))
    return path


def test_a_run_is_its_prototype_and_then_its_finalists(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    assert [source.name for source in find([run])] == ["resnet20", "FermiNet-A", "FermiNet-B"]
    assert find([run / "finalists/FermiNet-B"])[0].name == "FermiNet-B"
    assert find([run / "finalists/FermiNet-B/network.onnx"])[0].name == "FermiNet-B"


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    (run / "result.json").unlink()
    with pytest.raises(RunError, match=f"gensynth synth --resume {run}"):
        find([run])


def test_two_files_of_one_name_are_told_apart_and_one_file_twice_is_numbered(
    tmp_path: Path,
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        convolution(tmp_path / folder / "net.onnx")
    a, b = tmp_path / "a/net.onnx", tmp_path / "b/net.onnx"
    assert [source.name for source in find([a, b])] == ["a/net", "b/net"]
    assert [source.name for source in find([a, a])] == ["net", "net#2"]


def test_a_path_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no .*absent.onnx"):
        find([tmp_path / "absent.onnx"])
    with pytest.raises(ConfigError, match="no ONNX file, and no folder of a run"):
        find([tmp_path])


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.onnx"
    for content in (b"", b"not a network", convolution(tmp_path / "w.onnx").read_bytes()[:200]):
        file.write_bytes(content)
        with pytest.raises(ExportError, match="notes.onnx is damaged or no ONNX file"):
            one(file)


def test_weights_in_other_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    model = onnx.load(convolution(tmp_path / "net.onnx", width=64))
    file = tmp_path / "outside.onnx"
    onnx.save(model, file, save_as_external_data=True, size_threshold=0, location="w.bin")
    with pytest.raises(ConfigError, match="keeps weights in other files.*whole.onnx"):
        one(file)


def test_a_file_is_known_by_its_bytes_and_costs_what_it_holds(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx", width=8, size=16)
    found = one(file)
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    # 8 x 3 x 3 x 3 weights and 8 x 10; each of 16 x 16 places meets the first ones.
    assert (found.cost.params, found.cost.macs) == (216 + 80, 256 * 216 + 80)
    assert found.opset == 13


def test_other_weights_are_another_file_of_the_same_structure(tmp_path: Path) -> None:
    a = one(convolution(tmp_path / "a.onnx", seed=0))
    b = one(convolution(tmp_path / "b.onnx", seed=1))
    assert a.sha256 != b.sha256
    assert a.structure == b.structure


def test_a_free_batch_is_one_or_what_is_asked_for(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    assert one(file).feed["images"].shape == (1, 3, 16, 16)
    four = one(file, batch=4)
    assert (four.batch, four.feed["images"].shape) == (4, (4, 3, 16, 16))
    assert four.cost == one(file).cost  # of one image in either case


def test_a_fixed_batch_is_the_files_own_and_no_other(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx", batch=2)
    assert one(file).batch == 2
    with pytest.raises(ConfigError, match="net takes 2 images at a time, so not 1; export it"):
        one(file, batch=1)


def test_sizes_that_are_free_must_be_said(tmp_path: Path) -> None:
    file = unary(tmp_path / "net.onnx", "Relu", ["N", 3, "H", "W"])
    with pytest.raises(ConfigError, match=r"input 'x' free; say them: --shape x=1,3,\?,\?"):
        one(file)
    assert one(file, shapes={"x": (2, 3, 32, 48)}).feed["x"].shape == (2, 3, 32, 48)
    with pytest.raises(ConfigError, match=r"input 'x' takes \?,3,\?,\?, got 2,1,32,48"):
        one(file, shapes={"x": (2, 1, 32, 48)})


def test_noise_is_the_same_every_time_and_never_zero(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    assert one(file).inputs_sha256 == one(file).inputs_sha256
    images = one(file, batch=16).feed["images"]
    assert abs(images.mean()) < 0.05
    assert images.std() == pytest.approx(1, abs=0.02)  # 12,288 draws of the normal


@pytest.mark.parametrize(
    ("kind", "dtype", "least", "most"),
    [
        (TensorProto.UINT8, "uint8", 0, 255),
        (TensorProto.INT8, "int8", -128, 127),
        (TensorProto.INT64, "int64", 1, 1),
        (TensorProto.INT32, "int32", 1, 1),
        (TensorProto.FLOAT16, "float16", -6, 6),
    ],
)
def test_every_type_is_fed_values_of_its_own(
    tmp_path: Path, kind: int, dtype: str, least: int, most: int
) -> None:
    fed = one(unary(tmp_path / "net.onnx", "Identity", [1, 64, 64], kind)).feed["x"]
    assert fed.dtype == dtype
    assert least <= fed.min() <= fed.max() <= most
    assert (fed.min() < fed.max()) == (least != most)


def test_a_type_that_no_device_takes_is_refused(tmp_path: Path) -> None:
    file = unary(tmp_path / "net.onnx", "Identity", [1, 2], TensorProto.DOUBLE)
    with pytest.raises(ConfigError, match="input 'x' must be of float32, .* got double"):
        one(file)


def test_a_given_array_is_fed_as_it_is(tmp_path: Path) -> None:
    file = unary(tmp_path / "net.onnx", "Relu", ["N", 3])
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = one(file, inputs={"x": array})
    assert (found.feed["x"] == array).all()
    assert (found.batch, found.fed_with) == (4, "given: x")
    with pytest.raises(ConfigError, match="input 'x' is float32, got float64"):
        one(file, inputs={"x": array.astype(np.float64)})


def test_a_scalar_input_is_fed_a_scalar(tmp_path: Path) -> None:
    file = written(
        tmp_path / "net.onnx", "g (float[1,4] x, int64 k) => (float[1,4] y) "
        "{ c = Cast <to = 1> (k) y = Mul (x, c) }"
    )  # fmt: skip
    assert one(file).feed["k"].shape == ()
    given = one(file, inputs={"k": np.array(16000, np.int64)})
    assert given.feed["k"] == 16000


def test_weights_that_stand_among_the_inputs_are_not_fed() -> None:
    # onnx's light files are of IR 3, which lists every weight as an input.
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    assert list(one(folder / "light_squeezenet.onnx").feed) == ["data_0"]


def test_an_artefact_is_fed_its_own_images_as_its_network_reads_them(tmp_path: Path) -> None:
    images = np.full((2, 3, 8, 8), 255, np.uint8)
    images[1] = 0
    folder = artefact(tmp_path / "FermiNet-A", images=images)
    found = one(folder, batch=3)
    # (1 - 0.5) / 0.25 = 2 and (0 - 0.5) / 0.25 = -2; the third image is the first again.
    assert found.feed["images"][:, 0, 0, 0].tolist() == [2, -2, 2]
    assert found.fed_with == "2 of the artefact's own images"
    assert [source.name for source in find([tmp_path])] == ["FermiNet-A"]
    (folder / "samples.npz").unlink()
    with pytest.raises(ExportError, match="samples.npz is absent or damaged"):
        one(folder)


def test_all_free_sizes_of_all_inputs_are_named_at_once(tmp_path: Path) -> None:
    text = "g (float[N,K] x, float[2,N,H] state) => (float[N,K] y) { y = Relu (x) }"
    file = written(tmp_path / "net.onnx", text)
    said = r"'x' and 'state' free; say them: --shape x=1,\? --shape state=2,1,\?"
    with pytest.raises(ConfigError, match=said):
        one(file)


def test_a_free_size_may_be_written_as_minus_one(tmp_path: Path) -> None:
    model = onnx.load(unary(tmp_path / "net.onnx", "Relu", ["N", 3]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    onnx.save(model, tmp_path / "net.onnx")
    assert one(tmp_path / "net.onnx").feed["x"].shape == (1, 3)
