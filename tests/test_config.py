"""Configs: through JSON and back, and ``field=value`` settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.config import coerce, from_json, literal, with_settings
from lgmnet.errors import ConfigError
from lgmnet.experiments.recipes import RECIPES
from lgmnet.training.config import Run, TrainConfig


@dataclass(frozen=True)
class Inner:
    depth: int = 1
    shared: float = 0.5


@dataclass(frozen=True)
class Other:
    shared: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    on: bool = False
    widths: tuple[int, ...] = (1, 2)
    pair: tuple[float, bool] = (0.5, True)
    maybe: float | None = 1.0
    perhaps: Inner | None = None
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
inners = st.builds(Inner, numbers, finite)
outers = st.builds(
    Outer,
    st.text(),
    st.booleans(),
    st.lists(numbers).map(tuple),
    st.tuples(finite, st.booleans()),
    st.none() | finite,
    st.none() | inners,
    st.dictionaries(st.text(), numbers),
    inners,
    st.builds(Other, finite, st.sampled_from(["a", "b"])),
)


@given(outers)
def test_a_config_survives_json(config):
    text = json.dumps(dataclasses.asdict(config))
    assert from_json(Outer, json.loads(text)) == config


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_survives_json(recipe):
    run = RECIPES[recipe]()
    for config in (run.config, run.train):
        text = json.dumps(dataclasses.asdict(config))
        assert from_json(type(config), json.loads(text)) == config
        assert hash(from_json(type(config), json.loads(text))) == hash(config)


def test_absent_fields_keep_their_defaults():
    assert from_json(Outer, {"on": True}) == Outer(on=True)


def test_a_whole_number_serves_as_a_number():
    assert type(coerce("f", 1, float)) is float


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
        ("inner", 3, "'inner' must be"),
        ("inner", None, "'inner' must be"),
        ("inner", {"dept": 3}, "no field of Inner 'dept'. Did you mean 'depth'?"),
        ("inner", {"depth": "deep"}, "'depth' must be a whole number, but is 'deep'."),
        ("other", {"kind": "c"}, "'kind' must be 'a' or 'b', but is 'c'."),
        ("nmae", 3, "no field of Outer 'nmae'. Did you mean 'name'?"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name, value, expected):
    with pytest.raises(ConfigError) as caught:
        from_json(Outer, {name: value})
    assert expected in str(caught.value)


@pytest.mark.parametrize("junk", [None, 3, "text", [1], ["name"]])
def test_what_is_no_object_is_no_config(junk):
    with pytest.raises(ConfigError, match="Outer must be a JSON object"):
        from_json(Outer, junk)


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
def test_a_text_spells_a_value(text, value):
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@given(st.text())
def test_any_text_spells_something(text):
    literal(text)


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
        (['perhaps={"depth": 7}'], Outer(perhaps=Inner(depth=7))),
        (["depth=7", "depth=8"], Outer(inner=Inner(depth=8))),
        (["kind=b"], Outer(other=Other(kind="b"))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings(settings, expected):
    config = Outer()
    assert with_settings(config, settings) == expected
    assert config == Outer(), "the old config stays as it was"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["on"], "must read field=value, but is 'on'"),
        (["nmae=x"], "no field 'nmae'. Did you mean 'name'?"),
        (["dpth=3"], "no field 'dpth'. Did you mean 'depth'?"),
        (["inner.dpth=3"], "no field 'dpth'. Did you mean 'depth'?"),
        (["name.first=3"], "no field 'name.first'"),
        (["depth.er=3"], "no field 'depth.er'. Did you mean 'depth'?"),
        (["=3"], "no field ''"),
        (["depth=deep"], "'depth' must be a whole number, but is 'deep'."),
        (["inner=3"], "'inner' must be"),
        (["inner=3", "depth=3"], "'inner' must be a JSON object, but is 3."),
        (['inner={"dpth": 3}'], "no field of Inner 'dpth'. Did you mean 'depth'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ConfigError) as caught:
        with_settings(Outer(), settings)
    assert words in str(caught.value)


def test_a_field_of_two_configs_is_named_with_both_paths():
    """Which one is meant cannot be guessed, so the error must tell how to say it."""
    with pytest.raises(ConfigError) as caught:
        with_settings(Outer(), ["shared=3"])
    assert "inner.shared" in str(caught.value)
    assert "other.shared" in str(caught.value)


def test_fields_that_must_agree_change_together():
    assert with_settings(Nest(), ["low=5", "high=9"]) == Nest(Checked(5, 9))
    with pytest.raises(ConfigError, match="'low' must be below 'high', but is 5"):
        with_settings(Nest(), ["low=5"])


def test_settings_of_a_whole_run():
    run: Run = with_settings(
        RECIPES["omniglot"](),
        [
            *("way=7", "context=8", "embedding_pooled=[true,true,true,false,false]"),
            *("train.jitter.degrees=3", "jitter.thicken=0.5"),
        ],
    )
    before = RECIPES["omniglot"]()
    assert before.train.jitter is not None
    jitter = dataclasses.replace(before.train.jitter, degrees=3.0, thicken=0.5)
    assert run.train == dataclasses.replace(before.train, way=7, jitter=jitter)
    assert run.config == dataclasses.replace(
        before.config, context=8, embedding_pooled=(True, True, True, False, False)
    )
    assert with_settings(run, ["jitter=none"]).train.jitter is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "'steps' must be positive"),
        ({"warmup": -1}, "'warmup' must not be negative"),
        ({"same_group_fraction": 1.5}, "'same_group_fraction' must be a part, 0 to 1"),
        ({"val_episodes": 1}, "'val_episodes' must be at least 2"),
    ],
)
def test_a_train_config_that_cannot_be(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**settings)


def test_a_run_of_no_method_or_a_foreign_config():
    run = RECIPES["omniglot"]()
    with pytest.raises(ConfigError, match=r"no method 'lgm'\. Did you mean 'lgm-net'"):
        dataclasses.replace(run, method="lgm")
    with pytest.raises(ConfigError, match="'config' must be a LGMNetConfig"):
        dataclasses.replace(run, config=TrainConfig())
