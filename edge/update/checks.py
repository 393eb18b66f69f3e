"""Whether a signed bundle may replace the one that runs: version, labels, and known pictures.

The canaries are pictures whose class is known, so they tell worse from different. Where only one of
two models is right, chance makes it either one as often; a new model that surely loses more than it
gains (exact McNemar test) is refused, before it has decided anything. So is one that loses more
and surely gives the right class less probability (randomization test): that shows on every picture,
not on those alone where the class has changed. A model that is as often right and only less sure
is not refused for it: the temperatures of two recipes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.errors import BundleError
from edge.update.canaries import Canary, read
from edge.update.chance import CHANCE, flipped, most_share, paired
from edge.update.errors import UpdateError
from edge.update.shadow import USUAL_DISAGREEMENT

# Trainings of one recipe with other seeds differ on whole kinds of items, so that pictures are not
# independent: at 0.01 they were told apart twice as often as that (docs/updates.md).
SURER_CHANCE = 0.003
CLOCK_SLACK_S = 86400.0  # of the trainer's clock against the bin's


@dataclass(frozen=True, slots=True)
class Match:
    """Two models on the canaries."""

    canaries: int = 0
    right: int = 0  # of the new model
    right_before: int = 0
    gains: int = 0  # right where the other is wrong
    losses: int = 0
    other_wrong: int = 0  # both wrong, with different classes
    surer: float = 0.0  # mean change of the right class's probability, -1..1
    surer_chance: float = 1.0  # that an equally good model is so much less sure of it

    @property
    def worse(self) -> bool:
        """Whether the new model is surely worse."""
        return self.losses > self.gains and (
            self.hits_chance < CHANCE or self.surer_chance < SURER_CHANCE
        )

    @property
    def hits_chance(self) -> float:
        """That an equally good model loses so many."""
        return paired(self.losses, self.gains)

    @property
    def expected(self) -> float:
        """Share of items (0..1) on which the two may differ without one being worse.

        Where they differ on the canaries, and the new model loses no more than it gains, they will
        on real items as well: losses count as far as gains outweigh them.
        """
        excused = self.gains + min(self.gains, self.losses) + self.other_wrong
        return max(USUAL_DISAGREEMENT, most_share(excused, self.canaries) if excused else 0.0)


def check_made(candidate: Bundle, now_s: float) -> None:
    """Refuse a bundle made in the future; raises UpdateError.

    Once it ran, `check_clock` would hold back every later one until that day, the repair as well.
    """
    made_s = _made_s(candidate)
    if made_s is not None and made_s > now_s + CLOCK_SLACK_S:
        raise UpdateError(
            f"{candidate.model_id} was made on {_day(made_s)}, and the clock says {_day(now_s)}: "
            "set the clock that is wrong, the trainer's (and release again) or this one's; "
            "tried again later"
        )


def check_clock(running: Bundle, now_s: float) -> None:
    """Refuse to judge expiry by a clock that was never set; raises UpdateError.

    By a clock in the past nothing has ever expired, and an old list held up would pass for fresh.
    """
    made_s = _made_s(running)
    if made_s is not None and now_s < made_s - CLOCK_SLACK_S:
        raise UpdateError(
            f"the clock says {_day(now_s)}, but {running.model_id} was made on {_day(made_s)}: "
            "by such a clock nothing has expired; set it (see `smartbin doctor`), tried again later"
        )


def _made_s(bundle: Bundle) -> float | None:
    """When its card was written, in s since 1970; None where it does not say."""
    try:
        return datetime.fromisoformat(str(bundle.card["created"])).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def _day(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"


def check_step(version: int, running: Bundle, refused: dict[int, str]) -> None:
    """Refuse a version that was refused before or is not newer; raises UpdateError."""
    if version in refused:
        raise UpdateError(
            f"version {version}: refused before on this bin ({refused[version]}); "
            "release a repaired model under a higher version",
            lasting=True,
        )
    if version <= running.version:
        raise UpdateError(
            f"version {version}: not newer than {running.model_id}, which runs; a downgrade is "
            "refused: release the old model under a higher version, or use "
            "`smartbin model rollback` on the bin",
            lasting=True,
        )


def check_bundle(candidate: Bundle, version: int, running: Bundle) -> None:
    """Refuse a bundle that is not what was announced or sorts other things; raises UpdateError."""
    if candidate.version != version:
        raise UpdateError(
            f"{candidate.model_id}: the release says version {version}; files were swapped",
            lasting=True,
        )
    if candidate.labels != running.labels:
        raise UpdateError(
            f"{candidate.model_id}: labels are {', '.join(candidate.labels)}, this bin sorts "
            f"{', '.join(running.labels)}; other classes are a change of the site: install it by "
            "hand and adapt [routes]",
            lasting=True,
        )


def open_candidate(candidate: Bundle, threads: int) -> Classifier:
    """The network opened and warmed up; raises UpdateError where it cannot be."""
    try:
        return Classifier(candidate, threads=threads)
    except BundleError as error:
        raise UpdateError(str(error), lasting=True) from error


def check_canaries(
    candidate: Classifier, proved: Sequence[Classifier], canaries: Sequence[Canary]
) -> Match:
    """The new model beside the first of the `proved` ones, which runs.

    Raises UpdateError where it is surely worse than any of them.
    """
    answers = _answers([candidate, *proved], canaries)
    truth = [canary.label for canary in canaries]
    matches = [matched(answers[0], other, truth) for other in answers[1:]]
    for found, word in zip(matches, ("running", "last good"), strict=False):
        if found.worse:
            raise UpdateError(how_much_worse(found, word), lasting=True)
    return matches[0]


def how_much_worse(found: Match, word: str) -> str:
    """For the record, and whoever reads the refusal."""
    said = (
        f"canary pictures: {found.right} of {found.canaries} right, the {word} model has "
        f"{found.right_before}: it is wrong on {found.losses} that the other has right, "
        f"and right on {found.gains} that it has not"
    )
    if found.hits_chance >= CHANCE:
        said += f", and gives the right class {-found.surer:.1%} less probability"
    chance = min(found.hits_chance, found.surer_chance)
    return (
        f"{said}; chance does this to an equally good model once in {1 / max(chance, 1e-12):,.0f} "
        "times"
    )


def match(model: Classifier, other: Classifier, canaries: Sequence[Canary]) -> Match:
    """How a model does beside another one."""
    mine, others = _answers([model, other], canaries)
    return matched(mine, others, [canary.label for canary in canaries])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of a picture whose class is known."""

    label: str
    right: float  # probability of the true class, 0..1


