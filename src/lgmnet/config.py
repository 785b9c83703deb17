"""Configs are frozen dataclasses; here they come from JSON and take ``field=value`` settings."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from lgmnet.errors import ConfigError, unknown_name

C = TypeVar("C")


def from_json(kind: type[C], values: Any) -> C:
    """The config of class ``kind`` that a JSON object describes; absent fields keep their defaults.

    Raises:
        ConfigError: naming an unknown field, or one whose value has the wrong type.
    """
    hints = typing.get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{kind.__name__} must be a JSON object, but is {values!r}.")
    for name in values:
        if name not in hints:
            raise unknown_name(f"field of {kind.__name__}", name, hints)
    return kind(**{name: coerce(name, value, hints[name]) for name, value in values.items()})


def with_settings(config: C, settings: Iterable[str]) -> C:
    """A copy with ``field=value`` settings; fields of configs inside it are named by themselves.

    A field inside may also be given by its path, as in ``config.context=64``. All settings are made
    at once, so fields that must agree can change together.

    Raises:
        ConfigError: naming a setting that has no ``=``, an unknown field, or a wrong value.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"A setting must read field=value, but is '{setting}'.")
        *parents, field = full_path(config, name.strip()).split(".")
        inside = changes
        for parent in parents:
            inside = inside.setdefault(parent, {})
            if not isinstance(inside, dict):
                raise ConfigError(f"'{parent}' must be a JSON object, but is {inside!r}.")
        inside[field] = literal(text.strip())
    return cast(C, _changed(config, changes))


def full_path(config: Any, name: str) -> str:
    """The path of a field that is named by itself or by its path.

    Raises:
        ConfigError: if there is no such field, or several inside.
    """
    hints = typing.get_type_hints(type(config))
    head, dot, rest = name.partition(".")
    inner = {n: c for n in hints if dataclasses.is_dataclass(c := getattr(config, n))}
    if dot and head in inner:
        return f"{head}.{full_path(inner[head], rest)}"
    if not dot and head in hints:
        return name
    owners = [n for n, c in inner.items() if head in typing.get_type_hints(type(c))]
    if len(owners) == 1:
        return f"{owners[0]}.{full_path(inner[owners[0]], name)}"
    if owners:
        paths = " or ".join(f"'{owner}.{name}'" for owner in owners)
        raise ConfigError(f"There are several fields '{name}'; say {paths}.")
    known = [n for n in hints if n not in inner]
    known += [f for c in inner.values() for f in typing.get_type_hints(type(c))]
    raise unknown_name("field", name, known)


def literal(text: str) -> Any:
    """The Python or JSON value that a text spells (1e-3, true, none, [1, 2]), else the text."""
    if text.lower() in ("true", "false", "none", "null"):
        text = text.lower().replace("none", "null")
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError):
            pass
    return text


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type that a field asks for: lists become tuples, 1 becomes 1.0.

    Raises:
        ConfigError: naming the field, what it expects and what came.
    """
    if hint is Any:
        return value
    wrong = ConfigError(f"'{name}' must be {_spell(hint)}, but is {value!r}.")
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return coerce(name, value, next(a for a in args if a is not type(None)))
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
            return from_json(hint, value)
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == (type(value) is bool)
    ):
        return value
    raise wrong


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of ``config`` with nested changes."""
    hints = typing.get_type_hints(type(config))
    for name in changes:
        if name not in hints:
            raise unknown_name(f"field of {type(config).__name__}", name, hints)
    values = {
        name: _changed(getattr(config, name), change)
        if isinstance(change, dict) and dataclasses.is_dataclass(getattr(config, name))
        else coerce(name, change, hints[name])
        for name, change in changes.items()
    }
    return dataclasses.replace(config, **values)


def _spell(hint: Any) -> str:
    """A type as a person would say it."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    names[type(None)] = "none"
    if hint in names:
        return names[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spell(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(f"'{arg}'" for arg in args)
    if origin is tuple:
        length = "" if args[-1] is ... else f" of {len(args)}"
        return f"a list{length} such as [a, b], each of them {_spell(args[0])}"
    return f"a {getattr(hint, '__name__', hint)} as a JSON object"
