"""Models over the air: what is refused, what survives a power cut, what a bin goes back from."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.errors import UsageError
from edge.judge import Verdict
from edge.update.canaries import canaries_of, read
from edge.update.chance import flipped, most_share, paired, surely_more, tail
from edge.update.checks import SURER_CHANCE, Answer, Match, how_much_worse, matched
from edge.update.errors import UpdateError
from edge.update.keeper import Address, ModelKeeper
from edge.update.repository import Repository
from edge.update.rollout import Counts, Wish, chosen, read_wish, rule
from edge.update.shadow import Beside, Trial, worse_beside, worse_on_trial
from edge.update.start import active_bundle
from edge.update.steps import Note
from edge.update.store import ModelStore
from edge.update.updater import Updater
from edge.values import Crop, Decision, Incoming
from tests import updates
from tests.harness import ROOT, wait_for, write_picture
from trainer.release import Validity


class Site:
    """A bin's store beside a repository of two versions, 3 running and 4 released."""

    def __init__(self, tmp_path: Path, server: updates.Server) -> None:
        self.folder, self.server = tmp_path, server
        self.old = updates.tiny_bundle(tmp_path / "made", 3)
        self.repository = updates.begin(tmp_path / "web")
        self.root = (tmp_path / "web" / "root.json").read_bytes()
        self.canaries: Path | None = tmp_path / "canaries"  # None: the bin has none

    def release(self, version: int, **changed: object) -> None:
        self.repository.release(updates.tiny_bundle(self.folder / "made", version, **changed))

    def open(self, step: Callable[[str], None] = lambda text: None) -> Repository:
        folder = self.folder / "bin" / "tuf"
        return Repository(url=self.server.url, root=self.root, folder=folder, step=step)

    def fetch(self, version: int) -> dict[str, bytes]:
        repository = self.open()
        wanted = [r for r in repository.releases(updates.NAME) if r.version == version]
        return repository.fetch(wanted[0])

    def store(self) -> ModelStore:
        return ModelStore(self.folder / "bin")

    def updater(self, store: ModelStore, running: int = 0, **plan: int) -> Updater:
        """`running` is a version of the store; 0: the shipped one runs."""
        path = self.folder / "made" / str(running) / "tiny.onnx" if running else self.old
        return Updater(
            store=store,
            source=self.open,
            fallback=lambda: load_bundle(self.old),
            running=updates.running(path),
            judge=updates.judging,
            plan=updates.plan_of(self.canaries, **plan),
        )

    def run(self, wish: Wish, *, until: str, store: ModelStore | None = None) -> list[Note]:
        """Let an updater follow a wish until it tells a phase."""
        updater = self.updater(store or self.store())
        updater.start()
        updater.want(wish)
        notes: list[Note] = []

        def told() -> bool:
            notes.extend(updater.notes())
            return any(note.phase == until for note in notes)

        wait_for(told, what=f"the updater to tell {until}, it told {notes}", timeout_s=120)
        updater.close()
        return notes


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        yield Site(tmp_path, server)


def test_a_signed_model_is_fetched_checked_swapped_and_confirmed(site: Site) -> None:
    """From the wish to a confirmed version that the next start takes."""
    site.release(4)
    notes = site.run(Wish(4), until="confirmed")
    assert [note.phase for note in notes] == ["fetched", "swapped", "confirmed"]
    bundle = active_bundle(site.store(), lambda: load_bundle(site.old))
    assert bundle.version == 4
    assert bundle.onnx == (site.folder / "made" / "4" / "tiny.onnx").read_bytes()


def refused(site: Site, wish: Wish, phase: str = "failed") -> str:
    """The sentence of a refusal; the old model runs on."""
    notes = site.run(wish, until=phase)
    assert active_bundle(site.store(), lambda: load_bundle(site.old)).version == 3
    return next(note.reason for note in notes if note.phase == phase)


def target(site: Site, suffix: str, version: int = 4) -> Path:
    return next((site.folder / "web" / "targets" / "tiny" / str(version)).glob(f"*{suffix}"))


def test_a_tampered_network_is_refused(site: Site) -> None:
    """One bit of the network changed on the server."""
    site.release(4)
    path = target(site, ".onnx")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert "not the file that was signed" in refused(site, Wish(4))


def test_a_truncated_network_is_refused(site: Site) -> None:
    """A file that ends early is not the one that was signed."""
    site.release(4)
    path = target(site, ".onnx")
    path.write_bytes(path.read_bytes()[:-10])
    assert "not the file that was signed" in refused(site, Wish(4))


