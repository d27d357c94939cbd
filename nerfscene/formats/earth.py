"""Positions given on the earth, as longitudes and latitudes or geocentric → metres around their middle.

The ellipsoid is WGS 84 (NGA.STND.0036): semi-major axis 6,378,137 m, flattening 1/298.257223563. Longitude,
latitude and height become geocentric coordinates by the usual closed formula (EPSG guidance note 7-2,
"Geographic/geocentric conversions"); back, latitude is found by iterating it. Local metres are east, north
and up at the middle of the positions.
"""

from __future__ import annotations

import numpy as np

from nerfscene.types import Array

SEMI_MAJOR = 6378137.0  # m
FLATTENING = 1 / 298.257223563
SQUARED_ECCENTRICITY = FLATTENING * (2 - FLATTENING)
RADII = 6.33e6, 6.40e6  # m: the distances from the earth's centre at which a camera may be
# A coordinate pair in a projected system has its height beside it. Geocentric z is less only at the equator.
LEAST_Z = 1e4  # m
WIDEST = 0.5  # degrees, some 50 km: the positions of one capture don't spread farther
# Degrees are much smaller numbers than the metres of the heights beside them, and than their own distance
# from the origin. Cameras in metres, unless they hang on one vertical line, spread sideways as well as in
# height.
FLAT = 1e-3  # largest spread of degrees as a fraction of the heights' spread
FAR = 1000.0  # least distance from the origin as a multiple of the spread ...
NARROW = 0.05  # ... if the spread in degrees is at most this


def are_degrees(positions: Array) -> bool:
    """Whether positions (n, 3) are longitude and latitude in degrees, and height in metres.

    Judged by the numbers: all within ±180 and ±90, and spread little compared with the heights or with their
    distance from the origin.
    """
    across, up = positions[:, :2], positions[:, 2]
    if len(positions) < 2 or np.abs(across).max() > 180 or np.abs(across).min(axis=1).max() > 90:
        return False
    spread = float(np.ptp(across, axis=0).max())
    if not 0 < spread < WIDEST:
        return False
    far = float(np.abs(across).max()) > FAR * spread and spread < NARROW
    return spread < FLAT * float(np.ptp(up)) or far


def are_geocentric(positions: Array) -> bool:
    """Whether positions (n, 3) are metres from the earth's centre (EPSG:4978), judged by the numbers."""
    radii = np.linalg.norm(positions, axis=1)
    return bool(
        (radii > RADII[0]).all() and (radii < RADII[1]).all() and (np.abs(positions[:, 2]) > LEAST_Z).all()
    )


def geocentric(geodetic: Array) -> Array:
    """Geocentric coordinates (n, 3) in metres of longitude and latitude (degrees) and height (metres)."""
    longitude, latitude = np.radians(geodetic[:, 0]), np.radians(geodetic[:, 1])
    height = geodetic[:, 2]
    normal = SEMI_MAJOR / np.sqrt(1 - SQUARED_ECCENTRICITY * np.sin(latitude) ** 2)
    across = (normal + height) * np.cos(latitude)
    up = (normal * (1 - SQUARED_ECCENTRICITY) + height) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], axis=1)


def geodetic(position: Array) -> tuple[float, float]:
    """Longitude and latitude in degrees of a geocentric position (3,) in metres."""
    x, y, z = (float(v) for v in position)
    across = float(np.hypot(x, y))
    latitude = float(np.arctan2(z, across * (1 - SQUARED_ECCENTRICITY)))
    for _ in range(10):
        normal = SEMI_MAJOR / np.sqrt(1 - SQUARED_ECCENTRICITY * np.sin(latitude) ** 2)
        latitude = float(np.arctan2(z + SQUARED_ECCENTRICITY * normal * np.sin(latitude), across))
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(latitude))


def local_from_geocentric(positions: Array) -> Array:
    """The matrix (4, 4) from geocentric positions (n, 3) to metres east, north and up of their mean."""
    middle = positions.mean(axis=0)
    longitude, latitude = (np.radians(v) for v in geodetic(middle))
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    up = np.array(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    )
    result = np.eye(4)
    result[:3, :3] = np.stack([east, np.cross(up, east), up])
    result[:3, 3] = -result[:3, :3] @ middle
    return result
