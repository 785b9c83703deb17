"""Configs are frozen dataclasses; this module reads them from JSON and from ``field=value``."""

import ast
import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from lgmnet.errors import ConfigError, EpisodeError, unknown_name_error

C = TypeVar("C")


FIELD_ERROR = re.compile(r"'([\w.]+)' (must be .*?)(?: \(a field of \w+\))?\.", re.DOTALL)
"""Message about a field: its path, the problem, and the config's type if it is in no other."""


@contextmanager
def inside(field: str) -> Iterator[None]:
    """Put the name of a field before the names in errors about the config that it holds."""
    try:
        yield
    except (ConfigError, EpisodeError) as error:
        match = FIELD_ERROR.fullmatch(str(error))
        if match is None:
            raise
        path, problem = match.groups()
        raise type(error)(f"'{field}.{path}' {problem}.") from error


def require(config: Any, field: str, holds: bool, expected: str) -> None:
    """Check that a field of a config has an allowed value.

    Args:
        config: Config that has the field.
        field: Name of the field.
        holds: False if the value is not allowed.
        expected: Allowed values, as the end of "must be ...".

    Raises:
        ConfigError: naming the field, what was expected and what came.
    """
    if not holds:
        owner, value = type(config).__name__, getattr(config, field)
        raise ConfigError(f"'{field}' must be {expected}, but is {value!r} (a field of {owner}).")


def from_json(config_type: type[C], values: Any) -> C:
    """Build a config from a JSON object; absent fields keep their defaults.

    A config type may have a static method ``upgrade``, which gets the values first and brings
    fields of earlier versions to their present names.

    Raises:
        ConfigError: if a field is unknown or a value has the wrong type; names the field.
    """
    hints = typing.get_type_hints(config_type)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{config_type.__name__} must be a JSON object, but is {values!r}.")
    if upgrade := getattr(config_type, "upgrade", None):
        values = upgrade(values)
    for name in values:
        if name not in hints:
            raise unknown_name_error(f"field of {config_type.__name__}", name, hints)
    return config_type(**{name: coerce(name, value, hints[name]) for name, value in values.items()})


def with_settings(config: C, settings: Iterable[str]) -> C:
    """Copy a config with ``field=value`` settings.

    A field of a nested config is named by the end of its path: ``length=64`` or
    ``context.length=64`` both set ``config.context.length``. If several paths end alike, the
    shortest is meant. All settings are made at once, so fields that must agree can change together.

    Raises:
        ConfigError: if a setting has no ``=``, its field is unknown or ambiguous, or its value is
            wrong; names the setting.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"A setting must read field=value, but is '{setting}'.")
        *parents, field = resolve_path(config, name.strip()).split(".")
        level = changes
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise ConfigError(f"'{parent}' must be a JSON object, but is {level!r}.")
        level[field] = parse_literal(text.strip())
    return cast(C, _replace_nested(config, changes))


def resolve_path(config: Any, name: str) -> str:
    """Find the full path of a field from the end of its path.

    Raises:
        ConfigError: if there is no such field, or several whose paths are equally short.
    """
    paths = [*_field_paths(config)]
    matches = [path for path in paths if f".{path}".endswith(f".{name}")]
    if not matches:
        fields = dict.fromkeys(path.split(".")[-1] for path in paths)
        raise unknown_name_error("field", name.rsplit(".", maxsplit=1)[-1], fields)
    depth = min(path.count(".") for path in matches)
    shortest = [path for path in matches if path.count(".") == depth]
    if len(shortest) > 1:
        choices = " or ".join(map(repr, shortest))
        raise ConfigError(f"There are several fields '{name}'; use {choices}.")
    return shortest[0]


def parse_literal(text: str) -> Any:
    """Parse a Python or JSON value (1e-3, true, none, [1, 2]); other text stays text."""
    if text.lower() in ("true", "false", "none", "null"):
        text = text.lower().replace("none", "null")
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError):
            pass
    return text


def coerce(name: str, value: Any, hint: Any) -> Any:
    """Convert a value to the type of a field: lists become tuples, 1 becomes 1.0.

    Raises:
        ConfigError: if it cannot be converted; names the field, what was expected and what came.
    """
    if hint is Any:
        return value
    wrong = ConfigError(f"'{name}' must be {_describe_type(hint)}, but is {value!r}.")
    origin, args, is_bool = typing.get_origin(hint), typing.get_args(hint), isinstance(value, bool)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return coerce(name, value, _not_none(hint))
    if origin is typing.Literal:
        if value in args:
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            kinds = args[:1] * len(value) if args[-1] is ... else args
            if len(value) == len(kinds):
                return tuple(coerce(name, v, kind) for v, kind in zip(value, kinds, strict=True))
    elif origin is dict:
        if isinstance(value, Mapping):
            return dict(value)
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            with inside(name):
                return from_json(hint, value)
    elif hint is float:
        if isinstance(value, (int, float)) and not is_bool:
            with suppress(OverflowError):  # A whole number of 400 digits has no float.
                if math.isfinite(value):
                    return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool) == is_bool:
        return value
    raise wrong


def _not_none(hint: Any) -> Any:
    """Strip None from an optional type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _field_paths(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted paths of all fields, also of optional configs that are None."""
    config_type = config if isinstance(config, type) else type(config)
    for name, hint in typing.get_type_hints(config_type).items():
        if isinstance(hint, type(typing.ClassVar)) or typing.get_origin(hint) is typing.ClassVar:
            continue
        yield f"{prefix}{name}"
        value = None if isinstance(config, type) else getattr(config, name)
        nested = value if value is not None else _not_none(hint)
        if dataclasses.is_dataclass(nested):
            yield from _field_paths(nested, f"{prefix}{name}.")


def _replace_nested(config: Any, changes: Mapping[str, Any]) -> Any:
    """Copy a config with nested changes."""
    hints = typing.get_type_hints(type(config))
    for name in changes:
        if name not in hints:
            raise unknown_name_error(f"field of {type(config).__name__}", name, hints)
    values: dict[str, Any] = {}
    for name, change in changes.items():
        if isinstance(change, dict) and dataclasses.is_dataclass(getattr(config, name)):
            with inside(name):
                values[name] = _replace_nested(getattr(config, name), change)
        else:
            values[name] = coerce(name, change, hints[name])
    return dataclasses.replace(config, **values)


def _describe_type(hint: Any) -> str:
    """Describe a type in words for error messages."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    names[type(None)] = "none"
    if hint in names:
        return names[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe_type(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(f"'{arg}'" for arg in args)
    if origin is tuple:
        length = "" if args[-1] is ... else f" of {len(args)}"
        return f"a list{length} such as [a, b], each of them {_describe_type(args[0])}"
    return f"a JSON object with the fields of {getattr(hint, '__name__', hint)}"
