"""Optimizers, schedules, phases, averages and blends do what their papers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.errors import ConfigError, SmartbinError  # noqa: E402
from tests.trainer.runs import run, states_equal, tiny  # noqa: E402
from trainer import checkpoint  # noqa: E402
from trainer.augment import Draw  # noqa: E402
from trainer.averages import Swa, refresh_batchnorm  # noqa: E402
from trainer.checkpoint import load_trained  # noqa: E402
from trainer.mixes import cutmix, mix  # noqa: E402
from trainer.randaugment import OPERATIONS, rand_augment  # noqa: E402
from trainer.recipe import Augment, Recipe  # noqa: E402
from trainer.schemes import Schedule, lr_factor, optimizer_of, phase_of  # noqa: E402
from trainer.train import autocast_type  # noqa: E402

pytestmark = pytest.mark.trainer


def factors(recipe: Recipe, epochs: tuple[float, ...]) -> list[float]:
    schedule = Schedule(recipe.training)
    return [schedule.factor(epoch) for epoch in epochs]


def test_cosine_warms_up_and_falls() -> None:
    """From next to nothing to the peak in the warm-up, then down to the floor."""
    recipe = tiny(warmup_epochs=2, epochs=10)
    assert factors(recipe, (0, 1, 2, 6, 10)) == pytest.approx([0.01, 0.5, 1.0, 0.505, 0.01])
    assert [lr_factor(e, recipe.training) for e in (0, 2, 10)] == pytest.approx([0.01, 1, 0.01])
    high = tiny(epochs=10, lr_floor=0.1)
    assert factors(high, (0, 10)) == pytest.approx([1.0, 0.1])


def test_step_drops_every_so_many_epochs() -> None:
    """0.85 every 5 epochs, as in the network from scratch: constant between the drops."""
    recipe = tiny(schedule="step", step_epochs=5, lr_drop=0.85, epochs=20)
    assert factors(recipe, (0, 4.9, 5, 10)) == pytest.approx([1, 1, 0.85, 0.7225])


def test_plateau_waits_for_a_lower_loss() -> None:
    """The rate drops after so many epochs without a lower validation loss, and not below."""
    schedule = Schedule(tiny(schedule="plateau", plateau_epochs=2, lr_drop=0.1).training)
    seen = []
    for loss in (1.0, 0.9, 0.95, 0.92, 0.8, 0.81, 0.82, 0.83, 0.84):
        schedule.seen(loss)
        seen.append(schedule.factor(1))
    assert seen == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, torch.optim.AdamW),
        ({"optimizer": "adam"}, torch.optim.Adam),
        ({"optimizer": "sgd", "momentum": 0.8, "nesterov": 1}, torch.optim.SGD),
    ],
)
def test_the_recipe_chooses_the_optimizer(settings: dict, kind: type) -> None:
    """Each optimizer keeps the groups' own rates and weight decay."""
    spec = tiny(**settings).training
    weight = torch.nn.Parameter(torch.ones(2, 2))
    made = optimizer_of([{"params": [weight], "lr": 0.5, "weight_decay": 0.25}], spec)
    assert type(made) is kind
    assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.5, 0.25)
    if kind is torch.optim.SGD:
        assert made.param_groups[0]["momentum"] == 0.8
        assert made.param_groups[0]["nesterov"]


def test_two_phases_have_rates_of_their_own(tmp_path: Path) -> None:
    """First the head alone learns, with the trunk's statistics at rest; then all of it does."""
    spec = tiny(head_epochs=1, tune_lr=1e-4).training
    assert (phase_of(0, spec).head_only, phase_of(0, spec).lr) == (True, spec.lr)
    assert (phase_of(1, spec).head_only, phase_of(1, spec).lr) == (False, 1e-4)
    run(tmp_path, "run", tiny(head_epochs=2, tune_lr=1e-3, epochs=3, lr=3e-3, ema_decay=0))
    rates = [row.split(",")[2] for row in (tmp_path / "run/training_losses.csv").open()][1:]
    # cosine over two epochs of two steps, then over one; the last step's rate is written
    assert [float(rate) for rate in rates] == pytest.approx([2.565e-3, 4.65e-4, 5.05e-4], rel=0.01)


