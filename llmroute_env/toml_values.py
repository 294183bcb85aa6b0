"""Values of fields as TOML has them, and back: by the types that dataclasses declare."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from llmroute_env import profiles
from llmroute_env.recording.serialization import KNOWN, TYPE, to_plain
from llmroute_env.specs import ConfigError, Profile
from traces.errors import InputError
from traces.trace import Trace
from traces.typed import SCALARS, conform, hints_of, is_protocol, is_union, nearest, shown, words

Tables = Mapping[str, Any]

NOTHING = "none"
"""How TOML says None, where a field may be that."""


def build(data: Any, hint: Any, base: Any, where: str) -> Any:
    """The value of type `hint` that TOML's `data` stands for; `base` is what a table refines.

    Raises:
        ConfigError: data of another type, or a value that is not accepted.
    """
    if hint == str | Profile:
        return profile_of(data, where)
    options = typing.get_args(hint) if is_union(hint) else (hint,)
    if type(None) in options and data == NOTHING:
        return None
    for option in options:
        origin = typing.get_origin(option)
        if isinstance(data, list) and origin is tuple:
            return build_tuple(data, option, hint, where)
        if isinstance(data, dict) and origin is Mapping:
            value = typing.get_args(option)[1]
            return {k: build(v, value, None, f"{where}.{k}") for k, v in data.items()}
        if isinstance(data, dict) and kinds_of(option):
            return build_record(data, kinds_of(option), base, where)
    if isinstance(data, (list, dict)) or not any(option in SCALARS for option in options):
        raise ConfigError(f"{where}: got {shown(data)}; accepted: {described(hint)}")
    return conform(data, hint, where, ConfigError)


def build_tuple(data: list[Any], option: Any, hint: Any, where: str) -> Any:
    """A tuple of what the entries stand for."""
    entries = typing.get_args(option)
    if entries[1:] == (...,):
        entries = (entries[0],) * len(data)
    if len(entries) != len(data):
        raise ConfigError(f"{where}: got {shown(data)}; accepted: {described(hint)}")
    pairs = enumerate(zip(data, entries, strict=True))
    return tuple(build(entry, kind, None, f"{where}[{i}]") for i, (entry, kind) in pairs)


def kinds_of(hint: Any) -> dict[str, type[Any]]:
    """The dataclasses that a table may stand for where `hint` is asked for, by name."""
    if is_protocol(hint):
        asked = [name for name in vars(hint) if not name.startswith("_")]
        own = {name: kind for name, kind in KNOWN.items() if all(hasattr(kind, a) for a in asked)}
        return {name: kind for name, kind in own.items() if not issubclass(kind, Trace)}
    is_record = dataclasses.is_dataclass(hint) and not issubclass(typing.cast(Any, hint), Trace)
    return {hint.__name__: hint} if is_record else {}


def build_record(data: Tables, kinds: Mapping[str, Any], base: Any, where: str) -> Any:
    """The dataclass that a table stands for; it refines `base` if that is of the same kind."""
    usual = type(base).__name__ if type(base).__name__ in kinds else None
    name = data.get("type", usual or (next(iter(kinds)) if len(kinds) == 1 else None))
    if not isinstance(name, str) or name not in kinds:
        close = nearest(str(name), kinds)
        raise ConfigError(f"{where}.type: got {shown(name)}; {close}accepted: {', '.join(kinds)}")
    kind, hints = kinds[name], hints_of(kinds[name])
    values: dict[str, Any] = {}
    for key, entry in data.items():
        if key == "type":
            continue
        check_key(key, tuple(hints), entry, f"{where}.")
        values[key] = build(entry, hints[key], getattr(base, key, None), f"{where}.{key}")
    refined = base if type(base) is kind else None
    check_complete(kind, values, refined, where)
    try:
        return kind(**values) if refined is None else dataclasses.replace(refined, **values)
    except InputError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_complete(kind: Any, values: Tables, refined: Any, where: str) -> None:
    """Raise a ConfigError for a field without a value or a default."""
    for field in dataclasses.fields(kind):
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and refined is None and field.name not in values:
            raise ConfigError(f"{where}: lacks {field.name!r}; accepted: {described(kind)}")


def check_key(key: str, known: Sequence[str], value: Any, where: str) -> None:
    """Raise a ConfigError that names the nearest key for one that is unknown."""
    if key not in known:
        accepted = f"{nearest(key, known)}accepted: {', '.join(known)}"
        raise ConfigError(f"{where}{key}: got {shown(value)}, which is not a setting; {accepted}")


def profile_of(data: Any, where: str) -> str | Profile:
    """A shipped profile by its name, or the content of a file or a table."""
    if isinstance(data, dict):
        return profiles.of_tables(data, "of the problem")
    name = conform(data, str, where, ConfigError)
    return name if name in profiles.names() else profiles.load(name)


def described(hint: Any) -> str:
    """A type as a user of TOML reads it."""
    if hint == str | Profile:
        return "a name, a .toml file, or a table in the form of one"
    if is_union(hint):
        options = [described(option) for option in typing.get_args(hint)]
        return ", or ".join(options)
    if hint is type(None):
        return f"'{NOTHING}'"
    entries = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and entries[1:] == (...,):
        return f"an array, each entry {described(entries[0])}"
    if typing.get_origin(hint) is tuple:
        return f"an array of {len(entries)}, each {described(entries[0])}"
    if typing.get_origin(hint) is Mapping:
        return f"a table, each value {described(entries[1])}"
    kinds = kinds_of(hint)
    if len(kinds) > 1:
        return f"a table with the type {', '.join(kinds)}"
    if kinds:
        return f"a table with {', '.join(hints_of(hint))}"
    return "a trace" if hint is Trace else words(hint)


def to_table(value: Any, where: str) -> Any:
    """A value of a field as TOML has it."""
    return plain_table(to_plain(value, where))


def plain_table(data: Any) -> Any:
    """Plain data (serialization.to_plain) as TOML has it."""
    if data is None:
        return NOTHING
    if isinstance(data, list):
        return [plain_table(entry) for entry in data]
    if not isinstance(data, dict):
        return data
    if data.get(TYPE) == "float":
        return float(data["value"])
    named = {"type": data[TYPE]} if TYPE in data else {}
    return named | {key: plain_table(entry) for key, entry in data.items() if key != TYPE}


def toml(data: Any) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(data, dict):
        return f"{{{', '.join(f'{json.dumps(k)} = {toml(v)}' for k, v in data.items())}}}"
    if isinstance(data, list):
        return f"[{', '.join(map(toml, data))}]"
    return repr(data) if isinstance(data, float) else json.dumps(data)
