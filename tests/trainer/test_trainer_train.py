"""The loop learns, goes on after a kill as if nothing had been, and takes a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.errors import UsageError  # noqa: E402
from tests.trainer.runs import run, states_equal, tiny  # noqa: E402
from tests.trainer.synthetic import TINY_RECIPE  # noqa: E402
from trainer.backbones import NORMALISATIONS  # noqa: E402
from trainer.checkpoint import Trained, load_trained, network, save  # noqa: E402
from trainer.judge import to_input  # noqa: E402
from trainer.objective import class_weights, hard_loss, soft_loss  # noqa: E402
from trainer.recipe import parse_recipe  # noqa: E402
from trainer.teachers import Teachers  # noqa: E402

IMAGENET = NORMALISATIONS["imagenet"]

pytestmark = pytest.mark.trainer


def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second epoch and started again, it ends bit for bit as the unbroken run."""
    whole = run(tmp_path, "whole", tiny())
    steps = 0

    def killed(*args: object, **options: object) -> object:
        nonlocal steps
        steps += 1
        if steps == 4:  # two steps an epoch
            raise KeyboardInterrupt
        return step(*args, **options)

    step = torch.optim.AdamW.step
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "broken", tiny())
    resumed = run(tmp_path, "broken", tiny())
    assert states_equal(whole, resumed)
    rows = (tmp_path / "broken" / "training_losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


def test_the_loop_learns(tmp_path: Path) -> None:
    """Three colours are told apart after a few epochs from nothing."""
    best = run(tmp_path, "run", tiny(epochs=30))
    rows = (tmp_path / "run" / "training_losses.csv").read_text().splitlines()
    assert max(float(row.split(",")[4]) for row in rows[1:]) >= 0.8
    assert load_trained(best).classes == ("blue", "green", "red")


def test_frozen_blocks_stay_as_they_were(tmp_path: Path) -> None:
    """With two blocks frozen only the head learns; the trunk's weights are those it began with."""
    start = load_trained(run(tmp_path, "start", tiny(epochs=1))).net
    weights = {"network.weights": str(tmp_path / "start" / "best.pt")}
    settings = {**weights, "training.frozen_blocks": 2, "training.epochs": 1}
    recipe = parse_recipe(TINY_RECIPE, where="tiny", overrides=settings)
    tuned = load_trained(run(tmp_path, "tuned", recipe)).net
    assert torch.equal(start.blocks[1].body[0][0].weight, tuned.blocks[1].body[0][0].weight)
    assert not torch.equal(start.head[0][0].weight, tuned.head[0][0].weight)


def test_another_recipe_does_not_resume(tmp_path: Path) -> None:
    """A folder that holds another training is left alone, and the difference is named."""
    run(tmp_path, "run", tiny(epochs=1))
    with pytest.raises(UsageError, match="another recipe"):
        run(tmp_path, "run", tiny(epochs=2))


def test_a_teacher_changes_the_student(tmp_path: Path) -> None:
    """Distillation is the same loop: with soft targets the weights differ, and are finite."""
    teacher = run(tmp_path, "teacher", tiny(seed=1))
    alone, taught = run(tmp_path, "a", tiny()), run(tmp_path, "t", tiny(), teacher=teacher)
    assert not states_equal(alone, taught)
    assert all(
        torch.isfinite(t.float()).all() for t in load_trained(taught).net.state_dict().values()
    )


def test_a_teacher_of_other_labels_is_refused(tmp_path: Path) -> None:
    """A teacher must know the same classes in the same order."""
    teacher = run(tmp_path, "teacher", tiny(epochs=1))
    content = torch.load(teacher, weights_only=True)
    save(teacher, {**content, "classes": ["red", "green", "blue"]})
    with pytest.raises(UsageError, match="teacher's labels are red, green, blue"):
        run(tmp_path, "student", tiny(), teacher=teacher)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    """A half-copied best.pt is refused by name."""
    (tmp_path / "best.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UsageError, match=r"best\.pt: checkpoint cannot be read"):
        load_trained(tmp_path / "best.pt")


def test_losses_have_their_known_values() -> None:
    """Even logits cost ln 3; a student equal to its teacher costs nothing."""
    even, hard = torch.zeros(2, 3), torch.eye(3)[:2]
    assert float(hard_loss(even, hard, torch.ones(3), 0.1)) == pytest.approx(np.log(3), rel=1e-5)
    logits = torch.randn(4, 3)
    assert float(soft_loss(logits, logits, 4.0)) == pytest.approx(0, abs=1e-6)
    assert float(soft_loss(logits, logits + 7, 2.0)) == pytest.approx(0, abs=1e-5)


def test_class_weights_average_one() -> None:
    """Rare classes weigh more, and the mean over the pictures stays one."""
    targets = np.array([0] * 8 + [1] * 2)
    weights = class_weights(targets, 2, 0.5)
    assert float(weights[1] / weights[0]) == pytest.approx(2.0)
    assert float(weights[torch.from_numpy(targets)].mean()) == pytest.approx(1.0)


def test_a_teacher_sees_the_view_in_its_own_normalisation() -> None:
    """A ResNet that teaches a Lite gets the same pixels, normalised as it was trained with."""
    teacher = tiny({"network.family": "resnet18"})
    student = tiny({"network.family": "lite0"})
    torch.manual_seed(1)
    trained = Trained(network(teacher, 3).eval(), teacher, ("a", "b", "c"), 1, "")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    wanted = trained.net(to_input(pixels, mean=IMAGENET[0], std=IMAGENET[1]))
    found = Teachers([trained], student.network)(to_input(pixels))
    assert torch.allclose(found, wanted, atol=1e-4)


def test_several_teachers_give_the_mean_of_their_logits() -> None:
    """Two teachers of one kind: each logit is half the sum."""
    recipe = tiny()
    nets = [network(recipe, 3).eval() for _ in range(2)]
    trained = [Trained(net, recipe, ("a", "b", "c"), 1, "") for net in nets]
    views = torch.randn(2, 3, 32, 32)
    found = Teachers(trained, recipe.network)(views)
    assert torch.allclose(found, (nets[0](views) + nets[1](views)) / 2, atol=1e-5)
