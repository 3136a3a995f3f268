"""Names for the array types that the functions of `stats` take and return."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""An array of floating-point numbers; docstrings state its shape."""

Indices = NDArray[np.int64]
"""An array of row numbers, from 0."""