def test_features_first_leaves_the_trunk_alone(tmp_path: Path) -> None:
    """After an epoch of the first phase no weight and no statistic of the trunk has moved."""
    start = load_trained(run(tmp_path, "start", tiny(epochs=1))).net.state_dict()
    settings = {"network.weights": str(tmp_path / "start" / "best.pt")}
    recipe = tiny(settings, head_epochs=1, epochs=2, ema_decay=0)
    seen = {}

    def watch(epoch: int, score: object) -> None:
        seen[epoch] = checkpoint.load(tmp_path / "two" / "last.pt")["net"]

    run(tmp_path, "two", recipe, watch=watch)
    trunk = [name for name in start if not name.startswith(("head.", "classifier."))]
    assert all(torch.equal(seen[1][name], start[name]) for name in trunk)
    assert not torch.equal(seen[1]["classifier.3.weight"], start["classifier.3.weight"])
    assert any(not torch.equal(seen[2][name], start[name]) for name in trunk)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "schedule": "plateau", "plateau_epochs": 1, "lr": 0.01},
        {"optimizer": "adam", "schedule": "step", "step_epochs": 1},
        {"head_epochs": 2, "tune_lr": 1e-3, "epochs": 4},
        {"swa_share": 0.7, "epochs": 4},
    ],
)
def test_a_broken_run_ends_as_the_unbroken_one(tmp_path: Path, settings: dict) -> None:
    """Stopped after any epoch and started again, the weights are the same bit for bit."""
    whole = run(tmp_path, "whole", tiny(**settings))
    broken = tmp_path / "broken"
    for _ in range(8):
        try:
            best = run(tmp_path, "broken", tiny(**settings), watch=stop_after_one)
        except KeyboardInterrupt:
            continue
        break
    assert best == broken / "best.pt"
    assert states_equal(whole, best)
    one, other = (checkpoint.load(folder.parent / "last.pt") for folder in (whole, best))
    assert all(torch.equal(one["net"][key], other["net"][key]) for key in one["net"])


def stop_after_one(epoch: int, score: object) -> None:
    raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    """Two runs of one recipe on one machine are equal; another seed is another network."""
    recipe = tiny({"augment.rand_ops": 2, "augment.cutmix_share": 0.5, "network.dropout": 0.3})
    one, two = run(tmp_path, "one", recipe), run(tmp_path, "two", recipe)
    assert states_equal(one, two)
    assert not states_equal(one, run(tmp_path, "three", tiny(seed=1)))


def test_a_run_of_an_older_trainer_goes_on(tmp_path: Path) -> None:
    """A checkpoint and recipe without the newer keys resume with their defaults."""
    run_once = tiny(epochs=3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "old", run_once, watch=stop_after_one)
    content = checkpoint.load(tmp_path / "old" / "last.pt")
    for key in ("best_epoch", "swa", "swa_count", "scaler", "schedule"):
        del content[key]
    newer = ("swa_", "optimizer", "momentum", "nesterov", "schedule", "lr_", "step_", "plateau_")
    newer += ("head_epochs", "tune_", "patience", "fp16", "rand_", "cutmix", "normalise", "teacher")
    lines = content["recipe"].splitlines()
    content["recipe"] = "\n".join(line for line in lines if not line.startswith(newer))
    checkpoint.save(tmp_path / "old" / "last.pt", content)
    resumed = run(tmp_path, "old", run_once)
    assert states_equal(resumed, run(tmp_path, "whole", run_once))


def test_patience_ends_a_run(tmp_path: Path) -> None:
    """A network that cannot learn stops after as many epochs as the recipe waits."""
    run(tmp_path, "run", tiny(epochs=40, lr=1e-7, patience_epochs=3, ema_decay=0.99))
    rows = (tmp_path / "run" / "training_losses.csv").read_text().splitlines()[1:]
    content = checkpoint.load(tmp_path / "run" / "last.pt")
    assert len(rows) < 40
    assert content["epoch"] - content["best_epoch"] == 3


def test_swa_is_the_mean_of_the_ends_of_epochs() -> None:
    """Three nets of weight 1, 2 and 6 average to 3."""
    net = torch.nn.Linear(1, 1, bias=False)
    swa = Swa({})
    for value in (1.0, 2.0, 6.0):
        torch.nn.init.constant_(net.weight, value)
        swa.add(net)
    assert float(swa.state["weight"]) == pytest.approx(3.0)


