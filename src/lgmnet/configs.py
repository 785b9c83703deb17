"""Configs are frozen dataclasses; here they come from JSON and take ``field=value`` settings."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from lgmnet.errors import ConfigError, unknown_name

C = TypeVar("C")


def from_json(kind: type[C], values: Mapping[str, Any]) -> C:
    """The config of class ``kind`` that a JSON object describes; absent fields keep their defaults.

    Raises:
        ConfigError: naming an unknown field, or one whose value has the wrong type.
    """
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise unknown_name(f"field of {kind.__name__}", name, hints)
    return kind(**{name: coerce(name, value, hints[name]) for name, value in values.items()})


def with_settings(config: C, settings: Iterable[str]) -> C:
    """A copy with ``field=value`` settings; fields of configs inside it are named by themselves.

    A field inside may also be given by its path, as in ``method.context=64``.

    Raises:
        ConfigError: naming a setting that has no ``=``, an unknown field, or a wrong value.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"A setting must read field=value, but is '{setting}'.")
        config = _replaced(config, path.strip(), literal(text.strip()))
    return config


def literal(text: str) -> Any:
    """The Python or JSON value that a text spells (1e-3, true, none, [1, 2]), else the text."""
    words: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
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
            return tuple(coerce(name, v, args[0]) for v in value)
    elif origin is dict:
        if isinstance(value, Mapping):
            return dict(value)
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return from_json(hint, value)
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == (type(value) is bool)
    ):
        return value
    raise wrong


def _replaced(config: C, path: str, value: Any) -> C:
    """``config`` with one field, found by name or dotted path, replaced."""
    hints = typing.get_type_hints(type(config))
    head, dot, rest = path.partition(".")
    if head in hints:
        old = getattr(config, head)
        new = _replaced(old, rest, value) if dot else coerce(head, value, hints[head])
        return dataclasses.replace(config, **{head: new})  # type: ignore[type-var]
    inner = {n: c for n in hints if dataclasses.is_dataclass(c := getattr(config, n))}
    owners = [n for n, c in inner.items() if path in typing.get_type_hints(type(c))]
    if len(owners) == 1:
        return _replaced(config, f"{owners[0]}.{path}", value)
    known = [n for n in hints if n not in inner]
    known += [f for c in inner.values() for f in typing.get_type_hints(type(c))]
    raise unknown_name("field", path, known)


def _spell(hint: Any) -> str:
    """A type as a person would say it."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if hint in names:
        return names[hint]
    return str(hint).replace("typing.", "").replace("NoneType", "none").replace("None", "none")
