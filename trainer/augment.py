"""Batched augmentation in torch: where the camera stands, what the item lies on, how it is lit.

Everything is drawn from one torch.Generator, so the same seed gives the same batch. Geometry is
done once, by one sampling of the cached picture straight to the network's input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edge.preprocess import FILL_GREY
from edge.values import Pixels
from trainer.masks import box_of
from trainer.randaugment import rand_augment
from trainer.recipe import Augment
from trainer.surfaces import odd_bank

ASPECT = 4 / 3  # of the cached pictures; rotation must happen where pixels are square


@dataclass(frozen=True, slots=True)
class Cutouts:
    """What background swaps need; rows as in the photos."""

    masks: Pixels  # (n, h, w) saliency
    good: npt.NDArray[np.bool_]  # (n,)
    bank: Pixels  # (m, h, w, 3) surfaces


@dataclass(frozen=True, slots=True)
class View:
    """Where each picture of a batch is looked at from; all fields are (b,) float32."""

    centre_x: Tensor  # of the view, in the picture's -1..1
    centre_y: Tensor
    offset_x: Tensor  # where that point lies in the output, in -1..1
    offset_y: Tensor
    zoom: Tensor  # above 1 enlarges
    stretch: Tensor  # widens x and narrows y
    angle: Tensor  # radians
    flip: Tensor  # -1 or 1


class Augmenter:
    """Turns rows of cached photos into a batch of normalised views."""

    def __init__(
        self,
        pixels: Pixels,
        spec: Augment,
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        cutouts: Cutouts | None = None,
        device: str = "cpu",
    ) -> None:
        self._spec, self._device = spec, device
        self._photos = channels_first(pixels)
        self._mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) / 255
        self._std = torch.tensor(std, device=device).view(1, 3, 1, 1) / 255
        self._cutouts = cutouts
        if cutouts is not None:
            self._boxes = torch.tensor([box_of(m) for m in cutouts.masks], dtype=torch.float32)
            self._good = torch.from_numpy(cutouts.good.copy())
            self._masks = torch.from_numpy(cutouts.masks).unsqueeze(1)
            self._bank = channels_first(cutouts.bank)
            self._odd = channels_first(odd_bank(len(cutouts.bank) // 8 + 1, len(cutouts.bank)))

    def batch(
        self, rows: npt.NDArray[np.int64], size_px: int, dice: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """These rows of the photos: (b, 3, size, size) float32, normalised; (b,) bool.

        The second is true where the picture shows nothing of any class.
        """
        draw = Draw(dice, len(rows), self._device)
        nothing = torch.zeros(len(rows), dtype=torch.bool, device=self._device)
        index = torch.from_numpy(rows)
        if self._cutouts is None or self._spec.swap_share == 0:
            views = sample(self._load(self._photos, index), self._plain_view(draw), size_px)
        else:
            nothing = draw.chance(self._spec.nothing_share)
            views = self._with_swaps(index, nothing, size_px, draw)
        views = soften(views, draw, self._spec)
        views = recolour(views, draw, self._spec)
        views = add_noise(views, draw, self._spec).clamp_(0, 1)
        if self._spec.rand_ops:
            views = rand_augment(views, draw, self._spec.rand_ops, self._spec.rand_magnitude)
        views = erase(views, draw, self._spec)
        return views.sub_(self._mean).div_(self._std), nothing

    def _load(self, pictures: Tensor, index: Tensor) -> Tensor:
        """Rows of (n, c, h, w) uint8 as (b, c, h, w) float32, 0..1."""
        return pictures[index].to(self._device).float().div_(255)

    def _plain_view(self, draw: Draw) -> View:
        spec = self._spec
        any_angle = draw.chance(spec.any_angle_share)
        narrow = draw.span(-spec.tilt_deg, spec.tilt_deg)
        degrees = torch.where(any_angle, draw.span(-180, 180), narrow)
        return View(
            centre_x=draw.span(-spec.shift, spec.shift),
            centre_y=draw.span(-spec.shift, spec.shift),
            offset_x=draw.span(0, 0),
            offset_y=draw.span(0, 0),
            zoom=draw.log_span(spec.zoom_min, spec.zoom_max),
            stretch=draw.log_span(1 / spec.stretch_max, spec.stretch_max),
            angle=torch.deg2rad(degrees),
            flip=draw.sign(),
        )

    def _cut_view(self, boxes: Tensor, draw: Draw) -> View:
        """Item at a size of its own choice, somewhere in the output, at any angle."""
        spec = self._spec
        half = torch.hypot(boxes[:, 2] * ASPECT, boxes[:, 3]) / np.hypot(ASPECT, 1)
        size = draw.span(spec.item_min, spec.item_max)  # of the output's diagonal
        zoom = (size / half).clamp(0.35, 2.0)
        room = (1 - size).clamp(min=0.1)
        return View(
            centre_x=boxes[:, 0],
            centre_y=boxes[:, 1],
            offset_x=draw.span(-1, 1) * room,
            offset_y=draw.span(-1, 1) * room,
            zoom=zoom,
            stretch=draw.log_span(1 / spec.stretch_max, spec.stretch_max),
            angle=torch.deg2rad(draw.span(-180, 180)),
            flip=draw.sign(),
        )

    def _with_swaps(self, index: Tensor, nothing: Tensor, size_px: int, draw: Draw) -> Tensor:
        swapped = draw.chance(self._spec.swap_share) & self._good[index].to(self._device)
        boxes = self._boxes[index].to(self._device)
        view = choose(swapped, self._cut_view(boxes, draw), self._plain_view(draw))
        grid = grid_of(view, size_px)
        photos = self._load(self._photos, index)
        views = F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)
        which = swapped.nonzero().flatten()
        if len(which):
            masks = self._load(self._masks, index[which.cpu()])
            views[which] = self._pasted(views[which], masks, grid[which], draw)
        which = nothing.nonzero().flatten()
        if len(which):
            masks = self._load(self._masks, index[which.cpu()])
            views[which] = self._strange(masks, grid[which], draw)
        return views

    def _pasted(self, views: Tensor, masks: Tensor, grid: Tensor, draw: Draw) -> Tensor:
        few = Draw(draw.dice, len(views), self._device)
        alpha = F.grid_sample(masks, grid, padding_mode="zeros", align_corners=False)
        alpha = ((alpha - few.column(0.3, 0.5)) / 0.4).clamp(0, 1)
        pasted = paste(views, alpha, self._surfaces(views.shape[-1], few), few)
        if self._spec.fill_share == 0:
            return pasted
        cut_out = views * alpha + FILL_GREY / 255 * (1 - alpha)
        filled = few.chance(self._spec.fill_share).view(-1, 1, 1, 1)
        return torch.where(filled, cut_out, pasted)

    def _strange(self, masks: Tensor, grid: Tensor, draw: Draw) -> Tensor:
        """Bare surfaces, and on half of them the outline of an item, made of another surface.

        What the network must not be sure of (outlier exposure: Hendrycks et al., ICLR 2019).
        """
        few = Draw(draw.dice, len(grid), self._device)
        size_px = grid.shape[1]
        alpha = F.grid_sample(masks, grid, padding_mode="zeros", align_corners=False)
        alpha = alpha * few.chance(0.5).view(-1, 1, 1, 1)
        things = self._surfaces(size_px, few, self._odd)
        return paste(things, alpha, self._surfaces(size_px, few), few)

    def _surfaces(self, size_px: int, draw: Draw, bank: Tensor | None = None) -> Tensor:
        bank = self._bank if bank is None else bank
        pictures = self._load(bank, draw.integers(len(bank)).cpu())
        view = View(
            centre_x=draw.span(-0.3, 0.3),
            centre_y=draw.span(-0.3, 0.3),
            offset_x=draw.span(0, 0),
            offset_y=draw.span(0, 0),
            zoom=draw.log_span(0.8, 2.5),
            stretch=draw.log_span(0.9, 1.1),
            angle=draw.span(-0.2, 0.2),
            flip=draw.sign(),
        )
        return sample(pictures, view, size_px)


def channels_first(pictures: Pixels) -> Tensor:
    """(n, h, w, 3) to a (n, 3, h, w) tensor of its own."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))


