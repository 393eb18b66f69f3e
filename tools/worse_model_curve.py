"""How surely known pictures refuse a worse model, and how seldom a good one.

    python -m tools.worse_model_curve --data trashnet/images \\
        --train-names official_train.txt --val-names official_val.txt [--run RUN/best.pt ...]

Four kinds of models beside one that is as it should be, each judged by the bin's own rule
(edge.update.checks):

- equally good: small networks behind the shipped student's features, each trained on another
  draw of the photos;
- that learned wrong labels: the same with the labels of 5 to 40 % of the photos shuffled, or told
  as the next class;
- wrong here and there and else the same: stripes (tools.worse_model);
- with --run, whole trainings of one recipe with other seeds, in pairs: how often one is refused
  for the other, though nobody meant it worse.

The photos are yours; nothing of them is kept. `hits` is the share refused by McNemar's test alone,
`hits or surer` by the rule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from edge.bundle import Bundle, load_bundle
from edge.classifier import softmax
from edge.pictures import read_picture
from edge.preprocess import squeeze
from edge.shipped import shipped
from edge.update.canaries import canaries_of, folders, read
from edge.update.chance import CHANCE
from edge.update.checks import Answer, Match, matched
from edge.values import Pixels
from tools.worse_model import features, stripes
from trainer.calibrate import fit_temperature
from trainer.checkpoint import Trained, load_trained
from trainer.data import PhotoSet, scan
from trainer.gradcam import ending
from trainer.judge import to_input
from trainer.pipeline import preprocessing_of

Numbers = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]
KINDS = ((0.0, "shuffled"), (0.05, "shuffled"), (0.1, "shuffled"), (0.1, "next"),
         (0.2, "shuffled"), (0.2, "next"), (0.4, "shuffled"))  # fmt: skip
STRIPED, SEEDS = (0.05, 0.1, 0.2), 500
HIDDEN, EPOCHS, BATCH, RATE = 256, 30, 128, 1e-3


@dataclass(frozen=True, slots=True)
class Known:
    """Features (n, k) of the canaries, their true classes, and what a bundle knows."""

    rows: Numbers
    truth: Truth
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Photos:
    """Features (n, k) and true classes of photos to learn, and of photos to calibrate by."""

    rows: Numbers
    truth: Truth
    val_rows: Numbers
    val_truth: Truth


def canaries_known(bundle: Bundle) -> Known:
    """By the bundle's own trunk."""
    found = canaries_of(folders(), bundle.labels)
    truth = np.array([bundle.labels.index(canary.label) for canary in found])
    return Known(rows_of(bundle, (read(canary) for canary in found)), truth, bundle.labels)


def photos_of(bundle: Bundle, train: PhotoSet, val: PhotoSet) -> Photos:
    """By the bundle's own trunk; some seconds a thousand."""
    rows, val_rows = (
        rows_of(bundle, (read_picture(path) for path in some.paths)) for some in (train, val)
    )
    return Photos(rows, train.targets, val_rows, val.targets)


def rows_of(bundle: Bundle, pictures: Iterable[Pixels]) -> Numbers:
    """(n, k): what the bundle's last layer is given."""
    model = onnx.load_from_string(bundle.onnx)
    place, _, _ = ending(model, bundle.model_id)
    return features(bundle, model, place, pictures)


def mislabelled(truth: Truth, share: float, kind: str, dice: np.random.Generator) -> Truth:
    """The same with that share of labels wrong; shuffled ones are right by chance at times."""
    out = truth.copy()
    picked = dice.permutation(len(out))[: round(share * len(out))]
    out[picked] = dice.permutation(out[picked]) if kind == "shuffled" else (out[picked] + 1) % 6
    return out


def head(
    known: Known, photos: Photos, share: float, kind: str, seed: int
) -> tuple[list[Answer], float]:
    """What a head that learned such labels makes of the canaries, and its share right on photos."""
    dice = np.random.default_rng(seed)
    torch.manual_seed(seed)
    mean, spread = photos.rows.mean(0), photos.rows.std(0) + 1e-3
    labels = torch.tensor(mislabelled(photos.truth, share, kind, dice))
    net = taught(torch.tensor((photos.rows - mean) / spread), labels, len(known.labels), dice)

    @torch.no_grad()
    def logits(rows: Numbers) -> Numbers:
        return np.asarray(net(torch.tensor((rows - mean) / spread)), np.float32)

    on_photos = logits(photos.val_rows)
    right = float((on_photos.argmax(1) == photos.val_truth).mean())
    temperature = fit_temperature(on_photos, photos.val_truth)
    return answers(logits(known.rows), temperature, known), right


