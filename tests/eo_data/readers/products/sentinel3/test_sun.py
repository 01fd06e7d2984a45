"""The sun at samples: between tie points, and by detector."""

from __future__ import annotations

import numpy as np

from eo_data.readers.products.sentinel3.sun import between_ties, flux_of_detectors


def test_the_sun_between_tie_points_is_linear_and_ends_at_the_horizon() -> None:
    ties = np.array([[0.5, 0.7], [0.1, -0.3]])
    values = between_ties(ties, np.array([0.0, 0.5, 1.0, 1.0]), np.array([0.5, 0.0, 0.0, 0.5]))
    np.testing.assert_allclose(values, [0.6, 0.3, 0.1, np.nan])


def test_a_detector_that_is_not_known_or_dark_has_no_irradiance() -> None:
    table, detectors = np.array([1000.0, 0.0, 1200.0]), np.array([2.0, 1.0, 0.0, np.nan, 3.0, -1.0])
    np.testing.assert_array_equal(flux_of_detectors(table, detectors), [1200, np.nan, 1000, np.nan, np.nan, np.nan])