def test_another_key_is_refused(site: Site, tmp_path: Path) -> None:
    """Whoever takes over the server has no key that the bin trusts."""
    other = updates.begin(tmp_path / "evil")
    other.release(updates.tiny_bundle(tmp_path / "made", 9))
    shutil.rmtree(tmp_path / "web" / "metadata")
    shutil.copytree(tmp_path / "evil" / "metadata", tmp_path / "web" / "metadata")
    shutil.copytree(tmp_path / "evil" / "targets", tmp_path / "web" / "targets", dirs_exist_ok=True)
    assert "not signed by the keys" in refused(site, Wish(9))


def test_expired_metadata_is_refused(tmp_path: Path) -> None:
    """An old list held up by somebody runs out."""
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        site = Site(tmp_path, server)
        site.repository = type(site.repository)(
            tmp_path / "web", site.repository._keys, Validity(fresh_days=-1)
        )
        site.release(4)
        assert "has expired" in refused(site, Wish(4))


def test_an_old_copy_of_the_metadata_is_refused(site: Site) -> None:
    """What the bin has seen once it does not see undone."""
    shutil.copytree(site.folder / "web" / "metadata", site.folder / "old")
    site.release(4)
    site.open()
    shutil.rmtree(site.folder / "web" / "metadata")
    shutil.copytree(site.folder / "old", site.folder / "web" / "metadata")
    with pytest.raises(UpdateError, match="older metadata than this bin has seen"):
        site.open()


def test_an_endless_download_is_stopped(site: Site) -> None:
    """A body longer than its signed length is cut there, and the next try starts from nothing."""
    site.release(4)
    site.server.endless.add("tiny.onnx")
    assert "longer than its signed length" in refused(site, Wish(4))
    site.server.endless.clear()
    assert site.fetch(4)[".onnx"] == (site.folder / "made" / "4" / "tiny.onnx").read_bytes()


def test_swapped_files_are_refused(site: Site) -> None:
    """A signed list that gives version 4 the files of version 5."""
    site.release(4)
    site.release(5)
    targets = site.repository._load("targets", __import__("tuf").api.metadata.Targets)
    listed = [
        {"version": 6, "onnx": "tiny/5/tiny.onnx", "card": "tiny/4/tiny.json"},
        {"version": 7, "onnx": "tiny/5/tiny.onnx", "card": "tiny/5/tiny.json"},
    ]
    sign_list(site, targets, listed)
    assert "the file is damaged or swapped" in refused(site, Wish(6))
    assert "files were swapped" in refused(site, Wish(7), "refused")


def sign_list(site: Site, targets: object, listed: list[dict[str, object]]) -> None:
    """What a wrong hand with the right keys could sign."""
    from tuf.api.metadata import TargetFile

    data = json.dumps({"releases": listed}).encode()
    info = TargetFile.from_data("tiny/releases.json", data, ["sha256"])
    place = site.folder / "web" / "targets" / "tiny" / f"{info.hashes['sha256']}.releases.json"
    place.write_bytes(data)
    targets.signed.targets["tiny/releases.json"] = info  # type: ignore[attr-defined]
    targets.signed.version += 1  # type: ignore[attr-defined]
    site.repository._save("targets", targets)
    site.repository._freshen(targets.signed.version)  # type: ignore[attr-defined]


def test_an_older_version_is_refused(site: Site) -> None:
    """A signed but older model is a downgrade."""
    site.old = updates.tiny_bundle(site.folder / "newer", 3)
    site.repository.release(updates.tiny_bundle(site.folder / "older", 2))
    assert "a downgrade is refused" in refused(site, Wish(2), "refused")


def test_other_labels_are_refused(site: Site) -> None:
    """A model of other classes would send things where no route is."""
    site.release(
        4,
        labels=["red", "green", "violet"],
        thresholds=dict.fromkeys(["red", "green", "violet"], 0.6),
    )
    assert "labels are red, green, violet" in refused(site, Wish(4), "refused")


def test_a_model_that_fails_the_canary_pictures_is_refused_for_good(site: Site) -> None:
    """Red taken for green on known pictures, without shadow; not tried a second time."""
    site.release(4, wrong=True)
    reason = refused(site, Wish(4), "refused")
    assert "canary pictures: 8 of 24 right, the running model has 24" in reason
    assert "refused before on this bin" in refused(site, Wish(4), "refused")


