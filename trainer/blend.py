"""Weights between two trainings of one network: half of what each has learned, at no cost.

Trainings that share their start lie in one basin, and the straight line between them often holds
better weights than either end (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
2022). The share is chosen on validation, on both surfaces alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edge.errors import UsageError
from trainer import checkpoint
from trainer.checkpoint import Trained, load_trained
from trainer.judge import Score, judge
from trainer.recipe import Recipe, parse_recipe
from trainer.val import ValSet

SHARES = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0)  # of the second
State = dict[str, Tensor]
# Told beside the rest, or a path of the machine that trained.
HIDDEN = frozenset({"training.seed", "training.epochs", "network.weights"})


@dataclass(frozen=True, slots=True)
class Blend:
    """One share of the second training, and what it gives on validation."""

    share: float
    score: Score


def averaged(path: Path) -> State:
    """The averaged weights of a best.pt, or of the last epoch, in a last.pt."""
    content = checkpoint.load(path)
    return dict(content["state"] if "state" in content else content["ema"])


def mixed(one: State, other: State, share: float) -> State:
    """`share` of the other; counters are the other's."""
    if one.keys() != other.keys() or any(one[k].shape != other[k].shape for k in one):
        raise UsageError("blend: the two trainings are of different networks")
    return {
        name: tensor.lerp(other[name], share) if tensor.is_floating_point() else other[name]
        for name, tensor in one.items()
    }


def blend(
    first: Path,
    second: Path,
    val: ValSet,
    out: Path,
    *,
    shares: Sequence[float] = SHARES,
    by_photos: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> list[Blend]:
    """Try the shares on validation and write the best as a best.pt that can go on or be packed.

    The best is that of photos and swapped surfaces alike, or with `by_photos` of the photos.
    """
    trained, ends = load_trained(first), (averaged(first), averaged(second))
    tried = []
    for share in shares:
        trained.net.load_state_dict(mixed(*ends, share))
        tried.append(Blend(share, _score(trained, val)))
        accuracy, swapped = tried[-1].score.accuracy, tried[-1].score.swapped
        say(f"share {share:.2f}: {accuracy:.2%}, swapped {(swapped or 0):.2%}")
    best = max(tried, key=lambda one: one.score.accuracy if by_photos else one.score.rank)
    content: dict[str, Any] = checkpoint.load(first)
    content["state"] = mixed(*ends, best.share)
    content["val_accuracy"] = best.score.accuracy
    content["notes"] = {
        "blend": {
            "of": [_recipe_of(path) for path in (first, second)],
            "share": best.share,
            "tried": list(shares),
            "chosen_by": "validation photos" if by_photos else "validation",
            "trainings": trainings(first, second, best.share),
        }
    }
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out / "best.pt", content)
    return tried


def trainings(first: Path, second: Path, share: float) -> list[dict[str, Any]]:
    """The trainings whose weights were averaged, for the card; a blend made before this was kept
    counts as one.

    `share` is its part of the weights, `seed` and `epochs` are its own, and `differs` is what its
    recipe sets otherwise than that of the first, which the card tells whole.
    """
    contents = {path: checkpoint.load(path) for path in (first, second)}
    own = flat(_recipe(contents[first], first))
    found: list[dict[str, Any]] = []
    for path, part in ((first, 1 - share), (second, share)):
        content, recipe = contents[path], _recipe(contents[path], path)
        before = content.get("notes", {}).get("blend", {}).get("trainings")
        for one in before or [_told(recipe, int(content["epoch"]))]:
            values = flat(recipe) | one["differs"]
            other = {k: v for k, v in values.items() if k not in HIDDEN and v != own[k]}
            told = {**one, "share": round(one["share"] * part, 4), "differs": other}
            found += [told] if told["share"] else []
    return found


def _told(recipe: Recipe, epochs: int) -> dict[str, Any]:
    seed = recipe.training.seed
    return {"recipe": recipe.name, "share": 1.0, "seed": seed, "epochs": epochs, "differs": {}}


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe by its name as `--set` takes it, say training.lr."""
    return {
        f"{section}.{key}": value
        for section, values in recipe.as_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
    }


def _recipe(content: dict[str, Any], path: Path) -> Recipe:
    return parse_recipe(content["recipe"], where=str(path))


def _recipe_of(path: Path) -> str:
    """Name of the recipe of a best.pt or a last.pt; of a blend, what it was blended from."""
    content = checkpoint.load(path)
    if made := content.get("notes", {}).get("blend"):
        return f"{' + '.join(made['of'])} ({made['share']:g} of the second)"
    return _recipe(content, path).name


def _score(trained: Trained, val: ValSet) -> Score:
    trained.net.eval()
    accuracy, loss = judge(trained.net, val.original, val.targets, "cpu")
    swapped = None
    if val.swapped is not None and val.swapped_targets is not None:
        swapped, _ = judge(trained.net, val.swapped, val.swapped_targets, "cpu")
    return Score(accuracy, loss, swapped)