def test_statistics_are_measured_anew_for_averaged_weights() -> None:
    """BatchNorm's mean and variance are those of the batches given, whatever they were."""
    net = torch.nn.BatchNorm2d(1, momentum=0.3)
    net.running_mean.fill_(50)
    batches = [torch.full((2, 1, 2, 2), value) for value in (1.0, 3.0)]
    refresh_batchnorm(net, batches)
    assert float(net.running_mean) == pytest.approx(2.0)
    assert net.momentum == 0.3
    assert not net.training


def test_cutmix_shares_targets_by_the_area_that_is_seen() -> None:
    """The share of the other class is that of the pixels that come from it."""
    views = torch.stack([torch.zeros(3, 20, 20), torch.ones(3, 20, 20)])
    targets = torch.eye(2)
    for seed in range(20):
        cut, blended = cutmix(views, targets, 0.6, np.random.default_rng(seed))
        assert float(cut[0].mean()) == pytest.approx(float(blended[0, 1]), abs=1e-6)
        assert torch.allclose(blended.sum(1), torch.ones(2))


def test_mix_is_off_by_its_share() -> None:
    """With neither MixUp nor CutMix a batch passes as it is."""
    views, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    spec = Augment(mixup_alpha=0)
    mixed, blended = mix(views, targets, spec, np.random.default_rng(0))
    assert mixed is views
    assert blended is targets


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.__name__.strip("_"))
def test_each_operation_keeps_shape_and_is_finite(operation: object) -> None:
    """At full strength either way, an operation gives pictures of the same shape."""
    views = torch.rand(2, 3, 16, 16)
    out = operation(views, torch.tensor([1.0, -1.0]).view(-1, 1, 1, 1))
    assert out.shape == views.shape
    assert torch.isfinite(out).all()


def test_equalize_flattens_the_histogram() -> None:
    """A dark picture's brightnesses spread over the whole range."""
    equalize = next(op for op in OPERATIONS if op.__name__ == "_equalize")
    dark = torch.linspace(0, 0.2, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert float(equalize(dark, torch.ones(1, 1, 1, 1)).max()) == 1.0
    assert float(equalize(dark, torch.ones(1, 1, 1, 1)).mean()) == pytest.approx(0.5, abs=0.02)


def test_rand_augment_is_of_its_dice() -> None:
    """The same dice give the same views, others do not, and all stay within 0..1."""
    views = torch.rand(6, 3, 16, 16)
    one, two, other = (
        rand_augment(views, Draw(torch.Generator().manual_seed(seed), 6, "cpu"), 2, 15)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert float(one.min()) >= 0 and float(one.max()) <= 1


def test_half_precision_is_used_where_the_device_has_it() -> None:
    """fp16 needs a GPU; a CPU computes such a recipe in fp32, and bf16 anywhere."""
    assert autocast_type(0, 1, "cpu") is None
    assert autocast_type(0, 1, "cuda:0") is torch.float16
    assert autocast_type(1, 0, "cpu") is torch.bfloat16
    assert autocast_type(0, 0, "cuda") is None


def test_bf16_trains_on_a_cpu(tmp_path: Path) -> None:
    """Autocast changes how activations are computed, not that the run ends well."""
    best = run(tmp_path, "half", tiny(bf16=1))
    assert all(t.dtype != torch.bfloat16 for t in load_trained(best).net.state_dict().values())


def test_a_run_that_diverges_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is no number ends in one sentence, and the epoch before it is kept."""
    losses = iter([1.0, 1.0, float("nan"), 1.0])

    def hard_loss(logits: torch.Tensor, *others: object) -> torch.Tensor:
        return logits.sum() * 0 + next(losses)

    monkeypatch.setattr("trainer.train.hard_loss", hard_loss)
    with pytest.raises(SmartbinError, match=r"epoch 2: the loss is nan; lower training\.lr"):
        run(tmp_path, "wild", tiny())
    assert checkpoint.load(tmp_path / "wild" / "last.pt")["epoch"] == 1


def test_settings_that_contradict_each_other_are_faults() -> None:
    """All of them together, each with what to do."""
    with pytest.raises(ConfigError) as caught:
        tiny(bf16=1, fp16=1, head_epochs=5, epochs=3, nesterov=1)
    told = "\n".join(caught.value.faults)
    assert "bf16 and fp16 are both 1" in told
    assert "head_epochs = 5: must be under training.epochs = 3" in told
    assert "nesterov = 1: belongs to optimizer = 'sgd'" in told