def test_the_last_good_model_is_the_measure_too(site: Site) -> None:
    """As bad as the bad one that runs is not good enough: the one before did better."""
    site.release(4, wrong=True)
    site.release(5, wrong=True)
    store = fallen(site, 4)
    updater = site.updater(store, running=4)
    updater.start()
    updater.want(Wish(5))
    notes = fed(updater, "refused")
    updater.close()
    assert "the last good model has 24" in notes[-1].reason


def test_the_owners_own_pictures_are_canaries(tmp_path: Path) -> None:
    """One folder a class; classes that the model does not know are left out."""
    for name in ("red", "green", "violet"):
        write_picture(tmp_path / name / "a.png", (1, 2, 3))
    found = canaries_of([tmp_path], ("red", "green", "blue"))
    assert [canary.label for canary in found] == ["green", "red"]
    assert read(found[0]).shape == (48, 64, 3)
    with pytest.raises(UpdateError, match=r"nowhere: cannot be listed .* one folder of pictures"):
        canaries_of([tmp_path / "nowhere"], ("red",))
    (tmp_path / "red" / "a.png").write_bytes(b"x")
    with pytest.raises(UpdateError, match="not a picture"):
        read(found[1])


def test_a_broken_download_goes_on_where_it_broke(site: Site) -> None:
    """The line breaks after 100 bytes each time; the next request asks for the rest only."""
    site.release(4)
    site.server.cut_after["tiny.onnx"] = 100
    files = site.fetch(4)
    assert files[".onnx"] == (site.folder / "made" / "4" / "tiny.onnx").read_bytes()
    ranges = [wanted for path, wanted in site.server.asked if "tiny.onnx" in path]
    assert ranges[:3] == ["", "bytes=100-", "bytes=200-"]


def test_a_disk_that_is_full_leaves_the_old_model(site: Site, monkeypatch: object) -> None:
    """No space for the new version is a sentence, and nothing half-made is taken for a version."""
    import errno

    import edge.update.store as store_module

    site.release(4)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "_write_through", full)  # type: ignore[attr-defined]
    assert "No space left on device" in refused(site, Wish(4))
    assert not list((site.folder / "bin").glob("incoming-*"))


def test_files_changed_on_the_disk_are_not_run(site: Site) -> None:
    """A version that no longer has the hash it was accepted with gives way to the last good one."""
    site.release(4)
    store = site.store()
    site.run(Wish(4), until="confirmed", store=store)
    path = store.path_of(store.state.current)
    path.write_bytes(path.read_bytes() + b"x")
    assert active_bundle(site.store(), lambda: load_bundle(site.old)).version == 3


def test_a_model_that_never_reaches_ready_gives_way(site: Site) -> None:
    """Two starts that end before READY, and the third takes the last good model, for good."""
    site.release(4)
    store = site.store()
    files = site.fetch(4)
    store.start_trial(store.add(4, "tiny", files, lambda text: None), "test")
    fallback = lambda: load_bundle(site.old)  # noqa: E731
    assert [active_bundle(site.store(), fallback).version for _ in range(3)] == [4, 4, 3]
    assert "did not reach READY" in site.store().state.refused[4]


def test_a_start_that_reaches_ready_does_not_count_against_it(site: Site) -> None:
    """A bin that is switched off every evening keeps its model on trial."""
    site.release(4)
    store = site.store()
    store.start_trial(store.add(4, "tiny", site.fetch(4), lambda text: None), "test")
    for _ in range(5):
        store = site.store()
        assert active_bundle(store, lambda: load_bundle(site.old)).version == 4
        store.reached_ready()


def test_shadow_stops_a_model_that_disagrees(site: Site) -> None:
    """No canary knows its classes; beside the old one it takes red for green, and never runs."""
    site.release(4, wrong=True)
    site.canaries = None
    updater = site.updater(site.store(), shadow_items=40, trial_items=5)
    updater.start()
    updater.want(Wish(4))
    notes = fed(updater, "refused")
    updater.close()
    assert "gives another class on" in notes[-1].reason


TAKEN = {"red": "green", "green": "red", "blue": "blue"}  # what a wrong model makes of them


def fallen(site: Site, version: int) -> ModelStore:
    """A store where a version that is wrong was confirmed all the same, after the shipped one."""
    store = site.store()
    store.start_trial(store.add(version, "tiny", site.fetch(version), lambda text: None), "test")
    store.confirm("test")
    return store


