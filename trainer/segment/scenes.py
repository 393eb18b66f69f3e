"""Training pictures of a segmenter: photographed items, pasted items, two items, and none.

Every pasted picture knows its mask exactly; a photographed one has the 8-bit saliency of its mask,
whose soft edge is what the network is to learn (soft targets rather than a hard outline).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edge.errors import UsageError
from edge.values import Pixels
from trainer.augment import (
    ASPECT,
    Draw,
    View,
    add_noise,
    grid_of,
    paste,
    recolour,
    soften,
)
from trainer.masks import box_of
from trainer.models import MEAN, STD
from trainer.segment.network import LOGITS_STRIDE
from trainer.segment.recipe import SegmenterRecipe
from trainer.surfaces import training_bank


@dataclass(frozen=True, slots=True)
class Photos:
    """What scenes are made of; rows agree."""

    pixels: Pixels  # (n, h, w, 3)
    masks: Pixels  # (n, h', w') saliency
    good: npt.NDArray[np.bool_]  # (n,) whose mask cuts the item out
    clear: npt.NDArray[np.bool_]  # (n,) whose class is at times see-through

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """Rows to learn from; raises UsageError where there are none."""
        rows = np.flatnonzero(self.good)
        if len(rows) < 2:
            raise UsageError(
                f"{len(rows)} of {len(self.good)} pictures have a good mask, at least 2 are "
                "needed; --masks takes CLASS/NAME.png, 0 background to 255 item"
            )
        return rows

    @property
    def grounds(self) -> npt.NDArray[np.int64]:
        """Rows whose item fills the frame: real card and paper to lay things on. May be none."""
        covered = (self.masks > 128).reshape(len(self.masks), -1).mean(1)
        return np.flatnonzero(~self.good & ((covered > 0.75) | (covered < 0.02)))


class SceneMaker:
    """Turns rows of photos into a batch of views and their masks."""

    def __init__(self, photos: Photos, recipe: SegmenterRecipe, *, device: str = "cpu") -> None:
        self._photos, self._spec, self._colours = photos, recipe.scenes, recipe.colours
        self._height, self._width = recipe.network.height_px, recipe.network.width_px
        self._sides = (self._width, self._height)
        self._device = device
        self._bank = training_bank(recipe.scenes.bank, recipe.fit.seed)
        self._grounds = photos.grounds
        self._items = photos.items
        self._boxes = torch.tensor([box_of(m) for m in photos.masks], dtype=torch.float32)
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) / 255
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1) / 255

    def batch(self, rows: npt.NDArray[np.int64], dice: torch.Generator) -> tuple[Tensor, Tensor]:
        """(b, 3, H, W) normalised views; (b, 1, H/2, W/2) float32 masks, 0..1."""
        spec, draw = self._spec, Draw(dice, len(rows), self._device)
        kind = draw.span(0, 1)
        photo = kind < spec.photo_share
        empty = kind > 1 - spec.empty_share
        pasted = ~photo & ~empty
        views = torch.empty(len(rows), 3, self._height, self._width, device=self._device)
        masks = torch.zeros(len(rows), 1, self._height, self._width, device=self._device)
        for which, make in ((photo, self._seen), (pasted, self._laid), (empty, self._bare)):
            at = which.nonzero().flatten()
            if len(at):
                few = Draw(dice, len(at), self._device)
                views[at], masks[at] = make(rows[at.cpu().numpy()], few)
        views = recolour(soften(views, draw, self._colours), draw, self._colours)
        views = add_noise(views, draw, self._colours).clamp_(0, 1)
        return views.sub_(self._mean).div_(self._std), F.avg_pool2d(masks, LOGITS_STRIDE)

    def _seen(self, rows: npt.NDArray[np.int64], draw: Draw) -> tuple[Tensor, Tensor]:
        """As photographed; where the view leaves the picture, picture and mask are mirrored."""
        spec = self._spec
        nothing = draw.span(0, 0)
        view = View(
            centre_x=draw.span(-spec.shift, spec.shift),
            centre_y=draw.span(-spec.shift, spec.shift),
            offset_x=nothing,
            offset_y=nothing,
            zoom=draw.log_span(spec.zoom_min, spec.zoom_max),
            stretch=draw.log_span(1 / spec.stretch_max, spec.stretch_max),
            angle=draw.span(-0.4, 0.4) + np.pi * draw.integers(2),
            flip=draw.sign(),
        )
        grid = grid_of(view, self._height, self._width)
        views = F.grid_sample(
            self._load(self._photos.pixels, rows),
            grid,
            padding_mode="reflection",
            align_corners=False,
        )
        masks = F.grid_sample(
            self._load_masks(rows), grid, padding_mode="reflection", align_corners=False
        )
        return views, masks

    def _laid(self, rows: npt.NDArray[np.int64], draw: Draw) -> tuple[Tensor, Tensor]:
        """Pasted onto another surface; a few with a second item over or beside the first."""
        views, masks = self._pasted(rows, self._surfaces(draw), draw)
        second = draw.chance(self._spec.second_share).nonzero().flatten()
        if len(second):
            few = Draw(draw.dice, len(second), self._device)
            others = self._items[few.integers(len(self._items)).cpu().numpy()]
            views[second], more = self._pasted(others, views[second], few)
            masks[second] = torch.maximum(masks[second], more)
        return views, masks

    def _pasted(
        self, rows: npt.NDArray[np.int64], grounds: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        grid = grid_of(self._cut_view(rows, draw), self._height, self._width)
        items = F.grid_sample(
            self._load(self._photos.pixels, rows),
            grid,
            padding_mode="border",
            align_corners=False,
        )
        masks = F.grid_sample(self._load_masks(rows), grid, align_corners=False)
        alpha = ((masks - draw.column(0.3, 0.5)) / 0.4).clamp(0, 1)
        clear = torch.from_numpy(self._photos.clear[rows]).to(self._device)
        share = torch.where(clear, self._spec.clear_share, 0.05)
        return paste(items, alpha, self._shadowed(grounds, alpha, draw), draw, share), alpha

    def _shadowed(self, grounds: Tensor, alpha: Tensor, draw: Draw) -> Tensor:
        """A share of the items throws a shadow to one side, which is no item."""
        reach_x, reach_y = (round(self._spec.shadow_reach * side) for side in self._sides)
        moved = torch.stack(
            [
                torch.roll(one, (int(dy), int(dx)), (1, 2))
                for one, dx, dy in zip(
                    alpha,
                    draw.span(-reach_x, reach_x),
                    draw.span(-reach_y, reach_y),
                    strict=True,
                )
            ]
        )
        cast = draw.chance(self._spec.shadow_share).view(-1, 1, 1, 1)
        return grounds * (1 - draw.column(0.15, 0.6) * cast * softened(moved, draw))

    def _bare(self, rows: npt.NDArray[np.int64], draw: Draw) -> tuple[Tensor, Tensor]:
        """A surface without an item; on most lies a shadow, or a light, with an item's outline."""
        grounds = self._surfaces(draw)
        grid = grid_of(self._cut_view(rows, draw), self._height, self._width)
        shape = F.grid_sample(self._load_masks(rows), grid, align_corners=False)
        shape = softened(shape, draw)
        strength = draw.column(-0.25, 0.6) * draw.chance(0.7).view(-1, 1, 1, 1)
        return grounds * (1 - strength * shape), torch.zeros_like(shape)

    def _cut_view(self, rows: npt.NDArray[np.int64], draw: Draw) -> View:
        """Item at a size of its own choice, somewhere in the output, at any angle."""
        spec, boxes = self._spec, self._boxes[rows].to(self._device)
        half = torch.hypot(boxes[:, 2] * ASPECT, boxes[:, 3]) / np.hypot(ASPECT, 1)
        size = draw.span(spec.item_min, spec.item_max)
        room = (1.05 - size).clamp(min=0.1)  # a few are cut by the frame
        return View(
            centre_x=boxes[:, 0],
            centre_y=boxes[:, 1],
            offset_x=draw.span(-1, 1) * room,
            offset_y=draw.span(-1, 1) * room,
            zoom=(size / half).clamp(0.3, 2.5),
            stretch=draw.log_span(1 / spec.stretch_max, spec.stretch_max),
            angle=draw.span(-np.pi, np.pi),
            flip=draw.sign(),
        )

    def _surfaces(self, draw: Draw) -> Tensor:
        """(b, 3, H, W): one surface each, or two with an edge between, as a tray on a table."""
        first = self._one_surface(draw)
        seam = draw.chance(self._spec.seam_share).nonzero().flatten()
        if len(seam):
            few = Draw(draw.dice, len(seam), self._device)
            beyond = self._beyond(few)
            other = self._one_surface(few) * few.column(0.4, 1.1)
            first[seam] = torch.lerp(first[seam], other.clamp_(0, 1), beyond)
        return first

    def _one_surface(self, draw: Draw) -> Tensor:
        pictures = self._bank[draw.integers(len(self._bank)).cpu().numpy()]
        surfaces = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        surfaces = F.interpolate(surfaces, (240, 320), mode="bilinear", align_corners=False)
        real = draw.chance(self._spec.ground_share)
        if len(self._grounds) and bool(real.any()):
            at = real.nonzero().flatten()
            rows = self._grounds[draw.integers(len(self._grounds)).cpu().numpy()[at.cpu().numpy()]]
            photos = self._load(self._photos.pixels, rows)
            surfaces[at] = F.interpolate(photos, (240, 320), mode="area")
        zoom = torch.where(real, draw.log_span(1.3, 2.5), draw.log_span(0.8, 2.5))
        view = View(
            centre_x=draw.span(-0.3, 0.3),
            centre_y=draw.span(-0.3, 0.3),
            offset_x=draw.span(0, 0),
            offset_y=draw.span(0, 0),
            zoom=zoom,
            stretch=draw.log_span(0.9, 1.1),
            angle=draw.span(-0.2, 0.2),
            flip=draw.sign(),
        )
        grid = grid_of(view, self._height, self._width)
        return F.grid_sample(surfaces, grid, padding_mode="reflection", align_corners=False)

    def _beyond(self, draw: Draw) -> Tensor:
        """(b, 1, H, W) 0..1: the outside of a half-plane, or of a turned rectangle."""
        y = torch.linspace(-1, 1, self._height, device=self._device).view(1, -1, 1)
        x = torch.linspace(-ASPECT, ASPECT, self._width, device=self._device).view(1, 1, -1)
        angle = draw.span(-np.pi, np.pi).view(-1, 1, 1)
        u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        line = u - draw.span(-0.2, 1.1).view(-1, 1, 1)
        # Never as small as a sheet of paper or card, which is an item.
        wide, high = (draw.span(0.9, 1.4).view(-1, 1, 1) for _ in range(2))
        rectangle = torch.maximum(u.abs() - wide, v.abs() - high)
        far = torch.where(draw.chance(0.5).view(-1, 1, 1), line, rectangle)
        return (far * draw.span(8, 80).view(-1, 1, 1)).add_(0.5).clamp_(0, 1).unsqueeze(1)

    def _load(self, pictures: Pixels, rows: npt.NDArray[np.int64]) -> Tensor:
        """(b, 3, h, w) float32 0..1; the pictures stay on the disk until they are asked for."""
        found = torch.from_numpy(np.array(pictures[rows])).to(self._device)
        return found.permute(0, 3, 1, 2).float().div_(255)

    def _load_masks(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """(b, 1, h', w') float32 0..1."""
        masks = torch.from_numpy(self._photos.masks[rows]).to(self._device)
        return masks.unsqueeze(1).float().div_(255)


def softened(shape: Tensor, draw: Draw) -> Tensor:
    """(b, 1, h, w) from the hard shadow of the sun to the half-shadow of a lamp."""
    for _ in range(2):
        soft = F.avg_pool2d(shape, 9, 1, 4, count_include_pad=False)
        shape = torch.lerp(shape, soft, draw.column(0.2, 1))
    return shape
