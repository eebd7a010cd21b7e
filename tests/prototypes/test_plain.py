from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from gensynth.errors import PrototypeError
from gensynth.prototypes.plain import copied, plain, unwrapped
from gensynth.trace import trace

SHAPE = (3, 8, 8)


def network(first: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        first or nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 8, 3, padding=1)


def weight_norm() -> nn.Module:
    return network(nn.utils.weight_norm(conv()))


def spectral_norm() -> nn.Module:
    own = network(nn.utils.spectral_norm(conv()))
    own(torch.randn(2, *SHAPE))
    return own


def masked() -> nn.Module:
    own = network()
    prune.ln_structured(own[3], "weight", 0.5, n=2, dim=0)  # type: ignore[no-untyped-call]
    prune.random_unstructured(own[3], "weight", 0.3)  # type: ignore[no-untyped-call]
    return own


class Listed(nn.Module):
    """Parts in a list and a dictionary of Python's, which torch does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [conv(), nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU())]
        self.more = {"norm": nn.BatchNorm2d(16).eval()}
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        answer: torch.Tensor = self.head(self.more["norm"](x).mean((2, 3)))
        return answer


class OptimizedModule(nn.Module):
    """As torch.compile returns it, whose import alone takes seconds."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self._orig_mod = own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._orig_mod(*args, **kwargs)


def parallel_within() -> nn.Module:
    own = network()
    own[3] = nn.DataParallel(own[3])
    return own


TRAINED: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": weight_norm,
    "weight_norm of today": lambda: network(parametrizations.weight_norm(conv())),
    "spectral_norm": spectral_norm,
    "spectral_norm of today": lambda: network(parametrizations.spectral_norm(conv())),
    "orthogonal": lambda: network(parametrizations.orthogonal(conv())),
    "masked": masked,
    "double": lambda: network().double(),
    "half": lambda: network().half(),
    "DataParallel": lambda: nn.DataParallel(network()),
    "a part in DataParallel": parallel_within,
    "AveragedModel": lambda: AveragedModel(network()),
    "compiled": lambda: OptimizedModule(network()),
    "lists": Listed,
}


@pytest.mark.filterwarnings("ignore:.*is deprecated in favor:FutureWarning")
@pytest.mark.parametrize("kind", TRAINED)
def test_what_training_put_around_a_network_goes_and_its_answers_stay(kind: str) -> None:
    torch.manual_seed(0)
    module, images = TRAINED[kind]().eval(), torch.randn(2, *SHAPE)
    own = plain(unwrapped(copied(module), name="own"), [SHAPE], name="own")
    whole = module.float() if kind in ("double", "half") else module  # still what it was
    with torch.no_grad():
        assert torch.allclose(own(images), whole(images), rtol=1e-5, atol=1e-6)
    graph = trace(own, images[:1], name="own")
    assert not [vertex for vertex in graph.vertices if vertex.op == "opaque"]
    assert {t.dtype for t in own.state_dict().values() if t.is_floating_point()} == {torch.float32}


def test_lazy_layers_are_made_for_the_images() -> None:
    own = network(nn.LazyConv2d(8, 3, padding=1))
    own[1] = nn.LazyBatchNorm2d()
    found = plain(unwrapped(own, name="own"), [SHAPE], name="own")
    assert tuple(found.state_dict()["0.weight"].shape) == (8, 3, 3, 3)
    with pytest.raises(PrototypeError, match="'own' has lazy layers, and they cannot be made for"):
        plain(nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(4)), [SHAPE], name="own")


def test_what_is_scripted_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(nn.Sequential(nn.ReLU()))
    with pytest.raises(PrototypeError, match="'own' is compiled by torch.jit"):
        unwrapped(scripted, name="own")