class Colours(Protocol):
    """What of a recipe's augmentation is light, lens and sensor; see recipe.Augment."""

    @property
    def blur(self) -> float: ...
    @property
    def sharpen(self) -> float: ...
    @property
    def exposure(self) -> float: ...
    @property
    def contrast(self) -> float: ...
    @property
    def saturation(self) -> float: ...
    @property
    def tint(self) -> float: ...
    @property
    def gamma(self) -> float: ...
    @property
    def light_slope(self) -> float: ...
    @property
    def noise(self) -> float: ...


class Draw:
    """Random numbers for one batch, one value per picture."""

    def __init__(self, dice: torch.Generator, count: int, device: str) -> None:
        self.dice, self.count, self.device = dice, count, device

    def span(self, low: float, high: float) -> Tensor:
        """(b,) uniform in low..high."""
        uniform = torch.rand(self.count, generator=self.dice, device=self.dice.device)
        return (low + (high - low) * uniform).to(self.device)

    def log_span(self, low: float, high: float) -> Tensor:
        """(b,) uniform in the logarithm: halving is as likely as doubling."""
        return self.span(float(np.log(low)), float(np.log(high))).exp()

    def column(self, low: float, high: float) -> Tensor:
        """(b, 1, 1, 1) uniform in low..high."""
        return self.span(low, high).view(-1, 1, 1, 1)

    def chance(self, share: float | Tensor) -> Tensor:
        """(b,) bool, true for about `share` of the batch."""
        return self.span(0, 1) < share

    def sign(self) -> Tensor:
        """(b,) -1 or 1."""
        return torch.where(self.chance(0.5), 1.0, -1.0)

    def integers(self, high: int) -> Tensor:
        """(b,) int64 in 0..high-1."""
        return (self.span(0, 1) * high).long().clamp(max=high - 1)

    def normal(self, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Standard normal noise."""
        noise = torch.randn(shape, generator=self.dice, device=self.dice.device)
        return noise.to(self.device)


def choose(which: Tensor, one: View, other: View) -> View:
    """Per picture: `one` where `which`, else `other`."""
    names = View.__dataclass_fields__
    return View(*(torch.where(which, getattr(one, n), getattr(other, n)) for n in names))


def grid_of(view: View, size_px: int, width_px: int | None = None) -> Tensor:
    """(b, size, width, 2) sampling grid: where in the picture each output pixel comes from.

    The output shows 4:3 like the picture, whatever its pixels; without `width_px` it is square.
    """
    cos, sin = view.angle.cos(), view.angle.sin()
    # output -1..1 -> world (square pixels) -> turned, unzoomed -> picture -1..1
    xx = view.flip * cos * view.stretch / view.zoom
    xy = -sin / ASPECT / view.stretch / view.zoom * view.flip
    yx = sin * ASPECT * view.stretch / view.zoom
    yy = cos / view.stretch / view.zoom
    tx = view.centre_x - xx * view.offset_x - xy * view.offset_y
    ty = view.centre_y - yx * view.offset_x - yy * view.offset_y
    theta = torch.stack([torch.stack([xx, xy, tx], -1), torch.stack([yx, yy, ty], -1)], 1)
    size = [len(theta), 1, size_px, width_px or size_px]
    return F.affine_grid(theta, size, align_corners=False)


def sample(pictures: Tensor, view: View, size_px: int) -> Tensor:
    """(b, c, h, w) seen from `view` as (b, c, size, size); beyond the border it is mirrored."""
    grid = grid_of(view, size_px)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def paste(
    items: Tensor, alpha: Tensor, surfaces: Tensor, draw: Draw, clear_share: float | Tensor = 0.3
) -> Tensor:
    """Items (b, 3, h, w) on surfaces, with a soft contact shadow and, at times, see-through.

    See-through multiplies: what the item did to the white card it does to the new surface, which
    is what clear glass and plastic do. `clear_share` is one share or (b,) of them.
    """
    size = (items.shape[-2], items.shape[-1])
    small = F.avg_pool2d(alpha, 8, ceil_mode=True)
    shadow = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    shift = max(1, size[1] // 40)
    dx, dy = (int(draw.integers(2 * shift + 1)[0]) - shift for _ in range(2))
    shadow = torch.roll(shadow, (dy, dx), (2, 3))
    ground = surfaces * (1 - draw.column(0.0, 0.55) * shadow)
    clear = draw.column(0.0, 0.7) * draw.chance(clear_share).view(-1, 1, 1, 1)
    through = (items * 1.15).clamp(max=1) * ground
    item = items * (1 - clear) + through * clear
    return item * alpha + ground * (1 - alpha)


def soften(views: Tensor, draw: Draw, spec: Colours) -> Tensor:
    """Between a slight blur and a slight sharpening, per picture."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=views.device) / 16
    kernel = torch.outer(row, row).expand(3, 1, 5, 5)
    blurred = F.conv2d(F.pad(views, (2, 2, 2, 2), "reflect"), kernel, groups=3)
    return torch.lerp(views, blurred, draw.column(-spec.sharpen, spec.blur))


def recolour(views: Tensor, draw: Draw, spec: Colours) -> Tensor:
    """Exposure, contrast, saturation, white balance, gamma and uneven light.

    All but the last two are linear in the colour, so they make one 3 x 3 matrix per picture.
    """
    b, _, height, width = views.shape
    eye = torch.eye(3, device=views.device)
    saturation = draw.log_span(1 / spec.saturation, spec.saturation).view(-1, 1, 1)
    contrast = draw.log_span(1 / spec.contrast, spec.contrast).view(-1, 1, 1)
    tint = torch.stack([draw.log_span(1 / spec.tint, spec.tint) for _ in range(3)], 1)
    gain = (tint * draw.log_span(1 / spec.exposure, spec.exposure).view(-1, 1)).unsqueeze(2)
    matrix = gain * contrast * (saturation * eye + (1 - saturation) / 3)
    middle = views.mean((1, 2, 3)).view(-1, 1, 1)
    out = torch.baddbmm(gain * (1 - contrast) * middle, matrix, views.flatten(2))
    y = torch.linspace(-1, 1, height, device=views.device).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, width, device=views.device).view(1, 1, 1, -1)
    slope_x, slope_y = (draw.column(-spec.light_slope, spec.light_slope) for _ in range(2))
    lit = out.view(b, 3, height, width).mul_(1 + slope_x * x + slope_y * y)
    gamma = draw.log_span(1 / spec.gamma, spec.gamma).view(-1, 1, 1, 1)
    return lit.clamp_(1e-4, 1).pow_(gamma)


