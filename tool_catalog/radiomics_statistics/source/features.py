"""First-order and shape features of one lesion, as the Image Biomarker Standardisation Initiative defines them.

IBSI reference manual (arXiv:1612.07003): intensity-based statistics (3.3) over the voxels of the lesion, without any
interpolation, resegmentation or discretisation; morphology (3.1) by a mesh of marching cubes at half of the mask, by
voxels' centres for the axes. Lengths are in mm, intensities in the image's own unit (HU of CT). The four-letter codes
of IBSI stand in README.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

INTENSITY = (
    "mean", "standard_deviation", "skewness", "kurtosis", "median", "minimum", "maximum", "range", "percentile_10",
    "percentile_90", "interquartile_range", "mean_absolute_deviation", "robust_mean_absolute_deviation",
    "median_absolute_deviation", "coefficient_of_variation", "quartile_dispersion", "energy", "root_mean_square",
)  # fmt: skip
SHAPE = (
    "volume", "volume_of_voxels", "surface_area", "surface_to_volume", "compactness_2", "sphericity", "diameter",
    "major_axis", "minor_axis", "least_axis", "elongation", "flatness",
)  # fmt: skip
FEATURES = (*INTENSITY, *SHAPE)


def features_of(values: Array, mask: Mask, spacing: tuple[float, float, float]) -> dict[str, float]:
    """All features of a lesion: ``values`` and ``mask`` are slices x rows x columns, ``spacing`` mm in that order.

    What is not defined (a spread of one voxel, a ratio to 0) is not there.
    """
    found = {**_of_intensity(values[mask]), **_of_shape(mask, spacing)}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _of_intensity(x: Array) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        low, first, middle, third, high = np.percentile(x, [10, 25, 50, 75, 90])
        mean, deviations = x.mean(), x - x.mean()
        variance = np.mean(deviations**2)
        inner = x[(x >= low) & (x <= high)]
        return {
            "mean": mean,
            "standard_deviation": np.sqrt(variance),
            "skewness": np.mean(deviations**3) / variance**1.5,
            "kurtosis": np.mean(deviations**4) / variance**2 - 3,
            "median": middle,
            "minimum": x.min(),
            "maximum": x.max(),
            "range": np.ptp(x),
            "percentile_10": low,
            "percentile_90": high,
            "interquartile_range": third - first,
            "mean_absolute_deviation": np.abs(deviations).mean(),
            "robust_mean_absolute_deviation": np.abs(inner - inner.mean()).mean(),
            "median_absolute_deviation": np.abs(x - middle).mean(),
            "coefficient_of_variation": np.sqrt(variance) / mean,
            "quartile_dispersion": (third - first) / (third + first),
            "energy": np.sum(x**2),
            "root_mean_square": np.sqrt(np.mean(x**2)),
        }


def _of_shape(mask: Mask, spacing: tuple[float, float, float]) -> dict[str, float]:
    padded = np.pad(mask, 1).astype(np.float64)
    vertices, faces, _, _ = marching_cubes(padded, level=0.5, spacing=spacing)
    area, volume = mesh_surface_area(vertices, faces), _volume(vertices[faces])
    axes = _axes(mask, spacing)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "volume": volume,
            "volume_of_voxels": mask.sum() * float(np.prod(spacing)),
            "surface_area": area,
            "surface_to_volume": area / volume,
            "compactness_2": 36 * np.pi * volume**2 / area**3,
            "sphericity": (36 * np.pi * volume**2) ** (1 / 3) / area,
            "diameter": _diameter(vertices),
            "major_axis": axes[0],
            "minor_axis": axes[1],
            "least_axis": axes[2],
            "elongation": axes[1] / axes[0],
            "flatness": axes[2] / axes[0],
        }


def _volume(triangles: Array) -> float:
    """Of a closed mesh: the tetrahedra from its triangles to the origin, with their signs."""
    return float(abs(np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum()) / 6)


def _diameter(vertices: Array) -> float:
    """The largest distance of two vertices, both of which lie on the convex hull."""
    try:
        vertices = vertices[ConvexHull(vertices).vertices]
    except QhullError:
        vertices = np.unique(vertices, axis=0)
    return float(pdist(vertices).max())


def _axes(mask: Mask, spacing: tuple[float, float, float]) -> Array:
    """Four times the roots of the (sample) covariance's eigenvalues over the voxels' centres, the largest first."""
    centres = np.argwhere(mask) * np.asarray(spacing)
    centres = centres - centres.mean(axis=0)
    if len(centres) < 2:
        return np.full(3, np.nan)
    values = np.linalg.eigvalsh(centres.T @ centres / (len(centres) - 1))[::-1]
    return np.asarray(4 * np.sqrt(np.clip(values, 0, None)))
