"""A problem of one's own: a scenario, fields of EnvConfig, a trace, as TOML or KEY=VALUE.

Tables say what differs from the scenario. A table of a dataclass, such as `deadline`, refines the
scenario's; an array or another table replaces it. Where a field may be of several kinds, such as
`workload` or `mix`, the key `type` names one. `profile` is a name, a file, or a table in the form
of one; `trace` is a file, the name of a bundled one, or days of calls per minute, with `cv` for the
latter. Places of files are meant from the folder of the file that names them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmroute_env import profiles
from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import KNOWN, TYPE, to_plain
from llmroute_env.scenarios import scenario
from llmroute_env.specs import ConfigError, Profile
from traces.errors import InputError
from traces.files import FileTrace, TraceFile
from traces.tasks import TaskMix
from traces.trace import Trace
from traces.typed import SCALARS, conform, hints_of, is_protocol, is_union, nearest, shown, words

Tables = Mapping[str, Any]

USUAL = "unpredictable-1"
"""The scenario of a problem that names none."""

ABOVE = ("scenario", "trace", "cv")
"""Keys of a problem beside the fields of EnvConfig."""

KEYS = (*ABOVE, *hints_of(EnvConfig))

NOTHING = "none"
"""How TOML says None, where a field may be that."""


def load_problem(path: str | Path) -> dict[str, Any]:
    """The problem of a TOML file, as keyword arguments of `gymnasium.make` and `make_vec`.

    Raises:
        ConfigError: no such file, no TOML, an unknown key or a value that a field does not accept.
    """
    return arguments(read_tables(path))


def read_tables(path: str | Path) -> dict[str, Any]:
    """The tables of a problem's file; places of files are meant from its folder."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        tables = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"problem {str(path)!r}: {error}; accepted: a TOML file") from error
    folder = Path(path).parent
    if isinstance(profile := tables.get("profile"), str) and profile.endswith(".toml"):
        tables["profile"] = str(folder / profile)
    if "trace" in tables:
        tables["trace"] = [
            str(folder / name) if os.path.isfile(folder / name) else name
            for name in names_of(tables["trace"])
        ]
    return tables


def names_of(traces: Any) -> tuple[str, ...]:
    """The files of a trace, one or several."""
    found = (traces,) if isinstance(traces, str) else traces
    return tuple(conform(tuple_of(found), tuple[str, ...], "trace", ConfigError))


def tuple_of(data: Any) -> Any:
    """A list as a tuple."""
    return tuple(data) if isinstance(data, list) else data


def overlaid(lower: Tables, upper: Tables) -> dict[str, Any]:
    """Tables of which those of `upper` win; a trace and a workload are in each other's place."""
    others = {"workload": ("trace", "cv"), "trace": ("workload", "cv")}
    hidden = {name for key in others.keys() & upper.keys() for name in others[key]}
    return {key: value for key, value in lower.items() if key not in hidden} | dict(upper)


def assign(tables: Tables, assignments: Sequence[str]) -> dict[str, Any]:
    """Tables in which `KEY=VALUE` are set, one after the other: dotted keys, values as in TOML.

    A word that is no value of TOML is a text, as shells take quotes away.

    Raises:
        ConfigError: no such assignment.
    """
    changed = dict(tables)
    for text in assignments:
        path, value = assignment(text)
        top: dict[str, Any] = {path[0]: value}
        if path[1:]:
            top[path[0]] = placed(changed.get(path[0]), path[1:], value)
        changed = overlaid(changed, top)
    return changed


def placed(table: Any, path: Sequence[str], value: Any) -> dict[str, Any]:
    """A table in which `value` stands at `path`."""
    before = dict(table) if isinstance(table, Mapping) else {}
    name = path[0]
    before[name] = value if not path[1:] else placed(before.get(name), path[1:], value)
    return before


WORD = re.compile(r"[^\s\"'\[\]{}#=,]+")


def assignment(text: str) -> tuple[tuple[str, ...], Any]:
    """The keys and the value of `KEY=VALUE`."""
    key, found, value = text.partition("=")
    refused = ConfigError(
        f"--set: got {shown(text)}; accepted: KEY=VALUE as in TOML, such as shed_expired=false, "
        "deadline.deadline_s=0.5 or 'max_batch.\"opt-6.7b\"=8'"
    )
    if not found or "\n" in text or "\r" in text:
        raise refused
    try:
        path = list[str]()
        inner: Any = tomllib.loads(f"{key} = 0")
        while isinstance(inner, dict):
            ((name, inner),) = inner.items()
            path.append(name)
        return tuple(path), value_of(value.strip())
    except (ValueError, RecursionError) as error:
        raise refused from error


