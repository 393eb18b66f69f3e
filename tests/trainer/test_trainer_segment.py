"""The segmenter's trainer: scenes know their masks, a killed run goes on, what is written works."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from edge.errors import ConfigError, SmartbinError, UsageError  # noqa: E402
from edge.segmenters.tiny import TinySegmenter, load_mask_net  # noqa: E402
from edge.values import Pixels  # noqa: E402
from tests.trainer.synthetic import COLOURS, make_photo, write_photos  # noqa: E402
from trainer import checkpoint  # noqa: E402
from trainer.cli import app  # noqa: E402
from trainer.data import scan  # noqa: E402
from trainer.segment import compare, fit, pack, recipe, scenes, scoring  # noqa: E402
from trainer.segment.network import LOGITS_STRIDE, build_segmenter  # noqa: E402

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(600)]  # a busy machine takes minutes

# From nothing, in seconds: a thin decoder on a thin start.
SMALL = {
    "network.weights": "scratch",
    "network.width_px": 64,
    "network.height_px": 48,
    "scenes.bank": 9,
    "fit.frozen_blocks": 0,
    "fit.lr": 4e-3,
    "fit.trunk_lr_factor": 1.0,
    "fit.batch": 6,
}


def small(**more: float) -> recipe.SegmenterRecipe:
    overrides = {key.replace("__", "."): value for key, value in more.items()}
    return recipe.find("segmenter-quick", {**SMALL, **overrides})


def photos_of(count: int, *, seed: int = 0) -> scenes.Photos:
    """Ellipses on white card; `clear` is the first colour's."""
    rng = np.random.default_rng(seed)
    colours = list(COLOURS.values())
    made = [make_photo(colours[i % len(colours)], rng) for i in range(count)]
    pixels = np.stack([cv2.resize(p, (128, 96)) for p, _ in made])
    masks = np.stack([mask for _, mask in made])
    clear = np.arange(count) % len(colours) == 0
    return scenes.Photos(pixels, masks, np.ones(count, bool), clear)


def learning(chosen: recipe.SegmenterRecipe, count: int = 24) -> fit.Learning:
    photos = photos_of(count)
    return fit.Learning(scenes.SceneMaker(photos, chosen), photos.items, "made up")


def val_scenes(tmp_path: Path) -> list[scoring.Scene]:
    found = scoring.scenes_of(scan(write_photos(tmp_path)), tmp_path / "masks")
    return [s for s in found if s.kind != "empty"] + scoring.empty_scenes()[::20]


@pytest.mark.parametrize("name", recipe.shipped())
def test_shipped_recipes_read_back_equal(name: str) -> None:
    """What a run's folder and a card say of a recipe is the whole of it."""
    found = recipe.find(name)
    assert recipe.parse(found.to_toml(), where="copy") == found


def test_a_recipe_names_all_its_faults() -> None:
    """Unknown keys with the nearest known, bounds, and sides the network cannot halve."""
    text = "[fit]\nepocs = 3\nlr = 9\n[scenes]\nphoto_share = 2\n"
    with pytest.raises(ConfigError) as caught:
        recipe.parse(text, where="r.toml")
    assert all(part in str(caught.value) for part in ("epochs?", "fit.lr", "photo_share"))
    with pytest.raises(UsageError, match="multiple of 16"):
        recipe.parse("[network]\nwidth_px = 200\n", where="r.toml")
    with pytest.raises(UsageError, match="segmenter-quick"):
        recipe.find("student")


def test_scenes_of_one_seed_are_equal() -> None:
    """A resumed run sees the pictures it would have seen."""
    maker = learning(small()).scenes
    rows = np.arange(12)
    one, other = (maker.batch(rows, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_an_empty_scene_has_an_empty_mask() -> None:
    """Surfaces and shadows are no items, so an empty tray is learned as one."""
    chosen = small(scenes__empty_share=1.0, scenes__photo_share=0.0)
    views, masks = learning(chosen).scenes.batch(np.arange(12), torch.Generator().manual_seed(1))
    assert masks.max() == 0 and views.std() > 0.05


def test_a_pasted_item_lies_where_its_mask_says() -> None:
    """Red ellipses on surfaces: the red is inside the mask and not outside."""
    chosen = small(
        scenes__photo_share=0.0,
        scenes__empty_share=0.0,
        scenes__second_share=0.0,
        scenes__clear_share=0.0,
        scenes__seam_share=0.0,
        scenes__item_min=0.5,
        colours__saturation=1.0,
        colours__tint=1.0,
    )
    photos = photos_of(12)
    photos.pixels[:] = (210, 20, 20)  # all of the frame: only the mask can tell where it is shown
    maker = scenes.SceneMaker(photos, chosen)
    maker._bank[:] = 120
    views, masks = maker.batch(np.arange(12), torch.Generator().manual_seed(2))
    redness = torch.nn.functional.avg_pool2d((views[:, :1] - views[:, 1:2]), LOGITS_STRIDE)
    assert redness[masks > 0.95].min() > redness[masks < 0.01].max()


def test_without_a_good_mask_training_is_refused() -> None:
    """Two sentences: how many there are, and what --masks takes."""
    photos = photos_of(3)
    bare = scenes.Photos(photos.pixels, photos.masks * 0, np.zeros(3, bool), photos.clear)
    with pytest.raises(UsageError, match="0 of 3 pictures have a good mask"):
        scenes.SceneMaker(bare, small())


def test_the_network_gives_logits_at_half_the_resolution() -> None:
    """Any sides in multiples of 16."""
    net = build_segmenter(blocks=11, widths=(16, 16, 24), weights="scratch").eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 48, 80)).shape == (1, 1, 24, 40)
    with pytest.raises(UsageError, match="must be 6 to 11"):
        build_segmenter(blocks=13, widths=(16, 16, 24), weights="scratch")