def add_noise(views: Tensor, draw: Draw, spec: Colours) -> Tensor:
    """Sensor noise on a third of the pictures, in place."""
    which = draw.chance(0.33).nonzero().flatten()
    sigma = draw.column(0, spec.noise)[which]
    views[which] += sigma * draw.normal((len(which), *views.shape[1:]))
    return views


def erase(views: Tensor, draw: Draw, spec: Augment) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): a rectangle of one colour, on a share."""
    b, _, height, width = views.shape
    area, ratio = draw.span(0.02, 0.2), draw.log_span(0.4, 2.5)
    half_h, half_w = (area * ratio).sqrt() / 2, (area / ratio).sqrt() / 2
    y = torch.linspace(0, 1, height, device=views.device).view(1, -1, 1)
    x = torch.linspace(0, 1, width, device=views.device).view(1, 1, -1)
    far_y = (y - draw.span(0, 1).view(-1, 1, 1)).abs() > half_h.view(-1, 1, 1)
    far_x = (x - draw.span(0, 1).view(-1, 1, 1)).abs() > half_w.view(-1, 1, 1)
    keep = far_y | far_x | ~draw.chance(spec.erase_share).view(-1, 1, 1)
    colour = torch.stack([draw.span(0, 1) for _ in range(3)], 1).view(b, 3, 1, 1)
    return torch.where(keep.unsqueeze(1), views, colour)


def mixup(
    views: Tensor, targets: Tensor, alpha: float, share: float, dice: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """MixUp (Zhang et al., ICLR 2018): `share` of the batches blended with themselves, shuffled.

    targets: (b, n) class probabilities.
    """
    if alpha == 0 or dice.random() >= share:
        return views, targets
    keep = float(dice.beta(alpha, alpha))
    order = torch.from_numpy(dice.permutation(len(views))).to(views.device)
    return torch.lerp(views[order], views, keep), torch.lerp(targets[order], targets, keep)
