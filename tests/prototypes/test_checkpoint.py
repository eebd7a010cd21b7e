from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.prototypes.checkpoint import begin_from, load_weights, read_checkpoint


def network(classes: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


def put_before(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


WAYS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "plain": lambda s: s,
    "trainer": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"lr": 0.1}},
    "nested": lambda s: {"model": {"state_dict": s}, "ema": {k: t + 1 for k, t in s.items()}},
    "average": lambda s: {"ema": s},
    "DataParallel": lambda s: put_before("module.", s),
    "compiled": lambda s: put_before("_orig_mod.", s),
    "compiled parallel": lambda s: {"net": put_before("module._orig_mod.", s)},
    "lightning": lambda s: {"state_dict": put_before("model.", s)},
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **put_before("module.", s)},
    "a compiled part": lambda s: {k.replace("0.", "0._orig_mod.", 1): t for k, t in s.items()},
    "half": lambda s: {k: t.half() if t.is_floating_point() else t for k, t in s.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_found_wherever_training_left_them(way: str, tmp_path: Path) -> None:
    trained, other, file = network(), network(), tmp_path / "trained.pth"
    torch.save(WAYS[way](trained.state_dict()), file)
    load_weights(other, file, name="own")
    for key, tensor in other.state_dict().items():
        wanted = trained.state_dict()[key]
        assert torch.equal(tensor, wanted.half().float() if way == "half" else wanted), key


class Anything:
    pass


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (network(), "neither a safetensors file nor a checkpoint of tensors alone"),
        ({"state_dict": Anything()}, "could run code when read, so it is refused"),
        ({"epoch": 3, "best": 0.9}, "has no weights by name: it holds epoch, best"),
        ([torch.zeros(1)], "has no weights by name: it holds a list"),
    ],
)
def test_a_file_of_anything_else_is_refused(held: Any, message: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "held.pth")
    with pytest.raises(PrototypeError, match=message):
        read_checkpoint(tmp_path / "held.pth", name="own")


def test_what_has_no_end_is_not_read_as_weights() -> None:
    with pytest.raises(PrototypeError, match="/dev/zero cannot be read: it must be a plain file"):
        read_checkpoint(Path("/dev/zero"), name="own")


def test_a_damaged_pickle_is_refused_whatever_torch_makes_of_it(tmp_path: Path) -> None:
    # Protocol 2, then a dictionary's BINUNICODE of which two bytes of the length are there.
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02M\x01")
    with pytest.raises(PrototypeError, match="neither a safetensors file nor a checkpoint"):
        read_checkpoint(tmp_path / "weights.pth", name="own")


def test_a_head_of_other_classes_is_said_and_stays_where_training_goes_on() -> None:
    trained, other = network(1000), network(4)
    before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    with pytest.raises(PrototypeError, match="w.pth tells 1000 classes apart, and prototype 'own' "
                                             "4 .*--train-prototype"):  # fmt: skip
        begin_from(other, trained.state_dict(), "w.pth", name="own", train=False)
    left = begin_from(other, trained.state_dict(), "w.pth", name="own", train=True)
    assert left == ("3.bias", "3.weight")
    after = other.state_dict()
    assert torch.equal(after["0.weight"], trained.state_dict()["0.weight"])
    assert torch.equal(after["3.weight"], before["3.weight"])


def test_weights_of_another_network_are_refused_to_training_too() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))
    with pytest.raises(PrototypeError, match="does not fit prototype 'own': it has 0.bias as"):
        begin_from(network(), wide.state_dict(), "w.pth", name="own", train=True)
