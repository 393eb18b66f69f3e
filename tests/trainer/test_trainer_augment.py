"""Augmentation: shapes, ranges, seeds, and geometry that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.trainer.synthetic import write_photos  # noqa: E402
from trainer.augment import Augmenter, Cutouts, Draw, View, erase, mixup, sample  # noqa: E402
from trainer.data import load_masks, load_pixels, scan  # noqa: E402
from trainer.recipe import Augment  # noqa: E402
from trainer.surfaces import training_bank  # noqa: E402

pytestmark = pytest.mark.trainer
PLAIN = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)


def augmenter(tmp_path: Path, **spec: float) -> Augmenter:
    photos = scan(write_photos(tmp_path, per_class=2))
    masks, good = load_masks(photos, tmp_path / "masks")
    pixels = load_pixels(photos, tmp_path / "cache")
    cutouts = Cutouts(masks, good, training_bank(9, 0))
    mean, std = PLAIN
    return Augmenter(pixels, Augment(**spec), mean=mean, std=std, cutouts=cutouts)


def batch(made: Augmenter, seed: int, size_px: int = 48) -> torch.Tensor:
    views, _ = made.batch(np.arange(6), size_px, torch.Generator().manual_seed(seed))
    return views


def test_a_batch_is_seeded_and_in_range(tmp_path: Path) -> None:
    """One seed, one batch; another seed, another; every value within 0..1 before normalising."""
    made = augmenter(tmp_path)
    views = batch(made, 1)
    assert views.shape == (6, 3, 48, 48)
    assert views.dtype == torch.float32
    assert 0 <= float(views.min()) <= float(views.max()) <= 1
    assert torch.equal(views, batch(made, 1))
    assert not torch.equal(views, batch(made, 2))


def test_mean_and_std_are_those_of_the_bundle(tmp_path: Path) -> None:
    """Normalising is (pixel - mean) / std on the 0..255 scale, as edge.preprocess does it."""
    plain = augmenter(tmp_path)
    photos = scan(tmp_path / "images")
    pixels = load_pixels(photos, tmp_path / "cache")
    masks, good = load_masks(photos, tmp_path / "masks")
    cutouts = Cutouts(masks, good, training_bank(9, 0))
    lite = Augmenter(pixels, Augment(), mean=(127.0,) * 3, std=(128.0,) * 3, cutouts=cutouts)
    expected = (batch(plain, 1) * 255 - 127) / 128
    assert torch.allclose(batch(lite, 1), expected, atol=1e-5)


def test_the_unmoved_view_is_the_picture() -> None:
    """No zoom, no turn, no shift: sampling at the picture's own size changes nothing."""
    picture = torch.rand(1, 3, 40, 40)
    zero, one = torch.zeros(1), torch.ones(1)
    seen = sample(picture, View(zero, zero, zero, zero, one, one, zero, one), 40)
    assert torch.allclose(seen, picture, atol=1e-5)


def test_zoom_and_offset_put_a_point_where_they_say() -> None:
    """The view's centre lands at its offset, whatever the angle."""
    picture = torch.zeros(1, 1, 90, 120)
    picture[0, 0, 30, 90] = 1.0  # at x 0.508, y -0.322
    one = torch.ones(1)
    x, y = torch.tensor([(90.5 / 120) * 2 - 1]), torch.tensor([(30.5 / 90) * 2 - 1])
    offset_x, offset_y = torch.tensor([-0.5]), torch.tensor([0.5])
    view = View(x, y, offset_x, offset_y, 2 * one, one, torch.tensor([0.7]), one)
    seen = sample(picture, view, 80)[0, 0]
    row, column = divmod(int(seen.argmax()), 80)
    assert abs((column + 0.5) / 40 - 1 - -0.5) < 0.05
    assert abs((row + 0.5) / 40 - 1 - 0.5) < 0.05


def test_swaps_replace_the_card_and_keep_the_item(tmp_path: Path) -> None:
    """With every background swapped the white card is rarer, the item's colour stays."""
    calm = {
        "exposure": 1.0,
        "contrast": 1.0,
        "saturation": 1.0,
        "tint": 1.0,
        "gamma": 1.0,
        "light_slope": 0.0,
        "erase_share": 0.0,
        "noise": 0.0,
    }
    white = batch(augmenter(tmp_path, swap_share=0.0, **calm), 3)
    moved = batch(augmenter(tmp_path, swap_share=1.0, **calm), 3)

    def share(views: torch.Tensor) -> float:
        return float((views.min(1).values > 0.85).float().mean())

    assert share(moved) < share(white) / 1.5
    reds = moved[4:]  # the two red items
    assert float(((reds[:, 0] > 0.6) & (reds[:, 1] < 0.35)).float().mean()) > 0.02


def test_erasing_touches_its_share() -> None:
    """Share 0 erases nothing, share 1 a rectangle of every picture."""
    views = torch.rand(64, 3, 32, 32)
    draw = Draw(torch.Generator().manual_seed(0), 64, "cpu")
    assert torch.equal(erase(views, draw, Augment(erase_share=0.0)), views)
    erased = erase(views, draw, Augment(erase_share=1.0))
    changed = (erased != views).any(1).float().mean((1, 2))
    assert float(changed.min()) > 0
    assert float(changed.max()) < 0.25


def test_mixup_keeps_targets_a_distribution() -> None:
    """Mixed targets sum to one; alpha 0 leaves the batch alone."""
    views, targets = torch.rand(8, 3, 4, 4), torch.eye(4).repeat(2, 1)
    same, _ = mixup(views, targets, 0.0, 1.0, np.random.default_rng(0))
    assert same is views
    _, mixed = mixup(views, targets, 0.4, 1.0, np.random.default_rng(0))
    assert torch.allclose(mixed.sum(1), torch.ones(8))
    assert not torch.equal(mixed, targets)
