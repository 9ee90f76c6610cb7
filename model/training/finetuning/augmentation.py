"""Augmentation of pictures: random rotation, shear and perspective skew, without cropping.

Coordinates are normalised as in torch's `grid_sample` with align_corners=False: x to the right, y
down, and -1 and 1 are the outer edges of the first and the last pixel.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from mernet.model.training.finetuning.recipes import AugmentationRanges

_CORNERS = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
_OUTSIDE = 2.0
"""A coordinate outside every picture."""


def draw_homographies(
    random: np.random.Generator, count: int, ranges: AugmentationRanges
) -> NDArray[np.float64]:
    """Draw random homographies (count, 3, 3) from original to warped coordinates.

    Each one skews, rotates and shears, in this order, and then scales and shifts the result into
    the frame: it touches two opposite edges, and no point of the original lies outside.
    """
    draws = random.uniform(-1.0, 1.0, size=(count, 4))
    angle = np.deg2rad(ranges.rotation) * draws[:, 0]
    rotation, shear, skew = (np.tile(np.eye(3), (count, 1, 1)) for _ in range(3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(angle)
    rotation[:, 1, 0] = np.sin(angle)
    rotation[:, 0, 1] = -np.sin(angle)
    shear[:, 0, 1] = ranges.shear * draws[:, 1]
    skew[:, 2, :2] = ranges.skew * draws[:, 2:]
    # Skew comes first, while the corners are at +-1 and their depths are within 1 +- 2 skew.
    return _fit_into_frame(shear @ rotation @ skew)


def variant_homographies(
    seed: int, samples: NDArray[np.int64], ranges: AugmentationRanges
) -> NDArray[np.float64]:
    """Return the homographies (N, 3, 3) of samples (N, 2): rows of image index, variant number.

    Variant 0 is the original, its homography the identity. Every other homography depends only on
    the seed and on its own row.
    """
    homographies = np.tile(np.eye(3), (len(samples), 1, 1))
    for row, (image, variant) in enumerate(samples):
        if variant > 0:
            random = np.random.default_rng((seed, image, variant))
            homographies[row] = draw_homographies(random, 1, ranges)[0]
    return homographies


def warp(images: Tensor, homographies: NDArray[np.float64]) -> Tensor:
    """Warp float images (N, 1, H, W), each with its homography (N, 3, 3).

    Returns:
        Images of the same shape, device and type, interpolated bilinearly; 0 outside the original.
        With the identity as homography an image is returned bit for bit.
    """
    unchanged = (homographies == np.eye(3)).all(axis=(1, 2))
    inverse = torch.from_numpy(np.linalg.inv(homographies)).to(images.device, images.dtype)
    height, width = images.shape[2:]
    points = _pixel_centres(height, width, inverse) @ inverse.mT
    depth = points[..., 2:]
    # Points with a depth of zero or less lie behind the horizon of the skewed plane.
    sources = torch.where(depth > 0, points[..., :2] / depth, _OUTSIDE)
    grid = sources.view(-1, height, width, 2)
    warped = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    keep = torch.from_numpy(unchanged).to(images.device)[:, None, None, None]
    return torch.where(keep, images, warped)


def _fit_into_frame(homographies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Append the scale and shift with which each warped picture just fits into the frame."""
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
    """Return the homogeneous coordinates (H * W, 3) of the pixel centres, row by row."""
    y = (2 * torch.arange(height).to(like) + 1) / height - 1
    x = (2 * torch.arange(width).to(like) + 1) / width - 1
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], dim=-1).view(-1, 3)