def test_a_repaired_model_is_not_refused_for_differing_from_the_bad_one(site: Site) -> None:
    """The last good model gives its classes too, so it is the running one that is off."""
    site.canaries = None
    site.release(4, wrong=True)
    site.release(5)
    store = fallen(site, 4)
    updater = site.updater(store, running=4, shadow_items=60, trial_items=5)
    updater.start()
    updater.want(Wish(5))
    notes = fed(updater, "confirmed", said=TAKEN)
    updater.close()
    assert [note.phase for note in notes] == ["fetched", "swapped", "confirmed"]
    assert "differs from the running model and not from the last good" in notes[1].reason


def test_known_pictures_speak_for_a_better_model_that_differs(site: Site) -> None:
    """The shipped model is the bad one, so no other can speak for the new one."""
    site.old = updates.tiny_bundle(site.folder / "bad", 3, wrong=True)
    site.release(4)
    updater = site.updater(site.store(), shadow_items=60, trial_items=5)
    updater.start()
    updater.want(Wish(4))
    notes = fed(updater, "confirmed", said=TAKEN)
    updater.close()
    assert [note.phase for note in notes] == ["fetched", "swapped", "confirmed"]


def fed(updater: Updater, until: str, said: dict[str, str] | None = None) -> list[Note]:
    """Items of all colours until the updater tells a phase; `said`: what the bin made of them."""
    notes: list[Note] = []
    names = ("red", "green", "blue")
    count = 0

    def told() -> bool:
        nonlocal count
        name = names[count % 3]
        count += 1
        updater.observe([updates.crop_of(name)], _decision((said or {}).get(name, name)))
        notes.extend(updater.notes())
        return any(note.phase == until for note in notes)

    wait_for(told, what=f"{until}, told were {notes}", timeout_s=120)
    return notes


def _decision(label: str) -> Decision:
    return Decision("sorted", label, label, 0.9, ((label, 0.9),), "")


def test_a_good_model_passes_shadow_and_trial(site: Site) -> None:
    """The loop gets one swap, and the trial ends confirmed."""
    site.release(4)
    store = site.store()
    updater = site.updater(store, shadow_items=20, trial_items=10)
    updater.start()
    updater.want(Wish(4))
    notes = fed(updater, "confirmed")
    assert [note.phase for note in notes] == ["fetched", "swapped", "confirmed"]
    swap = updater.swap()
    assert swap is not None
    assert swap.bundle.version == 4
    assert updater.swap() is None
    updater.close()
    assert not store.state.trial


def test_a_withdrawn_version_goes_back_to_the_last_good_one(site: Site) -> None:
    """The operator withdraws what runs; the bin leaves it and refuses it from then on."""
    site.release(4)
    store = site.store()
    updater = site.updater(store)
    updater.start()
    updater.want(Wish(4))
    wait_for(
        lambda: any(n.phase == "confirmed" for n in updater.notes()),
        what="confirmed",
        timeout_s=120,
    )
    updater.want(Wish(4, withdrawn=(4,)))
    wait_for(
        lambda: any(n.phase == "rolled_back" for n in updater.notes()),
        what="rolled back",
        timeout_s=120,
    )
    updater.close()
    assert active_bundle(site.store(), lambda: load_bundle(site.old)).version == 3
    assert 4 in site.store().state.refused


STEPS = 11  # that an update takes, from the first refresh to the confirmation


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("rounds", [STEPS, pytest.param(100, marks=pytest.mark.slow)])
def test_sigkill_at_every_step_leaves_a_verified_model(site: Site, rounds: int) -> None:
    """Killed at each step in turn, a bin starts with a whole model, the old one or the new."""
    site.release(4)
    seen = set()
    for number in range(rounds):
        kill_at = number % STEPS
        store = site.folder / "bin"
        if kill_at == 0:
            shutil.rmtree(store, ignore_errors=True)
        child = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.kill_update",
                str(site.folder),
                site.server.url,
                str(kill_at),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert child.returncode == -9, child.stdout + child.stderr
        seen.add(child.stdout.strip().rsplit("\n", 1)[-1])
        bundle = active_bundle(site.store(), lambda: load_bundle(site.old))
        assert bundle.version in (3, 4)
        shutil.rmtree(store, ignore_errors=True)
    assert len(seen) == STEPS, seen
    assert site.run(Wish(4), until="confirmed")