def _answers(models: Sequence[Classifier], canaries: Sequence[Canary]) -> list[list[Answer]]:
    """Those of each model for each canary; one picture in memory at a time."""
    found: list[list[Answer]] = [[] for _ in models]
    for canary in canaries:
        pixels = read(canary)
        for model, answers in zip(models, found, strict=True):
            probs = model.classify(pixels).probs
            right = float(probs[model.labels.index(canary.label)])
            answers.append(Answer(model.labels[int(probs.argmax())], right))
    return found


def matched(mine: Sequence[Answer], other: Sequence[Answer], canaries: Sequence[str]) -> Match:
    """The two beside each other; `canaries` are the true classes."""
    rows = [(m.label, o.label, t) for m, o, t in zip(mine, other, canaries, strict=True)]
    surer = [m.right - o.right for m, o in zip(mine, other, strict=True)]
    return Match(
        surer=sum(surer) / max(1, len(surer)),
        surer_chance=flipped(surer),
        canaries=len(rows),
        right=sum(m == t for m, _, t in rows),
        right_before=sum(o == t for _, o, t in rows),
        gains=sum(m == t != o for m, o, t in rows),
        losses=sum(o == t != m for m, o, t in rows),
        other_wrong=sum(len({m, o, t}) == 3 for m, o, t in rows),
    )
