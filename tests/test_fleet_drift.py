"""Drift: a darkened camera is told, a normal week is not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.alerts import Alerts, Bounds
from edge.fleet.batch import Heard, Sorter
from edge.fleet.cards import card_of, read_cards
from edge.fleet.database import Database
from edge.fleet.drift import CELLS, Card, Weeks, chance_bound, examine, psi, tenths
from edge.fleet.drift_watch import DriftWatch, forget_reference
from edge.fleet.intake import Limits
from edge.fleet.rollup import Accountant, Keep
from edge.fleet.writer import Writer
from tests.fleet_harness import MODEL, Bin

START = 1_795_046_400.0  # a midnight, UTC
DAY_S = 86400.0
CARD = Card(mean=0.92)
BOUNDS = Bounds(silent_s=1e12, hot_c=100, outbox_events=10**6, latency_ms=1e6, abstain_frac=1.0)


def confidences(n: int, mean: float, seed: int) -> list[float]:
    """A skewed heap near one, as a calibrated model gives it."""
    rng = random.Random(seed)
    spread = 6.0
    return [rng.betavariate(mean * spread, (1 - mean) * spread) for _ in range(n)]


def test_psi_is_nought_for_the_same_and_grows_with_the_shift() -> None:
    """The index of textbooks, smoothed, so that an empty cell does not make it infinite."""
    assert psi([10, 20, 30], [10, 20, 30]) == 0
    small, large = psi([40, 60], [50, 50]), psi([10, 90], [50, 50])
    assert 0.03 < small < 0.05 and large > 0.8
    assert psi([100, 0], [0, 100]) < 20


def test_the_bound_is_what_chance_exceeds_once_in_ten_thousand() -> None:
    """Two thousand pairs of windows of one distribution: hardly one reaches it."""
    rng = random.Random(7)
    weights = [1, 1, 1, 2, 2, 3, 4, 6, 10, 20]
    reference = tenths([(c + 0.5) / 10 for c in rng.choices(range(CELLS), weights, k=300)])
    bound = chance_bound(300, 300, CELLS)
    over = 0
    for _ in range(2000):
        reference = _drawn(rng, weights)
        over += psi(_drawn(rng, weights), reference) > bound
    assert over <= 3, over
    assert 0.15 < bound < 0.25  # so that with 300 decisions the customary 0.25 decides


def _drawn(rng: random.Random, weights: list[int]) -> tuple[int, ...]:
    return tenths([(c + 0.5) / 10 for c in rng.choices(range(CELLS), weights, k=300)])


def told(now: list[float], reference: list[float], weeks: Weeks | None = None) -> tuple[str, ...]:
    return examine(
        now, tenths(reference), weeks=weeks, card=CARD, least_psi=0.25, card_drop=0.15
    ).told


@pytest.mark.parametrize("seed", range(20))
def test_the_same_light_is_no_shift(seed: int) -> None:
    """Twenty pairs of windows of one distribution."""
    assert told(confidences(300, 0.9, seed), confidences(300, 0.9, 1000 + seed)) == ()


def test_a_darker_picture_is_told_twice() -> None:
    """Against the bin's own beginning and against the card."""
    assert told(confidences(300, 0.62, 1), confidences(300, 0.9, 2)) == ("confidence", "card")


def test_another_mix_is_told_only_where_it_is_large() -> None:
    """A third more glass is a season; glass instead of paper is not."""
    first = {"glass": 300, "paper": 400, "metal": 300}
    same = confidences(300, 0.9, 1)
    season = Weeks(first, {"glass": 400, "paper": 350, "metal": 250})
    other = Weeks(first, {"glass": 800, "paper": 50, "metal": 150})
    assert told(same, same, season) == () and told(same, same, other) == ("classes",)


def test_a_card_says_what_to_expect(tmp_path: Path) -> None:
    """By its reference histogram, else by its accuracy; broken cards are passed over."""
    accuracy = {"version": 3, "metrics": [{"metric": "accuracy", "value": 0.92}]}
    assert card_of(accuracy) == Card(mean=0.92)
    reference = {"confidences": [0] * 9 + [10], "mean": 0.97}
    assert card_of({"version": 4, "reference": reference}) == Card(0.97, (0,) * 9 + (10,))
    assert card_of({"version": 4}) is None
    (tmp_path / "student.int8.json").write_text(json.dumps(accuracy))
    (tmp_path / "broken.json").write_text("{")
    assert read_cards(str(tmp_path)) == {MODEL: Card(mean=0.92)}
    assert any(name.startswith("student.int8@") for name in read_cards(""))


