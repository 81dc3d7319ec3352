"""The ranges of a network's settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tests.helpers.weights import LAYOUTS
from vrt_core.errors import InputError
from vrt_core.models.cards import MODELS
from vrt_core.network import config
from vrt_core.network.config import VRTConfig


def test_every_setting_has_a_range() -> None:
    assert {*config._RANGES, "qk_scale"} == {field.name for field in fields(VRTConfig)}


def test_published_and_shipped_networks_are_within_the_ranges() -> None:
    configs = [card.config for card in MODELS.values() if card.config]
    configs += [layout["config"] for layout in LAYOUTS.values()]
    assert len(configs) > 14
    for each in configs:
        VRTConfig.from_mapping(each)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"upscale": 17}, r"upscale \(17\) must be a whole number from 1 to 16"),
        ({"upscale": 2.0}, "whole number"),
        ({"upscale": True}, "whole number"),
        ({"depths": "many"}, r"depths \('many'\) must be a list of 0 to 64 entries"),
        ({"depths": [8] * 65}, r"depths \(a tuple of 65\)"),
        ({"depths": [64] * 13}, "depths has 832 blocks in all, at most 512"),
        ({"window_size": [6, 8]}, "a list of 3 entries"),
        ({"window_size": [64, 64, 64]}, "at most 4096 tokens"),
        ({"num_heads": [0] * 13}, r"num_heads \(0\)"),
        ({"mlp_ratio": float("nan")}, r"mlp_ratio \(nan\) must be a number from 0 to 16"),
        ({"mul_attn_ratio": "half"}, "mul_attn_ratio"),
        ({"qkv_bias": 1}, "must be true or false"),
        ({"qk_scale": float("inf")}, "qk_scale"),
        ({"shutters": [None]}, "shutters"),
        ({"flow_channels": []}, "flow_channels"),
    ],
)
def test_a_setting_out_of_its_range_is_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VRTConfig.from_mapping(setting)