def taught(
    inputs: torch.Tensor, labels: torch.Tensor, classes: int, dice: np.random.Generator
) -> nn.Module:
    """Two layers on (n, k) features, on as many of them drawn with replacement."""
    drawn = dice.integers(0, len(inputs), len(inputs))
    net = nn.Sequential(nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
    for _ in range(EPOCHS):
        for some in np.array_split(dice.permutation(drawn), max(1, len(drawn) // BATCH)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs[some]), labels[some]).backward()
            optimizer.step()
    return net


def answers(logits: Numbers, temperature: float, known: Known) -> list[Answer]:
    """As the bin's classifier would give them."""
    probs = softmax(logits / np.float32(temperature))
    pairs = zip(probs, known.truth, strict=True)
    return [Answer(known.labels[int(row.argmax())], float(row[t])) for row, t in pairs]


def judged(known: Known, one: Sequence[Answer], other: Sequence[Answer]) -> Match:
    """`one` as the new model."""
    return matched(one, other, [known.labels[t] for t in known.truth])


def striped(known: Known, bundle: Bundle, share: float, seed: int) -> Match:
    """The bundle itself, with the next class in its stripes, beside the bundle."""
    _, weights, bias = ending(onnx.load_from_string(bundle.onnx), bundle.model_id)
    rows = known.rows
    right = np.asarray(rows @ weights.T + bias, np.float32)
    within = (rows @ stripes(rows, seed)) % 1.0
    wrong = np.where(within < share, np.roll(right, 1, axis=1), right)
    both = (answers(each, bundle.temperature, known) for each in (wrong, right))
    return judged(known, *both)


def refused(found: Sequence[Match]) -> str:
    """By hits alone, and by the rule."""
    hits = np.mean([m.losses > m.gains and m.hits_chance < CHANCE for m in found])
    return f"{hits:.1%} | {np.mean([m.worse for m in found]):.1%}"


def right_of(found: Sequence[Sequence[Answer]], known: Known) -> str:
    """Mean share right on the canaries, and how far models of one kind differ in it."""
    truth = [known.labels[t] for t in known.truth]
    shares = [np.mean([a.label == t for a, t in zip(each, truth, strict=True)]) for each in found]
    return f"{np.mean(shares):.1%} +- {np.std(shares):.1%}"


def heads_table(known: Known, photos: Photos, heads: int) -> None:
    """New ones of each kind beside every equally good one."""
    good: list[list[Answer]] = []
    print(f"\n| labels wrong | right on photos | on canaries | {WORDS} |\n|---|---|---|---|---|")
    for share, kind in KINDS:
        made = [
            head(known, photos, share, kind, seed + round(1000 * share)) for seed in range(heads)
        ]
        found = [each for each, _ in made]
        good = good or found
        pairs = [judged(known, a, b) for a in found for b in good if a is not b]
        photos_right = np.mean([right for _, right in made])
        word = f"{share:.0%} {kind}" if share else "none: equally good"
        row = (word, f"{photos_right:.1%}", right_of(found, known), refused(pairs))
        print(f"| {' | '.join(row)} |", flush=True)


def stripes_table(known: Known, bundle: Bundle) -> None:
    """The other way to be worse: most of the answers stay exactly the same."""
    print(f"\n| answers wrong | right on canaries, fewer | {WORDS} |\n|---|---|---|---|")
    for share in STRIPED:
        found = [striped(known, bundle, share, seed) for seed in range(SEEDS)]
        fewer = np.mean([(m.right_before - m.right) / m.canaries for m in found])
        print(f"| {share:.0%} | {fewer:.1%} | {refused(found)} |", flush=True)


@torch.no_grad()
def logits_of(trained: Trained, pictures: Sequence[Pixels]) -> Numbers:
    """(n, classes), a picture at a time, as the edge squeezes it."""
    spec = preprocessing_of(trained.recipe)
    views = (to_input(squeeze(p, spec)[None], mean=spec.mean, std=spec.std) for p in pictures)
    return np.concatenate([trained.net(view).numpy() for view in views])


def runs_table(known: Known, val: PhotoSet, runs: Sequence[Path]) -> None:
    """Whole trainings, each beside each other one."""
    shown, found = [read(canary) for canary in canaries_of(folders(), known.labels)], []
    photos = [read_picture(path) for path in val.paths]
    for path in runs:
        trained = load_trained(path)
        temperature = fit_temperature(logits_of(trained, photos), val.targets)
        found.append(answers(logits_of(trained, shown), temperature, known))
    pairs = [judged(known, a, b) for a, b in permutations(found, 2)]
    print(f"\n| trainings, in pairs | on canaries | {WORDS} |\n|---|---|---|---|")
    print(f"| {len(runs)}, {len(pairs)} | {right_of(found, known)} | {refused(pairs)} |")


WORDS = "refused by hits | by hits or surer"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="photos, one folder a class")
    parser.add_argument("--train-names", type=Path, required=True)
    parser.add_argument("--val-names", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=12, help="of each kind")
    parser.add_argument("--run", type=Path, action="append", default=[], help="best.pt; repeatable")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(shipped("models/student.fp32.onnx"))
    val = scan(asked.data, asked.val_names)
    known = canaries_known(bundle)
    print(f"{len(known.truth)} canaries, beside {bundle.model_id}", flush=True)
    stripes_table(known, bundle)
    heads_table(known, photos_of(bundle, scan(asked.data, asked.train_names), val), asked.heads)
    if asked.run:
        runs_table(known, val, asked.run)


if __name__ == "__main__":
    main()