def value_of(text: str) -> Any:
    """A value as TOML writes it, or a word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if WORD.fullmatch(text):
            return text
        raise


def arguments(tables: Tables, base: EnvConfig | None = None) -> dict[str, Any]:
    """The keyword arguments of `gymnasium.make` that tables stand for: scenario and fields.

    `base` is what tables refine, if not the scenario's configuration.

    Raises:
        ConfigError: an unknown key, or a value that a field does not accept.
    """
    for key, value in tables.items():
        check_key(key, KEYS, value, "")
    chosen = {"scenario": tables["scenario"]} if "scenario" in tables else {}
    usual = base or scenario(chosen.get("scenario", USUAL)).config
    hints = hints_of(EnvConfig)
    fields = {
        key: build(value, hints[key], getattr(usual, key), key)
        for key, value in tables.items()
        if key not in ABOVE
    }
    fields |= trace_fields(tables, fields, usual)
    dataclasses.replace(usual, **fields)
    return chosen | fields


def check_key(key: str, known: Sequence[str], value: Any, where: str) -> None:
    """Raise a ConfigError that names the nearest key for one that is unknown."""
    if key not in known:
        accepted = f"{nearest(key, known)}accepted: {', '.join(known)}"
        raise ConfigError(f"{where}{key}: got {shown(value)}, which is not a setting; {accepted}")


def trace_fields(tables: Tables, fields: Tables, base: EnvConfig) -> dict[str, Any]:
    """`workload`, and `load` where none is given: a trace keeps its own rate."""
    if "trace" not in tables:
        if "cv" in tables:
            raise ConfigError(f"cv: got {shown(tables['cv'])}; accepted: with a trace of counts")
        return {}
    if "workload" in tables:
        raise ConfigError(f"trace: got {shown(tables['trace'])}; accepted: without a workload")
    config = dataclasses.replace(base, **{k: v for k, v in fields.items() if k != "load"})
    cv = build(tables["cv"], float | None, None, "cv") if "cv" in tables else None
    mix = None if config.mix == TaskMix() else config.mix
    names, seed = names_of(tables["trace"]), config.workload_seed
    try:
        trace = TraceFile(names, cv, mix, config.tasks, seed).open()
    except InputError as error:
        raise ConfigError(str(error)) from error
    return {"workload": trace} | ({} if "load" in fields else {"load": None})


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


def to_tables(config: EnvConfig) -> dict[str, Any]:
    """All fields of an environment as TOML has them; `arguments` makes the same fields of it."""
    tables = {name: to_table(getattr(config, name), name) for name in hints_of(EnvConfig)}
    if isinstance(config.workload, FileTrace) and config.workload.is_whole:
        del tables["workload"]
        file = config.workload.file
        tables |= {"trace": list(file.paths)} | ({} if file.cv is None else {"cv": file.cv})
    return tables


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


def options_of(fields: Tables) -> list[str] | None:
    """Options of the command line that say fields, given as plain data (serialization.to_plain).

    None if they cannot: a profile of one's own and a trace that is no file's have no short name.
    """
    words_: list[str] = []
    for name, data in fields.items():
        kind = data.get(TYPE) if isinstance(data, dict) else None
        if kind == TraceFile.__name__:
            words_ += ["--trace", *data["paths"]]
            words_ += [] if data["cv"] is None else ["--cv", f"{data['cv']}"]
        elif kind in (Profile.__name__, Trace.__name__) or (
            isinstance(data, dict) and "repr" in data
        ):
            return None
        elif name == "profile" or (name == "load" and isinstance(data, (int, float))):
            words_ += [f"--{name}", str(data)]
        else:
            words_ += ["--set", f"{name}={toml(plain_table(data))}"]
    return words_


def toml(data: Any) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(data, dict):
        return f"{{{', '.join(f'{json.dumps(k)} = {toml(v)}' for k, v in data.items())}}}"
    if isinstance(data, list):
        return f"[{', '.join(map(toml, data))}]"
    return repr(data) if isinstance(data, float) else json.dumps(data)