class Simulated:
    """A bin's decisions over simulated weeks, through the real writer into a real database."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'f.db'}")
        self.database.prepare()
        self.sorter = Sorter(limits=Limits(300, 100 * DAY_S))
        self.writer = Writer(
            self.database,
            identities=self.sorter.identities,
            max_bins=10,
            health_every_s=0,
        )
        self.watch = DriftWatch(
            self.database, cards={MODEL: CARD}, window=300, least_psi=0.25, card_drop=0.15
        )
        self.accountant = Accountant(self.database, keep=Keep(9999, 9999, 9999))
        self.alerts = Alerts(self.database, bounds=BOUNDS)
        self.bin = Bin()
        self.random = random.Random(5)
        birth = self.bin.birth()
        self._store([(birth.topic, birth.payload, START)])

    def day(self, number: int, *, mean: float = 0.9) -> set[str]:
        """One day of 200 items: a canteen by weekday, quiet and other at the weekend; the alerts
        that are open at its end."""
        weekend = number % 7 >= 5
        weights = [1, 5, 4, 1, 6, 1] if weekend else [4, 3, 3, 6, 3, 1]
        rows = []
        for n in range(80 if weekend else 200):
            ts = START + number * DAY_S + 6 * 3600 + n * 200 + self.random.random()
            label = self.random.choices(
                ("cardboard", "glass", "metal", "paper", "plastic", "trash"), weights
            )[0]
            dim = 0.03 if label == "trash" else 0.0  # some classes are harder
            confidence = self.random.betavariate((mean - dim) * 6, (1 - mean + dim) * 6)
            message = self.bin.event(label, confidence, ts=ts)
            rows.append((message.topic, message.payload, ts))
        self._store(rows)
        end_ts = START + (number + 1) * DAY_S + 7200
        while self.accountant.count_hours(now_ts=end_ts):
            pass
        self.watch.look(now_ts=end_ts)
        self.alerts.judge(now_ts=end_ts)
        with self.database.reading() as db:
            open_ = sa.select(schema.alert.c.kind).where(schema.alert.c.closed_ts.is_(None))
            return set(db.execute(open_).scalars())

    def _store(self, rows: list[tuple[str, bytes, float]]) -> None:
        heard = [Heard(topic, payload, 1, 1, 1, True, ts) for topic, payload, ts in rows]
        self.writer.write(self.sorter.sort(heard), now_ts=rows[-1][2])


def test_normal_weeks_raise_nothing_and_a_darkened_camera_is_told_in_a_day(tmp_path: Path) -> None:
    """Five quiet weeks with their weekends; then the lamp fails, and both alerts come within two
    days; cleaned and begun anew, they close."""
    simulated = Simulated(tmp_path)
    for day in range(35):
        assert simulated.day(day) == set(), f"day {day}"
    dark = [simulated.day(day, mean=0.6) for day in (35, 36)]
    assert dark[-1] >= {"drift confidence", "drift card"}
    forget_reference(simulated.database, 1, now_ts=START + 37 * DAY_S)
    mended = [simulated.day(day) for day in range(37, 42)]
    assert mended[-1] == set()


def test_a_lasting_change_of_what_comes_in_is_told_after_its_week(tmp_path: Path) -> None:
    """The mix is compared by whole weeks: not on the first odd day."""
    simulated = Simulated(tmp_path)
    for day in range(15):
        assert simulated.day(day) == set()
    original = simulated.random.choices

    def only_glass(labels: tuple[str, ...], _weights: list[int]) -> list[str]:
        return original(labels, [0, 9, 1, 0, 0, 0])

    simulated.random.choices = only_glass  # type: ignore[method-assign,assignment]
    weeks = [simulated.day(day) for day in range(15, 23)]
    assert weeks[0] == set() and "drift classes" in weeks[-1]