def test_a_wish_is_a_share_of_the_bins_that_grows(site: Site) -> None:
    """About a tenth of the bins is drawn, the same ones stay in, another salt draws others."""
    names = [f"bin-{i}" for i in range(2000)]
    tenth = {n for n in names if chosen(Wish(4, share=0.1, salt="a"), "home", n)}
    half = {n for n in names if chosen(Wish(4, share=0.5, salt="a"), "home", n)}
    other = {n for n in names if chosen(Wish(4, share=0.1, salt="b"), "home", n)}
    assert 150 < len(tenth) < 250
    assert tenth < half
    assert len(tenth & other) < 60
    assert all(chosen(Wish(4, share=1.0), "home", n) for n in names)


@pytest.mark.parametrize(
    "payload",
    [
        b"x",
        b"[]",
        b'{"v":2,"version":4}',
        b'{"v":1}',
        b'{"v":1,"version":4,"share":7}',
        b'{"v":1,"version":Infinity}',
        b"9" * 5000,
    ],
)
def test_a_wish_that_is_none_is_refused(payload: bytes) -> None:
    """Whatever is retained there, the bin says what is wrong and goes on."""
    with pytest.raises(UpdateError):
        read_wish(payload)
    message = Wish(4, 0.1, "s", (3,)).message("g")
    assert read_wish(message.payload) == Wish(4, 0.1, "s", (3,))
    assert message.retain


def test_the_ruling_waits_stops_and_goes() -> None:
    """Too few items wait; more abstained, failed or refused stop; the rest goes on."""
    good = Counts(items=1000, abstained=100, moved=800, failed=8)
    assert rule(Counts(50, 5, 40, 0), good, 0, least_items=200).action == "wait"
    assert rule(Counts(300, 33, 240, 3), good, 0, least_items=200).action == "go"
    assert rule(Counts(300, 90, 240, 3), good, 0, least_items=200).action == "stop"
    assert rule(Counts(300, 30, 240, 60), good, 0, least_items=200).action == "stop"
    assert rule(Counts(300, 33, 240, 3), good, 1, least_items=200).action == "stop"


def test_a_tally_is_a_test_not_a_share() -> None:
    """One disagreement of three says nothing, twenty of a hundred say it."""
    few = Beside(items=3, both_sorted=3, disagreed=1)
    many = Beside(items=100, both_sorted=100, disagreed=22)
    unsure = Beside(items=100, abstained=40, abstained_before=10, newly=32)
    swapped = Beside(items=100, abstained=15, abstained_before=12, newly=13)
    assert worse_beside(few) == ""
    assert "another class on 22 of 100" in worse_beside(many)
    assert worse_beside(many, expected=0.2) == ""
    assert "not sure of 40 of 100" in worse_beside(unsure)
    assert worse_beside(swapped) == ""
    assert "not sure of 40 of 100" in worse_on_trial(Trial(100, 40, 100, 10))
    assert worse_on_trial(Trial(100, 22, 100, 10)) == ""
    assert worse_on_trial(Trial(100, 100, 0, 0)) == ""


def test_an_item_is_counted_for_what_it_shows() -> None:
    """Differences that the last good model shares are told apart from those nobody shares."""
    tally = Beside()
    for mine, other, backed in (
        ("red", "red", False),
        ("red", "blue", True),
        ("red", "blue", False),
        (None, "red", False),
        ("red", None, False),
        (None, None, False),
    ):
        tally = tally.with_item(mine, other, backed=backed)
    assert tally == Beside(
        items=6, both_sorted=3, disagreed=1, backed=1, abstained=2, abstained_before=2, newly=1
    )
    assert tally.regained == 1


def test_exact_chances_are_those_of_the_tables() -> None:
    """Binomial tails and the exact McNemar test, by hand."""
    assert tail(0, 0, 0.3) == 1
    assert tail(1, 10, 0.01) == pytest.approx(1 - 0.99**10)
    assert tail(2, 3, 0.5) == pytest.approx(0.5)
    assert tail(1, 20_000, 0.0001) == pytest.approx(1 - 0.9999**20_000)
    assert paired(7, 0) == pytest.approx(1 / 128)
    assert paired(12, 1) == pytest.approx(14 / 8192)
    assert paired(3, 3) > 0.5
    assert most_share(0, 0) == 1
    assert most_share(10, 100) == pytest.approx(0.1744, abs=1e-4)
    assert not surely_more(9, 9, expected=1.0, suspected=1.0)


