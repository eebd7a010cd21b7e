"""To torch's own tools a network is a torch network: they find its layers, and they agree."""

import copy
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.utils.flop_counter import FlopCounterMode

from gensynth.graph.cost import cost
from gensynth.network.files import save_network
from gensynth.network.layers import LAYERS
from gensynth.network.module import Network, build, opaque_modules
from gensynth.network.torch_operators import COMPUTE
from gensynth.trace import trace
from tests.networks.cropped import CROPPED
from tests.networks.families import FAMILIES
from tests.networks.further import FURTHER, make_any

# torch warns of itself: of what it would rather have us use, and within its exporter.
olden = pytest.mark.filterwarnings("ignore")


def rebuilt(module: nn.Module, images: tuple[Tensor, ...]) -> Network:
    graph = trace(module, images, name="rebuilt")
    return build(graph, module.state_dict(), opaque=opaque_modules(graph, module)).eval()


@pytest.fixture(scope="module")
def resnet() -> tuple[nn.Module, Network, Tensor]:
    module, images = make_any("resnet")
    return module, rebuilt(module, images), images[0]


def runs(content: bytes, images: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    return found


def test_it_prints_as_its_prototype_does(resnet: tuple[nn.Module, Network, Tensor]) -> None:
    # Lines of layers; torch's ReLU is one that is called twice, and a container has no class here.
    module, network, _ = resnet
    lines = [line for line in str(module).splitlines() if "Conv2d" in line or "BatchNorm" in line]
    assert [line for line in str(network).splitlines() if line in lines] == lines
    assert "  (conv1): Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1)" in str(network)


def test_torch_counts_the_flops_that_we_count(resnet: tuple[nn.Module, Network, Tensor]) -> None:
    _, network, images = resnet
    with FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() == 2 * len(images) * cost(network.graph).macs
    by_layer = counter.get_flop_counts()["Network.conv1"]
    assert sum(by_layer.values()) == 2 * len(images) * 16 * 16 * 16 * 27  # by hand


def test_a_hook_on_a_layer_sees_what_the_prototypes_sees(
    resnet: tuple[nn.Module, Network, Tensor],
) -> None:
    module, network, images = resnet
    seen: list[Tensor] = []
    for one in (module, network):
        layer = one.get_submodule("stage2.0.conv2")
        handle = layer.register_forward_hook(lambda *given: seen.append(given[2]))
        one(images)
        handle.remove()
    assert torch.equal(*seen)


def test_a_layer_that_is_put_in_anothers_place_computes(
    resnet: tuple[nn.Module, Network, Tensor],
) -> None:
    _, network, images = resnet
    copied = copy.deepcopy(network)
    copied.get_submodule("stage1.0").relu = nn.Identity()
    assert not torch.equal(copied(images), network(images))


@olden
def test_fx_reads_it_and_quantises_it(resnet: tuple[nn.Module, Network, Tensor]) -> None:
    _, network, images = resnet
    assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images))
    prepared = prepare_fx(copy.deepcopy(network), get_default_qconfig_mapping("fbgemm"), (images,))
    prepared(images)
    quantised = convert_fx(prepared)
    kinds = {type(module).__module__ for module in quantised.modules()}
    assert "torch.ao.nn.intrinsic.quantized.modules.conv_relu" in kinds  # fused, norm and all
    assert torch.equal(quantised(images).argmax(1), network(images).argmax(1))


@olden
def test_eager_quantisation_converts_its_layers() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)]
    images = torch.randn(16, 3, 8, 8)
    network = rebuilt(nn.Sequential(*layers).eval(), (images,))
    wanted = network(images)
    quantization: Any = torch.ao.quantization
    quantization.fuse_modules(network, [["0", "1", "2"]], inplace=True)
    wrapped = quantization.QuantWrapper(network).eval()
    wrapped.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(wrapped)
    prepared(images)
    converted = quantization.convert(prepared)
    assert "QuantizedConvReLU2d(3, 8" in str(converted)
    assert "QuantizedLinear" in str(converted)
    assert float((converted(images) - wanted).abs().max() / wanted.abs().max()) < 0.05


@olden
def test_the_older_onnx_exporter_writes_what_it_computes(
    resnet: tuple[nn.Module, Network, Tensor],
) -> None:
    _, network, images = resnet
    file: Any = io.BytesIO()
    torch.onnx.export(network, (images,), file, dynamo=False, opset_version=13)
    found = runs(file.getvalue(), images)
    np.testing.assert_allclose(found, network(images).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@olden
def test_export_and_the_newer_onnx_exporter_write_what_it_computes(
    resnet: tuple[nn.Module, Network, Tensor],
) -> None:
    _, network, images = resnet
    exported = torch.export.export(network, (images,))
    assert torch.equal(exported.module()(images), network(images))
    pytest.importorskip("onnxscript")
    program: Any = torch.onnx.export(network, (images,), dynamo=True, verbose=False)
    found = runs(program.model_proto.SerializeToString(), images)
    np.testing.assert_allclose(found, network(images).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *FURTHER, *CROPPED])
