"""Among how many networks a run's time is divided where images are too few for a test split."""

import numpy as np

from autoseg.config import Geometry

NETWORK_PIXELS, NETWORK_WINDOWS = 100e6, 3000
"""Pixels of windows, and windows, that each network gets at least before one more is trained.

Measured with U-Nets on 50 images (`tests/benchmarks/results/ablations.jsonl`): 55, 88 and 286
million gave 90.7 / 91.8, 91.8 / 92.4 and 93.1 / 92.9 macro / macro-imagewise IoU on coffee_leaf,
89.8 / 88.9, 90.8 / 89.3 and 90.9 / 89.7 on dsb2018 (one seed; another gave 93.0 / 92.5 and 91.6 /
90.1 on 88 million). On a GPU, whose windows are large, it is their number that counts.
"""


def networks_in(affordable_pixels: float, n_folds: int, window_pixels: float = 0.0) -> int:
    """How many networks the time of a run is divided among, the model included.

    All are trained for the same time: with less of it than the model a network is so much worse
    that its scores say nothing of the model's. Five that had 7 % of the time each told 69 % of 24
    images of dsb2018, where the model had 86 on unseen ones. And what the model loses by sharing
    must be little.

    Args:
        affordable_pixels: Pixels of windows that the time can train on.
        n_folds: Folds that may judge the model; 0 where there is a test split.
        window_pixels: Pixels of a window; 0: not known yet.
    """
    needed = max(NETWORK_PIXELS, NETWORK_WINDOWS * window_pixels)
    return int(np.clip(affordable_pixels / needed, 1, max(1, n_folds)))


def networks_for(step_s: float, geometry: Geometry, left_s: float, n_folds: int) -> int:
    """The same where it is known what training costs.

    Args:
        step_s: A training step, in seconds per window.
        geometry: Size of the windows.
        left_s: Time of all networks, in seconds.
        n_folds: See `networks_in`.
    """
    window_pixels = float(np.prod(geometry.window))
    affordable_pixels = max(0.0, left_s) / max(1e-9, step_s) * window_pixels
    return networks_in(affordable_pixels, n_folds, window_pixels)