def test_canaries_tell_worse_from_different() -> None:
    """Losses that gains outweigh excuse a difference; losses alone condemn."""
    worse = Match(canaries=78, right=52, right_before=63, gains=1, losses=12)
    other = Match(canaries=78, right=63, right_before=63, gains=8, losses=8, other_wrong=2)
    better = Match(canaries=78, right=63, right_before=52, gains=12, losses=1)
    assert [m.worse for m in (worse, other, better)] == [True, False, False]
    assert worse.expected < 0.10
    assert other.expected > 0.23
    assert better.expected > 0.17
    assert Match(canaries=78, right=63, right_before=63).expected == 0.08


def test_signs_that_might_be_others_tell_how_rare_a_sum_is() -> None:
    """By hand: five of five the same way are 1 in 32; differences of nothing say nothing."""
    assert flipped([]) == 1
    assert flipped([0.0] * 40) == 1
    assert flipped([-0.3] * 5) == pytest.approx(1 / 32, abs=0.004)
    assert flipped([0.3] * 5) == 1
    assert flipped([-0.3] * 5000) == flipped([-0.3] * 200) == pytest.approx(1 / 20_001)
    assert flipped([-0.1] * 40 + [0.0] * 38) < 0.001
    assert flipped([-0.2, 0.2] * 30) > 0.4
    assert flipped([-0.2, 0.1] * 30) == flipped([-0.2, 0.1] * 30) < 0.01


def test_equally_sure_models_are_seldom_told_apart() -> None:
    """2,000 pairs that differ by chance alone: no more are refused than the bound says."""
    dice = np.random.default_rng(3)
    told = [flipped(row.tolist()) < SURER_CHANCE for row in dice.normal(0, 0.2, (2000, 78))]
    assert np.mean(told) < 2 * SURER_CHANCE


def answers(*rights: float) -> list[Answer]:
    """Of pictures that are all red; sure ones are right."""
    return [Answer("red" if right > 0.5 else "blue", right) for right in rights]


def test_a_model_that_is_less_sure_of_every_picture_is_worse() -> None:
    """Two pictures lost would be chance; that it gives the right class less on all is none."""
    old = answers(*[0.9] * 30)
    worse = matched(answers(*[0.4] * 2, *[0.7] * 28), old, ["red"] * 30)
    assert worse.worse
    assert worse.hits_chance > 0.2
    assert worse.surer == pytest.approx(-0.22, abs=0.01)
    softer = matched(answers(*[0.7] * 30), old, ["red"] * 30)
    assert softer.surer_chance < 0.001
    assert not softer.worse
    unlucky = matched(answers(*[0.4] * 2, *[0.9] * 28), old, ["red"] * 30)
    assert not unlucky.worse


def test_the_sentence_says_how_much_less_sure() -> None:
    """Too few changed classes to tell by, and the reason is the other one."""
    found = Match(78, 61, 63, gains=1, losses=3, surer=-0.08, surer_chance=0.001)
    said = how_much_worse(found, "running")
    assert "gives the right class 8.0% less probability" in said
    assert "once in 1,000 times" in said
    assert "probability" not in how_much_worse(Match(78, 50, 63, 1, 14), "running")


def failures(disagree: float, before: float, after: float, *, runs: int = 300) -> float:
    """Share of simulated updates that shadow (100 items) or trial (100) end."""
    dice = np.random.default_rng(5)
    return sum(_fails(dice, disagree, before, after) for _ in range(runs)) / runs


def _fails(dice: np.random.Generator, disagree: float, before: float, after: float) -> bool:
    tally = Beside()
    for _ in range(100):
        other = None if dice.random() < before else "red"
        mine = None if dice.random() < after else "red"
        if mine and other and dice.random() < disagree:
            mine = "blue"
        tally = tally.with_item(mine, other)
        if worse_beside(tally):
            return True
    trial = Trial(items_before=100, abstained_before=tally.abstained_before)
    for _ in range(100):
        trial = trial.with_item(sorted_=bool(dice.random() >= after))
        if worse_on_trial(trial):
            return True
    return False


def test_chance_seldom_refuses_a_good_model_and_never_hides_a_bad_one() -> None:
    """The test is asked after every item: so many tries must not add up to a refusal for good."""
    good = failures(0.05, 0.10, 0.10), failures(0.05, 0.20, 0.20), failures(0.08, 0.10, 0.10)
    bad = failures(0.20, 0.10, 0.10), failures(0.30, 0.10, 0.10), failures(0.04, 0.10, 0.45)
    assert max(good[:2]) < 0.02, good
    assert good[2] < 0.03, good
    assert bad[0] > 0.65, bad  # of 80 items that both sort; with four canary bins, 99 %
    assert min(bad[1:]) > 0.97, bad


