"""A problem of one's own: a scenario, fields of EnvConfig, a trace, as TOML or KEY=VALUE.

Tables say what differs from the scenario. A table of a dataclass, such as `deadline`, refines the
scenario's; an array or another table replaces it. Where a field may be of several kinds, such as
`workload` or `mix`, the key `type` names one. `profile` is a name, a file, or a table in the form
of one; `trace` is a file, the name of a bundled one, or days of calls per minute, with `cv` for the
latter. Places of files are meant from the folder of the file that names them.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import TYPE
from llmroute_env.scenarios import USUAL, scenario
from llmroute_env.specs import ConfigError, Profile
from llmroute_env.toml_values import Tables, build, check_key, plain_table, to_table, toml
from traces.errors import InputError
from traces.files import FileTrace, TraceFile
from traces.tasks import TaskMix
from traces.trace import Trace
from traces.typed import conform, hints_of, shown

ABOVE = ("scenario", "trace", "cv")
"""Keys of a problem beside the fields of EnvConfig."""

KEYS = (*ABOVE, *hints_of(EnvConfig))


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
    if isinstance(profile, dict) and isinstance(steps := profile.get("step_times"), str):
        tables["profile"] = profile | {"step_times": str(folder / steps)}
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


def to_tables(config: EnvConfig) -> dict[str, Any]:
    """All fields of an environment as TOML has them; `arguments` makes the same fields of it."""
    tables = {name: to_table(getattr(config, name), name) for name in hints_of(EnvConfig)}
    if isinstance(config.workload, FileTrace) and config.workload.is_whole:
        del tables["workload"]
        file = config.workload.file
        tables |= {"trace": list(file.paths)} | ({} if file.cv is None else {"cv": file.cv})
    return tables


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
