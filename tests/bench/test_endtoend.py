"""A file from pixels to the class computes what numpy computes step by step."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from gensynth.bench.endtoend import end_to_end
from gensynth.bench.subjects import Subject, find, read
from gensynth.errors import ConfigError
from tests.onnx_files.written import convolution, unary

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def artefact(folder: Path) -> Subject:
    folder.mkdir()
    convolution(folder / "network.onnx", size=8)
    np.savez(folder / "samples.npz", images=np.zeros((1, 3, 8, 8), np.uint8))
    reads = {"mode": "RGB", "height": 8, "width": 8, "mean": list(MEAN), "std": list(STD)}
    (folder / "manifest.json").write_text(json.dumps({"name": "net", "reads": reads}))
    return read(find([folder])[0], batch=4)


def run(content: bytes, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    providers = ["CPUExecutionProvider"]
    outputs: list[np.ndarray] = onnxruntime.InferenceSession(content, providers=providers).run(
        None, feed
    )
    return outputs


@pytest.mark.parametrize("pixels", ["uint8", "float32"])
def test_pixels_become_the_class_that_numpy_finds(tmp_path: Path, pixels: str) -> None:
    subject = artefact(tmp_path / "net")
    whole = end_to_end(subject, pixels=pixels)
    (image,) = whole.feed.values()
    assert (image.shape, str(image.dtype)) == ((4, 8, 8, 3), pixels)
    shares, best = run(whole.content, dict(whole.feed))
    read_in = (image.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(
        STD, np.float32
    )
    (logits,) = run(
        subject.content, {"images": np.ascontiguousarray(read_in.transpose(0, 3, 1, 2))}
    )
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    assert shares == pytest.approx(expected, abs=1e-5)
    assert best.tolist() == logits.argmax(1).tolist()


def test_it_has_a_name_of_its_own_and_the_networks_weights(tmp_path: Path) -> None:
    subject = artefact(tmp_path / "net")
    whole = end_to_end(subject)
    assert whole.name == "net end to end"
    assert whole.cost.macs == subject.cost.macs


def test_a_file_that_does_not_say_how_it_reads_images_is_refused(tmp_path: Path) -> None:
    subject = read(find([convolution(tmp_path / "net.onnx")])[0])
    with pytest.raises(ConfigError, match="how net reads images, which an artefact says"):
        end_to_end(subject)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    artefact(tmp_path / "net")
    unary(tmp_path / "net/network.onnx", "Relu", ["N", 3, 8])
    with pytest.raises(ConfigError, match="or one a pixel, which net does not have"):
        end_to_end(read(find([tmp_path / "net"])[0]))