def test_a_guard_that_is_asked_for_ever_keeps_its_chance() -> None:
    """2,000 bins that each compare 2,000 items: under 1 % refuse a model at the very bound."""
    dice = np.random.default_rng(1)
    hits = np.cumsum(dice.random((2000, 2000)) < 0.08, axis=1)
    ever = sum(
        any(
            surely_more(int(row[n]), n + 1, expected=0.08, suspected=0.20)
            for n in range(5, 2000, 7)
        )
        for row in hits
    )
    assert ever / 2000 < 0.01


def test_one_of_many_canaries_does_not_stop_a_rollout() -> None:
    """One refusal of two bins stops; one of a hundred is chance; three of a hundred stop."""
    good = Counts(items=1000, abstained=100, moved=800, failed=8)
    ruled = [rule(good, good, n, least_items=200, bins=b).action for n, b in ((1, 2), (1, 100))]
    assert ruled == ["stop", "go"]
    assert rule(good, good, 3, least_items=200, bins=100).action == "stop"
    assert rule(good, good, 1, least_items=200, bins=5000).action == "go"
    assert rule(good, good, 100, least_items=200, bins=5000).action == "stop"


class Fielded:
    """A bin's keeper, as the daemon uses it."""

    def __init__(self, site: Site, *, root: Path | None = None, **plan: int) -> None:
        self.keeper = ModelKeeper(
            store=site.store(),
            fallback=lambda: load_bundle(site.old),
            address=Address(
                site.server.url, root or site.folder / "web" / "root.json", "", "g", "home", "b1"
            ),
            plan=updates.plan_of(site.canaries, **plan),
            judge=updates.judging,
        )
        self.notes: list[Note] = []

    def start(self) -> Fielded:
        self.keeper.start(Classifier(self.keeper.bundle))
        return self

    def hear(self, wish: Wish | None) -> None:
        payload = wish.message("g").payload if wish else b""
        self.keeper.hear(Incoming("groups/v1/g/model", payload, retained=True))

    def item(self, name: str = "red") -> None:
        pixels = updates.pixels_of(name)
        crop = Crop(pixels, (0, 0, 64, 48))
        self.keeper.see(Verdict(_decision(name), 0.0, 0.0, 0.0, "none", crops=(crop,)))
        self.keeper.swap()
        self.notes.extend(self.keeper.notes())

    def phases(self) -> list[str]:
        self.notes.extend(self.keeper.notes())
        return [note.phase for note in self.notes]

    def until(self, phase: str, *, items: bool = False) -> str:
        def told() -> bool:
            if items:
                self.item()
            return phase in self.phases()

        wait_for(told, what=f"{phase}, told were {self.notes}", timeout_s=120)
        return next(note.reason for note in self.notes if note.phase == phase)


@pytest.fixture
def fielded(site: Site) -> Iterator[Callable[..., Fielded]]:
    made: list[Fielded] = []

    def make(**settings: Any) -> Fielded:
        made.append(Fielded(site, **settings))
        return made[-1]

    yield make
    for one in made:
        one.keeper.close()


def test_a_version_withdrawn_while_in_shadow_never_runs(
    site: Site, fielded: Callable[..., Fielded]
) -> None:
    """The controller stops a rollout: canaries that still compare let go of it."""
    site.release(4)
    bin_ = fielded(shadow_items=60, trial_items=5).start()
    bin_.hear(Wish(4))
    bin_.until("fetched")
    for _ in range(5):
        bin_.item()
    bin_.hear(Wish(4, share=0.0, withdrawn=(4,)))
    for _ in range(100):
        bin_.item()
        time.sleep(0.01)
    assert bin_.phases() == ["fetched"]
    assert bin_.keeper.bundle.version == 3


def test_a_wish_that_came_before_the_start_is_followed(
    site: Site, fielded: Callable[..., Fielded]
) -> None:
    """A retained wish arrives with the first connection, while the daemon still builds itself."""
    site.release(4)
    bin_ = fielded()
    bin_.hear(Wish(4))
    bin_.start().until("confirmed")


def test_a_retained_wish_is_refused_once_not_at_every_connection(
    site: Site, fielded: Callable[..., Fielded]
) -> None:
    """The broker tells it anew whenever a bin connects."""
    site.release(4, labels=["a", "b", "c"], thresholds=dict.fromkeys("abc", 0.6))
    bin_ = fielded().start()
    bin_.hear(Wish(4))
    bin_.until("refused")
    for _ in range(5):
        bin_.hear(Wish(4))
    time.sleep(0.5)
    assert bin_.phases().count("refused") == 1


