"""Augmentation: pictures rotated, sheared and seen aslant, and nothing at their borders lost.

Coordinates are normalised as in torch's `grid_sample`: x to the right and y down, and -1 and 1 are
the outer edges of the first and the last pixel.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn.functional import grid_sample

_CORNERS = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
_OUTSIDE = 2.0
"""A coordinate beyond any picture."""


class Ranges(BaseModel, frozen=True, extra="forbid"):
    """How far a draw goes at most, to either side; each amount is drawn evenly.

    rotation in degrees; shear as sideways shift for each unit of height; skew as the change of
    distance from the middle to an edge, along each axis. The abstract gives no figures. These keep
    a horizon lying and a picture recognisable, and with nothing cropped it still takes at
    least half of the frame's area, on average three quarters.
    """

    rotation: float = Field(default=15.0, ge=0, le=180)
    shear: float = Field(default=0.15, ge=0, le=1)
    skew: float = Field(default=0.15, ge=0, lt=0.5)  # two axes: at .5 a corner is infinitely far


def draw_homographies(
    random: np.random.Generator, count: int, ranges: Ranges
) -> NDArray[np.float64]:
    """Random maps (count, 3, 3) from original to warped coordinates.

    Each skews, then rotates, then shears, and then scales and shifts the result into the frame: it
    touches two opposite edges, and no point of the original is outside.
    """
    draws = random.uniform(-1.0, 1.0, size=(count, 4))
    angle = np.deg2rad(ranges.rotation) * draws[:, 0]
    rotation, shear, skew = (np.tile(np.eye(3), (count, 1, 1)) for _ in range(3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(angle)
    rotation[:, 1, 0] = np.sin(angle)
    rotation[:, 0, 1] = -np.sin(angle)
    shear[:, 0, 1] = ranges.shear * draws[:, 1]
    skew[:, 2, :2] = ranges.skew * draws[:, 2:]
    # Skewed first, while the corners are at +-1 and their depths within 1 +- 2 skew.
    return _into_frame(shear @ rotation @ skew)


def variant_homographies(
    seed: int, picks: NDArray[np.int64], ranges: Ranges
) -> NDArray[np.float64]:
    """The maps (N, 3, 3) of picks (N, 2), rows of image index and variant number.

    Variant 0 is the original. Any other depends on the seed and its own row alone.
    """
    homographies = np.tile(np.eye(3), (len(picks), 1, 1))
    for row, (image, variant) in enumerate(picks):
        if variant > 0:
            random = np.random.default_rng((seed, image, variant))
            homographies[row] = draw_homographies(random, 1, ranges)[0]
    return homographies


def warp(images: Tensor, homographies: NDArray[np.float64]) -> Tensor:
    """Images (N, 1, H, W) of floats, each under its map (N, 3, 3); same shape, device and type.

    Bilinear; what no point of the original reaches is 0. The identity changes no bit.
    """
    unchanged = (homographies == np.eye(3)).all(axis=(1, 2))
    inverse = torch.from_numpy(np.linalg.inv(homographies)).to(images.device, images.dtype)
    height, width = images.shape[2:]
    points = _pixel_centres(height, width, inverse) @ inverse.mT
    depth = points[..., 2:]
    # At a depth of zero or less lie points from behind the horizon of a slanted plane.
    sources = torch.where(depth > 0, points[..., :2] / depth, _OUTSIDE)
    grid = sources.view(-1, height, width, 2)
    warped = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    keep = torch.from_numpy(unchanged).to(images.device)[:, None, None, None]
    return torch.where(keep, images, warped)


def _into_frame(homographies: NDArray[np.float64]) -> NDArray[np.float64]:
    corners = homographies @ _CORNERS
    corners = corners[:, :2] / corners[:, 2:]
    low, high = corners.min(axis=2), corners.max(axis=2)
    scale = 2 / (high - low).max(axis=1)
    fit = np.zeros_like(homographies)
    fit[:, 0, 0] = fit[:, 1, 1] = scale
    fit[:, :2, 2] = -scale[:, None] * (low + high) / 2
    fit[:, 2, 2] = 1
    return fit @ homographies


def _pixel_centres(height: int, width: int, like: Tensor) -> Tensor:
    """Homogeneous coordinates (H * W, 3) of the pixels' centres, row by row."""
    y = (2 * torch.arange(height).to(like) + 1) / height - 1
    x = (2 * torch.arange(width).to(like) + 1) / width - 1
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], dim=-1).view(-1, 3)
