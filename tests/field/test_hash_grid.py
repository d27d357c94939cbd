"""The field's settings: what is allowed, and what is said of the rest."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nerfscene.config import FieldConfig
from nerfscene.errors import NerfsceneError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"levels": 17}, "FieldConfig.levels must be 1 to 16, not 17"),
        ({"features": 3}, "FieldConfig.features must be 2, 4 or 8, not 3"),
        ({"log2_table": 40}, "FieldConfig.log2_table must be 6 to 24, not 40"),
        ({"base_resolution": 0}, "FieldConfig.base_resolution must be 1 to 128, not 0"),
        (
            {"base_resolution": 65, "finest_resolution": 64},
            "FieldConfig.base_resolution must be 1 to 64, not 65",
        ),
        ({"finest_resolution": 0}, "FieldConfig.finest_resolution must be 1 to 65536, not 0"),
        ({"finest_resolution": 65537}, "FieldConfig.finest_resolution must be 1 to 65536, not 65537"),
        ({"hidden": 20}, "FieldConfig.hidden must be a multiple of 16 from 16 to 128, not 20"),
        ({"color_hidden": 144}, "FieldConfig.color_hidden must be a multiple of 16 from 16 to 128, not 144"),
        ({"color_layers": 3}, "FieldConfig.color_layers must be 1 or 2, not 3"),
        (
            {"occupancy_resolution": 0},
            "FieldConfig.occupancy_resolution must be a multiple of 32 from 32 to 512, not 0",
        ),
    ],
)
def test_what_is_said_names_the_option_the_range_and_the_value(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(NerfsceneError, match=f"^{re.escape(said)}$"):
        FieldConfig(**settings)


def test_the_largest_settings_are_allowed() -> None:
    FieldConfig(
        levels=16,
        features=8,
        log2_table=24,
        finest_resolution=65536,
        hidden=128,
        color_hidden=128,
        occupancy_resolution=512,
    )