def test_the_loss_is_least_for_the_right_mask() -> None:
    """And an empty scene is judged by its cross entropy alone."""
    masks = torch.zeros(2, 1, 24, 32)
    masks[0, :, 6:18, 8:24] = 1
    spec = recipe.Fit()
    right = fit.loss_of((masks - 0.5) * 20, masks, spec)
    shifted = fit.loss_of((masks.roll(3, 3) - 0.5) * 20, masks, spec)
    nothing = fit.loss_of(torch.full_like(masks, -10.0), masks, spec)
    assert right < 0.01 < shifted < nothing


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Killed in its second epoch and started again, it ends bit for bit as the unbroken run."""
    chosen, val = small(), val_scenes(tmp_path)
    fit.Run(chosen, learning(chosen), val, tmp_path / "whole").fit()

    def killed(steps: int) -> object:
        def tick(text: str) -> None:
            nonlocal steps
            steps -= 1
            if steps == 0:
                raise KeyboardInterrupt

        return tick

    broken = fit.Run(chosen, learning(chosen), val, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        broken.fit(killed(broken.steps_per_epoch + 2))  # type: ignore[arg-type]
    again = fit.Run(chosen, learning(chosen), val, tmp_path / "broken")
    assert again.epoch == 1
    again.fit()
    one, other = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "broken"))
    assert all(torch.equal(one["ema"][key], other["ema"][key]) for key in one["ema"])
    rows = (tmp_path / "broken" / "training_losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    """Weights of one training never go on as another's."""
    chosen, val = small(fit__epochs=1), val_scenes(tmp_path)
    fit.Run(chosen, learning(chosen), val, tmp_path / "run").fit()
    with pytest.raises(UsageError, match="another recipe"):
        fit.Run(small(fit__lr=1e-3), learning(chosen), val, tmp_path / "run")


def test_iou_counts_pixels() -> None:
    """Half of one inside the other; two empty ones are the same."""
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert scoring.iou(one, other) == 1
    one[:, :2], other[:, 1:2] = True, True
    assert scoring.iou(one, other) == 0.5


def test_swapped_scenes_do_not_depend_on_the_list(tmp_path: Path) -> None:
    """The same photo gets the same surface, whatever stands beside it."""
    photos = scan(write_photos(tmp_path))
    whole = scoring.scenes_of(photos, tmp_path / "masks")
    part = scoring.scenes_of(photos.subset([5]), tmp_path / "masks")
    same = [s for s in whole if s.name == part[1].name and s.kind == part[1].kind]
    assert np.array_equal(same[0].pixels, part[1].pixels)


def test_a_perfect_finder_scores_one(tmp_path: Path) -> None:
    """And one that calls everything item is wrong of every empty scene."""
    found = val_scenes(tmp_path)
    truths = {id(scene.pixels): scene.truth for scene in found}
    perfect = scoring.results(
        scoring.judge(lambda pixels: truths[id(pixels)].astype(np.float32), found)
    )
    assert perfect["photos"]["iou_mean"] == perfect["swapped"]["iou_mean"] == 1
    assert perfect["empty"]["seen_as_empty"] == 1
    everything = np.ones((192, 256), np.float32)
    full = scoring.results(scoring.judge(lambda pixels: everything, found))
    assert full["empty"]["seen_as_empty"] == 0 and full["photos"]["iou_mean"] < 0.5


