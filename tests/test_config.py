"""Configs: from and to JSON, ``field=value`` settings, and the checks of a training run."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.config import coerce, from_json, parse_literal, resolve_path, with_settings
from lgmnet.data.augment import Jitter
from lgmnet.errors import ConfigError, EpisodeError
from lgmnet.experiments.recipes import RECIPES
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig


@dataclass(frozen=True)
class Inner:
    depth: int = 1
    shared: float = 0.5


@dataclass(frozen=True)
class Other:
    shared: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Part:
    on: bool = False
    size: int = 3
    ratio: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    on: bool = False
    widths: tuple[int, ...] = (1, 2)
    pair: tuple[float, bool] = (0.5, True)
    maybe: float | None = 1.0
    part: Part | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    inner: Inner = Inner()
    other: Other = Other()
    anything: Any = None


@dataclass(frozen=True)
class Checked:
    low: int = 1
    high: int = 2

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ConfigError(f"'low' must be below 'high', but is {self.low}.")


@dataclass(frozen=True)
class Nest:
    checked: Checked = Checked()


numbers = st.integers(-(2**53), 2**53)
finite = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    st.text(),
    st.booleans(),
    st.lists(numbers).map(tuple),
    st.tuples(finite, st.booleans()),
    st.none() | finite,
    st.none() | st.builds(Part, st.booleans(), numbers, finite),
    st.dictionaries(st.text(), numbers),
    st.builds(Inner, numbers, finite),
    st.builds(Other, finite, st.sampled_from(["a", "b"])),
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | finite | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


# From and to JSON


@given(outers)
def test_a_config_is_the_same_after_json(config):
    text = json.dumps(dataclasses.asdict(config))
    assert from_json(Outer, json.loads(text)) == config


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_the_same_after_json(recipe):
    run = RECIPES[recipe]()
    for config in (run.config, run.train):
        text = json.dumps(dataclasses.asdict(config))
        assert from_json(type(config), json.loads(text)) == config
        assert hash(from_json(type(config), json.loads(text))) == hash(config)


def test_absent_fields_keep_their_defaults():
    assert from_json(Outer, {"on": True}) == Outer(on=True)


def test_a_whole_number_is_converted_to_a_number():
    value = coerce("f", 1, float)
    assert value == 1.0
    assert type(value) is float


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("name", 3, "'name' must be a text, but is 3."),
        ("on", 1, "'on' must be true or false, but is 1."),
        ("on", "true", "'on' must be true or false, but is 'true'."),
        ("widths", 3, "'widths' must be a list such as [a, b], each of them a whole number"),
        ("widths", "12", "'widths' must be a list"),
        ("widths", [1, 2.5], "'widths' must be a whole number, but is 2.5."),
        ("widths", [True], "'widths' must be a whole number, but is True."),
        ("pair", [0.5], "'pair' must be a list of 2"),
        ("pair", [0.5, True, True], "'pair' must be a list of 2"),
        ("pair", [0.5, 1], "'pair' must be true or false, but is 1."),
        ("maybe", "much", "'maybe' must be a number, but is 'much'."),
        ("maybe", True, "'maybe' must be a number, but is True."),
        ("maybe", float("nan"), "'maybe' must be a number, but is nan."),
        ("maybe", float("inf"), "'maybe' must be a number, but is inf."),
        ("extra", [1], "'extra' must be"),
        ("inner", 3, "'inner' must be a JSON object with the fields of Inner, but is 3."),
        ("inner", None, "'inner' must be a JSON object with the fields of Inner, but is None."),
        ("inner", {"dept": 3}, "no field of Inner 'dept'. Did you mean 'depth'?"),
        ("inner", {"depth": "deep"}, "'inner.depth' must be a whole number, but is 'deep'."),
        ("part", 3, "'part' must be a JSON object with the fields of Part, but is 3."),
        ("part", {"size": None}, "'part.size' must be a whole number, but is None."),
        ("other", {"kind": "c"}, "'other.kind' must be 'a' or 'b', but is 'c'."),
        ("nmae", 3, "no field of Outer 'nmae'. Did you mean 'name'?"),
    ],
)
def test_an_error_names_the_field_and_what_was_expected(name, value, expected):
    with pytest.raises(ConfigError) as caught:
        from_json(Outer, {name: value})
    assert expected in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, "text", [1], ["name"]])
def test_a_config_must_be_a_json_object(value):
    with pytest.raises(ConfigError, match="Outer must be a JSON object"):
        from_json(Outer, value)


# Settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-3", 0.001),
        ("true", True),
        ("False", False),
        ("none", None),
        ("NULL", None),
        ("[1, 2]", [1, 2]),
        ("(1, 2)", (1, 2)),
        ("[true,false]", [True, False]),
        ("[True,False]", [True, False]),
        ('{"a": [1]}', {"a": [1]}),
        ("'3'", "3"),
        ('"3"', "3"),
        ("vinyals/train", "vinyals/train"),
        ("bf16-mixed", "bf16-mixed"),
        ("", ""),
        ("[1,", "[1,"),
        ("{[]: 1}", "{[]: 1}"),
        ("os.getcwd()", "os.getcwd()"),
    ],
)
def test_a_text_is_parsed_as_a_value(text, value):
    assert parse_literal(text) == value
    assert type(parse_literal(text)) is type(value)


@given(json_values)
def test_every_json_value_is_parsed(value):
    assert parse_literal(json.dumps(value)) == value


@given(st.text())
def test_no_text_raises_an_error(text):
    parse_literal(text)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], Outer()),
        (["name=y", "on=true"], Outer(name="y", on=True)),
        (["name = y "], Outer(name="y")),
        (["name=a=b"], Outer(name="a=b")),
        (["widths=[4,5,6]"], Outer(widths=(4, 5, 6))),
        (["maybe=none"], Outer(maybe=None)),
        (["maybe=3"], Outer(maybe=3.0)),
        (["depth=7"], Outer(inner=Inner(depth=7))),
        (["inner.depth=7", "inner.shared=2"], Outer(inner=Inner(7, 2.0))),
        (["other.shared=2"], Outer(other=Other(shared=2.0))),
        (['inner={"depth": 7}'], Outer(inner=Inner(depth=7))),
        (['part={"size": 7}'], Outer(part=Part(size=7))),
        (["part.size=7"], Outer(part=Part(size=7))),
        (["size=7", "part.ratio=2"], Outer(part=Part(size=7, ratio=2.0))),
        (["part.on=true"], Outer(part=Part(on=True))),
        (["depth=7", "depth=8"], Outer(inner=Inner(depth=8))),
        (["kind=b"], Outer(other=Other(kind="b"))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_change_their_fields_only(settings, expected):
    config = Outer()
    assert with_settings(config, settings) == expected
    assert config == Outer(), "the old config stays as it is"


def test_an_optional_config_is_changed_where_there_is_one():
    config = Outer(part=Part(size=7))
    assert with_settings(config, ["ratio=2"]) == Outer(part=Part(size=7, ratio=2.0))
    assert with_settings(config, ["part=none"]) == Outer()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["on"], "must read field=value, but is 'on'"),
        (["nmae=x"], "no field 'nmae'. Did you mean 'name'?"),
        (["dpth=3"], "no field 'dpth'. Did you mean 'depth'?"),
        (["inner.dpth=3"], "no field 'dpth'. Did you mean 'depth'?"),
        (["name.first=3"], "no field 'first'. Known: name, on, widths"),
        (["part.sizes=3"], "no field 'sizes'. Did you mean 'size'?"),
        (["=3"], "no field ''"),
        (["depth=deep"], "'inner.depth' must be a whole number, but is 'deep'."),
        (["part.size=none"], "'part.size' must be a whole number, but is None."),
        (["inner=3"], "'inner' must be a JSON object with the fields of Inner, but is 3."),
        (["inner=3", "depth=3"], "'inner' must be a JSON object, but is 3."),
        (["part=none", "part.size=3"], "'part' must be a JSON object, but is None."),
        (['inner={"dpth": 3}'], "no field of Inner 'dpth'. Did you mean 'depth'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_settings_are_refused(settings, expected):
    with pytest.raises(ConfigError) as caught:
        with_settings(Outer(), settings)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("on", "on"),  # The shortest of on and part.on.
        ("part.on", "part.on"),
        ("size", "part.size"),
        ("inner.shared", "inner.shared"),
    ],
)
def test_a_name_means_the_shortest_path_that_ends_in_it(name, path):
    assert resolve_path(Outer(), name) == path


def test_a_name_with_several_shortest_paths_is_refused_with_all_of_them():
    with pytest.raises(ConfigError) as caught:
        with_settings(Outer(), ["shared=3"])
    message = "There are several fields 'shared'; use 'inner.shared' or 'other.shared'."
    assert str(caught.value) == message


def test_fields_that_must_agree_change_together():
    assert with_settings(Nest(), ["low=5", "high=9"]) == Nest(Checked(5, 9))
    with pytest.raises(ConfigError, match="must be below 'high', but is 5"):
        with_settings(Nest(), ["low=5"])


# Training runs


def test_settings_of_a_whole_run():
    run: Run = with_settings(
        RECIPES["omniglot"](),
        [
            *("way=7", "validation.way=6", "context.length=8", "detectors=3"),
            "embedding.pooled=[true,true,true,false,false]",
            *("train.jitter.degrees=3", "jitter.thicken=0.5"),
        ],
    )
    before = RECIPES["omniglot"]()
    assert before.train.jitter is not None
    jitter = dataclasses.replace(before.train.jitter, degrees=3.0, thicken=0.5)
    validation = dataclasses.replace(before.train.validation, way=6)
    assert run.train == dataclasses.replace(
        before.train, way=7, jitter=jitter, validation=validation
    )
    pooled = (True, True, True, False, False)
    assert run.config == dataclasses.replace(
        before.config,
        embedding=dataclasses.replace(before.config.embedding, pooled=pooled),
        context=dataclasses.replace(before.config.context, length=8),
        conditioning=ClassConditioningConfig(detectors=3),
    )
    no_jitter = with_settings(run, ["jitter=none", "task_jitter=none"])
    assert (no_jitter.train.jitter, no_jitter.train.task_jitter) == (None, None)


@pytest.mark.parametrize(
    ("setting", "paths"),
    [
        ("pooled=false", ["config.embedding.pooled", "config.context.pooled"]),
        ("widths=[8]", ["config.embedding.widths", "config.target.widths"]),
        ("degrees=3", ["train.jitter.degrees", "train.task_jitter.degrees"]),
    ],
)
def test_ambiguous_settings_of_a_run_are_refused(setting, paths):
    with pytest.raises(ConfigError, match="There are several fields") as caught:
        with_settings(RECIPES["omniglot"](), [setting])
    for path in paths:
        assert f"'{path}'" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 0}, "'steps' must be positive, but is 0"),
        ({"save_every": 0}, "'save_every' must be positive, but is 0"),
        ({"log_every": 0}, "'log_every' must be positive, but is 0"),
        ({"same_group_fraction": 1.5}, "'same_group_fraction' must be 0 to 1, but is 1.5"),
        ({"seed": -1}, "'seed' must be 0 or more, but is -1"),
        ({"shot": 4, "max_shot": 3}, "'max_shot' must be at least 'shot', 4, but is 3"),
        ({"way": 3, "min_way": 4}, "'min_way' must be 2 to 'way', 3, but is 4"),
        ({"way": 3, "min_way": 1}, "'min_way' must be 2 to 'way', 3, but is 1"),
        ({"jitter": None, "task_jitter": Jitter()}, "'task_jitter' must be None where 'jitter' is"),
        ({"way": 1}, "'way' must be at least 2, but is 1"),
        ({"tasks": 0}, "'tasks' must be at least 1, but is 0"),
    ],
)
def test_wrong_training_configs_are_refused(fields, expected):
    with pytest.raises((ConfigError, EpisodeError), match=expected):
        TrainConfig(**fields)


def test_way_and_shot_of_a_step_are_drawn_from_their_ranges() -> None:
    config = TrainConfig(way=4, min_way=2, shot=1, max_shot=3)
    generator = torch.Generator().manual_seed(0)
    shapes = [config.draw_shape(generator) for _ in range(200)]
    assert {(shape.way, shape.shot) for shape in shapes} == {
        (way, shot) for way in (2, 3, 4) for shot in (1, 2, 3)
    }
    fixed = TrainConfig(way=4, shot=2)
    assert fixed.draw_shape(generator) == fixed.shape


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"learning_rate": -1.0}, "'learning_rate' must be positive, but is -1.0"),
        ({"clip": 0.0}, "'clip' must be positive, but is 0.0"),
        ({"warmup": -1}, "'warmup' must be 0 or more, but is -1"),
        ({"weight_decay": -0.1}, "'weight_decay' must be 0 or more, but is -0.1"),
    ],
)
def test_wrong_optimizer_configs_are_refused(fields, expected):
    with pytest.raises(ConfigError, match=expected):
        OptimizerConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"episodes": 1}, "'episodes' must be at least 2, but is 1"),
        ({"every": 0}, "'every' must be positive, but is 0"),
        ({"way": 1}, "'way' must be at least 2, but is 1"),
        ({"query": 0}, "'query' must be at least 1, but is 0"),
    ],
)
def test_wrong_validation_configs_are_refused(fields, expected):
    with pytest.raises((ConfigError, EpisodeError), match=expected):
        ValidationConfig(**fields)


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("steps=0", "train.steps", "0"),
        ("learning_rate=-1", "train.optimizer.learning_rate", "-1.0"),
        ("way=1", "train.way", "1"),
        ("validation.way=1", "train.validation.way", "1"),
        ("episodes=1", "train.validation.episodes", "1"),
        ("seed=x", "train.seed", "'x'"),
        ("embedding.pooled=[true]", "config.embedding.pooled", "(True,)"),
        ("context.pooled=[true]", "config.context.pooled", "(True,)"),
        ("target.widths=[0]", "config.target.widths", "(0,)"),
        ("alignment.power=2", "config.embedding.alignment.power", "2.0"),
    ],
)
def test_a_wrong_setting_of_a_run_is_named_by_its_whole_path(setting, path, value):
    message = rf"'{path}' must be [^.]*, but is {re.escape(value)}\."
    with pytest.raises((ConfigError, EpisodeError), match=message):
        with_settings(RECIPES["omniglot"](), [setting])


def test_a_wrong_field_of_a_config_that_is_in_no_other_is_named_with_its_type():
    with pytest.raises(ConfigError, match=r"'pooled' must be .* \(a field of EmbeddingConfig\)\."):
        EmbeddingConfig((1, 8, 8), widths=(4,), pooled=())


def test_a_run_needs_a_method_and_its_own_config():
    run = RECIPES["omniglot"]()
    with pytest.raises(ConfigError, match=r"no method 'lgm'\. Did you mean 'lgm-net'"):
        dataclasses.replace(run, method="lgm")
    with pytest.raises(ConfigError, match="'config' must be a LGMNetConfig"):
        dataclasses.replace(run, config=TrainConfig())
