import dataclasses
import json
import math

import pytest

from autoseg.config import (
    ClassInfo,
    Geometry,
    Recipe,
    SearchConfig,
    from_dict,
    parse_duration,
    parse_latency,
    read_json,
    to_dict,
)
from autoseg.errors import BudgetError, ConfigError

SCALED = Geometry(window=(64, 96), scale=0.5)
BOXED = Geometry(window=(32, 32), box=(100, 60))
RECIPE = Recipe("test_resnet", BOXED, frozen_depth=2, train_norm=True)
CONFIGS = [
    ClassInfo(("ground", "leaf"), ((0, 0, 0), (0, 255, 7))),
    SCALED,
    BOXED,
    RECIPE,
    SearchConfig(60.0),
    SearchConfig(60.0, 3, "cpu", ("vgg",), 7, 512, "none", True, (("255", "ignore"),)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_json_gives_back_what_was_written(config):
    read = json.loads(json.dumps(to_dict(config)))
    assert from_dict(type(config), read, "x.json") == config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frozen_depth": 5}, "frozen_depth"),
        ({"frozen_depth": True}, "frozen_depth"),
        ({"frozen_depth": 1.0}, "frozen_depth"),
        ({"decoder_lr": 0}, "decoder_lr"),
        ({"decoder_lr": math.nan}, "decoder_lr"),
        ({"decoder_lr": "1e-3"}, "decoder_lr"),
        ({"decoder_name": "unet++"}, "decoder_name"),
        ({"flip": None}, "flip"),
        ({"geometry": {"window": [64, 64]}}, "box"),
        ({"geometry": {"window": [64], "scale": 1.0}}, "window"),
        ({"geometry": {"window": [64, 60], "scale": 1.0}}, "window"),
        ({"geometry": []}, "geometry"),
        ({"dropout": 0.5}, "dropout"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_a_value_that_does_not_hold_is_refused_with_its_name_and_file(change, told):
    with pytest.raises(ConfigError, match=told):
        from_dict(Recipe, {**to_dict(RECIPE), **change}, "recipe.json")


@pytest.mark.parametrize("name", ["encoder_name", "geometry"])
def test_a_missing_field_is_named(name):
    values = to_dict(RECIPE)
    del values[name]
    with pytest.raises(ConfigError, match=f"recipe.json: missing field {name}"):
        from_dict(Recipe, values, "recipe.json")


@pytest.mark.parametrize("values", [None, [], 3, "x"])
def test_json_that_is_no_object_is_refused(values):
    with pytest.raises(ConfigError, match="expected an object"):
        from_dict(Recipe, values, "recipe.json")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_configurations_are_frozen(config):
    name = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, None)


@pytest.mark.parametrize(
    ("names", "palette"),
    [
        (("one",), ((0, 0, 0),)),
        (("a", "a"), ((0, 0, 0), (1, 1, 1))),
        (("a", "b"), ((0, 0, 0),)),
        (("a", "b"), ((0, 0, 0), (256, 0, 0))),
        (tuple(map(str, range(256))), ((0, 0, 0),) * 256),
    ],
)
def test_classes_that_cannot_be_are_refused(names, palette):
    with pytest.raises(ConfigError):
        ClassInfo(names, palette)


@pytest.mark.parametrize("shape", [(100, 60), (37, 411), (411, 37), (1, 1), (3000, 2000)])
def test_a_box_is_filled_in_one_side_and_left_in_none(shape):
    height, width = BOXED.resized_shape(*shape)
    assert height <= 100 and width <= 60
    assert height == 100 or width == 60
    if min(shape) > 30:
        assert height / width == pytest.approx(shape[0] / shape[1], rel=0.2)


def test_a_scale_is_the_same_for_all_sizes():
    assert SCALED.resized_shape(300, 200) == (150, 100)
    assert SCALED.resized_shape(1, 1) == (1, 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("6m", 360),
        ("1h30m", 5400),
        (" 2 D ", 172_800),
        ("1.5m", 90),
        ("45", 45),
        (12, 12),
        (0.5, 0.5),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("20ms", 20), (" 0.5 s", 500), ("7.5", 7.5), (33, 33), (repr(1e-7) + "ms", 1e-7)],
)
def test_times_of_one_image_are_read(text, milliseconds):
    assert parse_latency(text) == milliseconds


@pytest.mark.parametrize("text", ["", "fast", "-5ms", "0", "20m", "1e999", "nan", "inf"])
def test_what_is_no_time_of_one_image_is_refused(text):
    with pytest.raises(ConfigError, match="20ms"):
        parse_latency(text)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ConfigError, match="max_latency_ms"):
        SearchConfig(60.0, max_latency_ms=limit)


@pytest.mark.parametrize(
    "text", ["", "6 minutes", "m", "-5s", "0", "0s", 0, -1, "1e3", "nan", math.nan, math.inf, "5s6"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BudgetError):
        parse_duration(text)


def test_json_that_does_not_parse_names_its_file(tmp_path):
    file = tmp_path / "x.json"
    with pytest.raises(ConfigError, match="x.json does not exist"):
        read_json(file)
    for content in (b"{", b"\xff\xfe", b""):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="x.json is not valid JSON"):
            read_json(file)