def test_int8_that_draws_other_masks_is_not_written() -> None:
    """One sentence: by how much, what is allowed, what to do."""
    with pytest.raises(SmartbinError, match="nothing was written"):
        pack.refuse_disagreement(pack.Tried("minmax-u8", 0.9, 0.9, 0.9, 1), 0.95)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The whole way by the command line, on made-up photos, from nothing."""
    folder = tmp_path_factory.mktemp("segmenter")
    write_photos(folder, per_class=14)
    settings = {**SMALL, "fit.epochs": 10, "fit.ema_decay": 0.9, "scenes.photo_share": 0.7}
    argv = ["segmenter", "--recipe", "segmenter-quick", "--json"]
    for option in ("--data", "images"), ("--masks", "masks"), ("--run", "run"), ("--out", "out"):
        argv += [option[0], str(folder / option[1])]
    argv += ["--cache", str(folder / "cache"), "--data-name", "made up", "--device", "cpu"]
    argv += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, argv, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {"folder": folder, **json.loads(done.stdout.splitlines()[-1])}


def test_the_command_writes_what_the_edge_opens(made: dict[str, object]) -> None:
    """And the card says what it is, how it was made, and what was measured on what."""
    path = Path(str(made["bundle"]))
    net = load_mask_net(path)
    assert (net.width_px, net.height_px) == (64, 48)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["kind"] == "segmenter" and card["recipe"]["fit"]["epochs"] == 10
    first = card["metrics"][0]
    assert first["metric"] == "iou photos" and first["data"] == "made up" and first["n"] > 0
    low, high = first["bootstrap_95"]
    assert low <= first["value"] <= high
    assert str(made["folder"]) not in json.dumps(card)


def test_what_was_trained_finds_items(made: dict[str, object]) -> None:
    """On photos it never saw, far above what calling everything item would give."""
    segmenter = TinySegmenter(load_mask_net(Path(str(made["bundle"]))))
    rng = np.random.default_rng(99)
    shares = []
    for colour in COLOURS.values():
        pixels, mask = make_photo(colour, rng)
        found = cv2.resize(segmenter.matte(pixels).mask, (256, 192)) > 128
        shares.append(scoring.iou(found, mask > 128))
    assert np.mean(shares) > 0.6, shares


def test_the_report_is_one_page_that_loads_nothing(made: dict[str, object]) -> None:
    """Overlays are in the page; the browser is told to fetch nothing."""
    text = Path(str(made["report"])).read_text()
    assert text.count("data:image/jpeg;base64,") > 20
    assert "default-src 'none'" in text and "http://" not in text and "https://" not in text
    assert "Empty scenes" in text and "What int8 cost" in text


def saliency_like(path: Path) -> Path:
    """Seven outputs as U^2-Net has; each is darkness, which on white card is the item."""

    class Darkness(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            dark = -x.min(1, keepdim=True).values
            return tuple(dark * (i + 1) for i in range(7))

    names = [f"d{i}" for i in range(7)]
    torch.onnx.export(
        Darkness().eval(),
        (torch.zeros(1, 3, 320, 320),),
        str(path),
        output_names=names,
        dynamo=True,
    )
    return path


def test_eval_measures_both_networks_in_one_run(made: dict[str, object], tmp_path: Path) -> None:
    """IoU, milliseconds and their ratio of ours and of a network that is fed as rembg does."""
    folder = Path(str(made["folder"]))
    rival = saliency_like(tmp_path / "dark.onnx")
    argv = ["segmenter-eval", "--bundle", str(made["bundle"]), "--data", str(folder / "images")]
    argv += ["--masks", str(folder / "masks"), "--against", str(rival), "--json"]
    done = CliRunner().invoke(app, argv, catch_exceptions=False)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["photos"]["n"] == 42 and set(found["per_class"]) == set(COLOURS)
    for answer in (found, found["against"]):
        ms = answer["ms"]
        assert 0 < ms["p10"] <= ms["p50"] <= ms["p90"]
        expected = answer["photos"]["iou_mean"] / ms["p50"]
        assert answer["iou_per_ms"] == pytest.approx(expected, rel=0.01)
    assert found["against"]["photos"]["iou_mean"] > 0.9  # dark on white card is what it knows


def test_contenders_are_timed_in_turn() -> None:
    """No one has the machine's quiet moments to itself."""
    order: list[str] = []

    def mask_of(name: str) -> object:
        def mask(pixels: Pixels) -> np.ndarray:
            order.append(name)
            return np.zeros((4, 4), np.uint8)

        return mask

    pair = [compare.Contender(name, 1, mask_of(name)) for name in "ab"]  # type: ignore[arg-type]
    picture = np.zeros((8, 8, 3), np.uint8)
    spent = compare.milliseconds(pair, [picture, picture], rounds=2)
    assert order[2 * compare.WARM_UP :] == list("abab") + list("baba")
    assert len(spent["a"]) == len(spent["b"]) == 4