def test_every_family_can_be_exported(family: str) -> None:
    module, images = make_any(family)
    network = rebuilt(module, images)
    found = torch.export.export(network, images).module()(*images)
    pairs = [found, network(*images)]
    first, second = ([x] if isinstance(x, Tensor) else x for x in pairs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_the_compiler_trains_it(resnet: tuple[nn.Module, Network, Tensor]) -> None:
    _, network, images = resnet
    one, other = copy.deepcopy(network).train(), copy.deepcopy(network).train()
    torch.autograd.backward(F.cross_entropy(one(images), torch.arange(3)))
    compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
    torch.autograd.backward(F.cross_entropy(compiled(images), torch.arange(3)))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    distributed = torch.distributed
    distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_distributed_training_has_the_plain_gradients(
    one_process: None, resnet: tuple[nn.Module, Network, Tensor]
) -> None:
    _, network, images = resnet
    one, other = copy.deepcopy(network).train(), copy.deepcopy(network).train()
    for computed in (one, nn.parallel.DistributedDataParallel(other)):
        torch.autograd.backward(F.cross_entropy(computed(images), torch.arange(3)))
    pairs: Any = zip(one.parameters(), other.parameters(), strict=True)
    for a, b in pairs:
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("family", ["resnet", "tied"])
def test_its_own_file_and_the_prototypes_state_dict_can_be_loaded(
    family: str, tmp_path: Path
) -> None:
    module, images = make_any(family)
    network = rebuilt(module, images)
    save_network(network, tmp_path)
    wanted = network(*images)
    for state in (load_file(tmp_path / "weights.safetensors"), module.state_dict()):
        fresh = Network(network.graph).eval()
        fresh.load_state_dict(state)
        assert torch.equal(fresh(*images), wanted)
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({key: t for key, t in state.items() if "fc" not in key})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        fresh.load_state_dict({**state, "other.weight": torch.zeros(1)})


def written() -> dict[str, Callable[[], nn.Module]]:
    """Ways to write layers so that they cannot stand where their tensors do."""

    class Bare(nn.Module):
        """Tensors of the network itself; the bias is added later, and is no convolution's."""

        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = (
                nn.Parameter(torch.randn(4, 3, 3, 3)),
                nn.Parameter(torch.ones(4)),
            )

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight).relu() + self.bias[:, None, None]

    class Twice(nn.Module):
        """One tensor, read in two ways."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.conv(x))
            return F.conv2d(y, self.conv.weight, self.conv.bias, stride=2)

    class Normed(nn.Conv2d):
        """A convolution that has its norm within."""

        def __init__(self) -> None:
            super().__init__(3, 4, 3)
            self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(F.conv2d(x, self.weight, self.bias))
            return self.relu(self.relu(y) - 1)

    def within(inner: type[nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(OrderedDict(first=nn.Conv2d(3, 3, 1), odd=inner()))

    kinds = (Bare, Twice, Normed)
    return {f"{k.__name__}{n}": m for k in kinds for n, m in (("", k), (" within", within(k)))}


@pytest.mark.parametrize("way", written())
def test_layers_written_in_odd_ways_compute_train_and_stay_one(way: str) -> None:
    torch.manual_seed(1)
    module, images = written()[way](), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        module(images)  # gives norms statistics
    network = rebuilt(module.eval(), (images,))
    assert set(network.tensors()) == {k for k in module.state_dict() if "num_batches" not in k}
    twin = pickle.loads(pickle.dumps(copy.deepcopy(network).double())).float()
    for one in (module, network, twin):
        optimiser = torch.optim.SGD(one.train().parameters(), lr=0.1)
        torch.autograd.backward(one(images).square().mean())
        optimiser.step()
    for one in (network, twin):
        torch.testing.assert_close(one.eval()(images), module.eval()(images))
        assert torch.equal(torch.fx.symbolic_trace(one)(images), one(images))


def test_every_operator_is_a_layer_or_a_function() -> None:
    from gensynth.graph.graph import OPERATORS

    assert LAYERS.keys() | COMPUTE.keys() == OPERATORS - {"input", "opaque"}
    assert not LAYERS.keys() & COMPUTE.keys()
