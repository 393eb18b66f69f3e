"""Surfaces and pasting: seeded, varied, and different in training and challenge."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.synthetic import make_photo
from trainer.compose import compose
from trainer.masks import box_of, is_good_mask
from trainer.surfaces import HEIGHT, TRAINING_MIX, WIDTH, challenge_surface, training_bank


def test_the_bank_is_seeded_and_varied() -> None:
    """One seed, one bank; no two surfaces of a bank are alike."""
    count = sum(share for _, share in TRAINING_MIX)
    bank = training_bank(count, seed=3)
    assert bank.shape == (count, HEIGHT, WIDTH, 3)
    assert bank.dtype == np.uint8
    assert np.array_equal(bank, training_bank(count, seed=3))
    assert not np.array_equal(bank, training_bank(count, seed=4))
    assert len({surface.tobytes() for surface in bank}) == count


@pytest.mark.parametrize("kind", ["brown", "cardboard"])
def test_challenge_surfaces_are_brown(kind: str) -> None:
    """Brown wood and cardboard have more red than green than blue, and are not flat."""
    for seed in range(5):
        surface = challenge_surface(kind, np.random.default_rng(seed)).astype(float)
        red, green, blue = surface.mean((0, 1))
        assert red > green > blue
        assert surface.std((0, 1)).max() > 2


def test_the_challenge_has_generators_of_its_own() -> None:
    """No generator of brown wood or cardboard is shared with the training bank."""
    from trainer.surfaces import CHALLENGE

    trained = {maker for maker, _ in TRAINING_MIX}
    assert trained.isdisjoint(CHALLENGE["brown"])
    assert trained.isdisjoint(CHALLENGE["cardboard"])


def test_pasting_keeps_the_item_and_replaces_the_rest() -> None:
    """Inside the mask the photo stays; far outside it the surface shows."""
    pixels, mask = make_photo((210, 40, 40), np.random.default_rng(0))
    surface = np.full((HEIGHT, WIDTH, 3), (10, 90, 20), np.uint8)
    pasted = compose(pixels, mask, surface, np.random.default_rng(1))
    x, y, _, _ = box_of(mask)
    row, column = round((y + 1) / 2 * 96), round((x + 1) / 2 * 128)
    assert np.array_equal(pasted[row, column], pixels[row, column])
    assert np.abs(pasted[0, 0].astype(int) - (10, 90, 20)).max() <= 8


def test_mask_rule() -> None:
    """A clean item passes; an empty mask, a full one and a faint one do not."""
    _, mask = make_photo((0, 0, 0), np.random.default_rng(0))
    assert is_good_mask(mask)
    assert not is_good_mask(np.zeros_like(mask))
    assert not is_good_mask(np.full_like(mask, 255))
    assert not is_good_mask(mask // 2 + 20)