def test_a_wish_during_a_trial_does_not_end_it(site: Site, fielded: Callable[..., Fielded]) -> None:
    """What is refused or already there is answered, and the trial goes on to its end."""
    site.release(4)
    bin_ = fielded(shadow_items=2, trial_items=30).start()
    bin_.hear(Wish(4))
    bin_.until("swapped", items=True)
    bin_.keeper.command({"version": 2})
    bin_.until("refused", items=True)
    bin_.until("confirmed", items=True)


def test_a_trial_over_a_restart_is_measured_by_the_model_before(site: Site) -> None:
    """Sure of all in shadow, the old one; the new one is sure of nothing, and goes back."""
    site.release(4)
    store = site.store()
    entry = store.add(4, "tiny", site.fetch(4), lambda text: None)
    store.start_trial(entry, "test", abstained_before=1, items_before=50)
    again = site.store()
    updater = Updater(
        store=again,
        source=site.open,
        fallback=lambda: load_bundle(site.old),
        running=updates.running(site.folder / "made" / "4" / "tiny.onnx"),
        judge=updates.judging,
        plan=updates.plan_of(trial_items=100),
    )
    updater.start()
    unsure = Decision("unknown", "red", "safe", 0.4, (("red", 0.4),), "")
    notes: list[Note] = []

    def told() -> bool:
        updater.observe([updates.crop_of("red")], unsure)
        notes.extend(updater.notes())
        return any(note.phase == "rolled_back" for note in notes)

    wait_for(told, what="a roll back", timeout_s=120)
    updater.close()
    assert "not sure of 2" in notes[-1].reason
    assert site.store().state.current is None


def test_a_server_that_is_away_is_told_once_and_a_new_wish_does_not_wait(
    site: Site, fielded: Callable[..., Fielded]
) -> None:
    """Attempts go on quietly; what is wished meanwhile is looked at at once."""
    site.release(3)
    bin_ = fielded().start()
    bin_.keeper._updater._plan = dataclasses.replace(  # type: ignore[union-attr]
        bin_.keeper._updater._plan,
        retry_s=0.05,  # type: ignore[union-attr]
    )
    bin_.hear(Wish(9))
    assert "not among the signed releases" in bin_.until("failed")
    time.sleep(1.0)
    assert bin_.phases() == ["failed"]
    bin_.keeper._updater._plan = dataclasses.replace(  # type: ignore[union-attr]
        bin_.keeper._updater._plan,
        retry_s=600.0,  # type: ignore[union-attr]
    )
    time.sleep(0.5)
    site.release(4)
    bin_.hear(Wish(4))
    bin_.until("confirmed")


def test_a_store_that_cannot_be_written_runs_what_is_proved(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing there: the shipped one. On trial: the last good one, for starts cannot be counted."""
    import edge.update.store as store_module

    (site.folder / "in-the-way").write_text("")
    shipped = lambda: load_bundle(site.old)  # noqa: E731
    assert active_bundle(ModelStore(site.folder / "in-the-way"), shipped).version == 3
    for version in (4, 5):
        site.release(version)
        store = site.store()
        entry = store.add(version, "tiny", site.fetch(version), lambda text: None)
        store.start_trial(entry, "test")
        if version == 4:
            store.confirm("test")

    def read_only(path: Path, data: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store_module, "_write_through", read_only)
    locked = site.store()
    assert active_bundle(locked, shipped).version == 4
    assert not locked.state.trial
    monkeypatch.undo()
    assert active_bundle(site.store(), shipped).version == 5


def test_a_missing_root_stops_updates_and_not_the_bin(
    site: Site, fielded: Callable[..., Fielded]
) -> None:
    """Each wish says what is missing; when it has been brought, the next attempt takes it."""
    site.release(4)
    root = site.folder / "root-on-the-bin.json"
    bin_ = fielded(root=root).start()
    assert bin_.keeper.command({"version": 4})["ok"]
    assert "update.root" in bin_.until("failed")
    root.write_bytes(site.root)
    bin_.until("confirmed")


def test_a_version_is_released_once(site: Site) -> None:
    """A second release of the same version is refused with what to do."""
    site.release(4)
    with pytest.raises(UsageError, match="needs a higher version"):
        site.release(4)
