"""Configurations as plain JSON data and back, without pickle.

A dataclass becomes an object whose `$type` names its class, a tuple a list, an array its bytes. All
fields are written, so that data written today keeps its meaning when a default changes; but for
those that were added later (config.LATER), which older data does not know. Of a trace that is a
file's, the file's name and the sha256 of its content stand for the requests.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env import config as config_module
from llmroute_env import engine_specs, failure_specs, signal_specs, specs
from llmroute_env.config import EnvConfig
from llmroute_env.specs import ConfigError
from traces import files, lengths, tasks, trace, workloads
from traces.files import FileTrace, TraceFile

TYPE = "$type"

OURS = (config_module, specs, engine_specs, failure_specs, signal_specs)

KNOWN: dict[str, type[Any]] = {
    cls.__name__: cls
    for module in (*OURS, workloads, lengths, tasks, trace, files)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and dataclasses.is_dataclass(cls)
}
"""Dataclasses that may be written and read; a workload recipe of your own can be added."""


def to_plain(value: Any, where: str = "config") -> Any:
    """`value` as data that JSON can hold: dataclasses of KNOWN, tuples, mappings, arrays, numbers.

    Raises:
        ConfigError: something else, named by its place below `where`.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.generic)):
        return _plain_number(value, where)
    if isinstance(value, np.ndarray):
        return {TYPE: "array", **pack(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, Mapping) and TYPE not in value:
        return {str(key): to_plain(entry, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(value, FileTrace):
        return to_plain(value.file if value.is_whole else as_trace(value), where)
    if KNOWN.get(type(value).__name__) is not type(value):
        raise ConfigError(f"{where}: got {value!r}; accepted as JSON: {', '.join(KNOWN)}")
    names = [field.name for field in dataclasses.fields(value) if is_written(field, value)]
    entries = {name: to_plain(getattr(value, name), f"{where}.{name}") for name in names}
    return {TYPE: type(value).__name__, **entries}


def as_trace(value: trace.Trace) -> trace.Trace:
    """The requests, without the file that they were read from."""
    names = [field.name for field in dataclasses.fields(trace.Trace)]
    return trace.Trace(**{name: getattr(value, name) for name in names})


def is_written(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field of `value` is: all are, but those added later that have their default."""
    if not field.metadata:
        return True
    factory = field.default_factory
    usual = field.default if factory is dataclasses.MISSING else factory()
    return bool(getattr(value, field.name) != usual)


def _plain_number(value: float | np.generic, where: str) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float) and not math.isfinite(number):
        return {TYPE: "float", "value": repr(number)}
    return number if isinstance(number, float) else to_plain(number, where)


def from_plain(data: Any, where: str = "config") -> Any:
    """The value that `to_plain` made `data` from; fields left out take their defaults.

    Raises:
        ConfigError: an unknown type or field, or a value that a field does not accept.
    """
    if isinstance(data, list):
        return tuple(from_plain(entry, f"{where}[{i}]") for i, entry in enumerate(data))
    if not isinstance(data, dict):
        return data
    fields = {k: from_plain(v, f"{where}.{k}") for k, v in data.items() if k != TYPE}
    return fields if TYPE not in data else _build(data[TYPE], fields, where)


def _build(name: Any, fields: dict[str, Any], where: str) -> Any:
    try:
        if name == "float":
            return float(fields["value"])
        if name == "array":
            return unpack(fields)
        if name == TraceFile.__name__:
            return TraceFile(**fields).open()
        return _known(name, where)(**fields)
    except ConfigError:
        raise
    except (TypeError, ValueError, KeyError, binascii.Error, zlib.error) as error:
        raise ConfigError(f"{where}: {name} cannot be read: {error}") from error


def _known(name: Any, where: str) -> type[Any]:
    if name not in KNOWN:
        raise ConfigError(f"{where} {TYPE}: got {name!r}; accepted: {', '.join(KNOWN)}")
    return KNOWN[name]


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """An array of numbers, or of records of numbers, as text that keeps every bit."""
    records = array.dtype.names is not None
    dtype = array.dtype.descr if records else array.dtype.newbyteorder("<").str
    bytes_ = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(bytes_, 9)).decode("ascii")
    return {"dtype": dtype, "shape": list(array.shape), "zlib": text}


def unpack(data: Mapping[str, Any]) -> NDArray[Any]:
    """The array that `pack` made `data` from.

    Raises:
        ValueError: objects instead of numbers, or bytes that do not fit the shape.
    """
    named = data["dtype"]
    dtype = np.dtype(named if isinstance(named, str) else [tuple(entry) for entry in named])
    if dtype.hasobject:
        raise ValueError(f"dtype: got {named!r}; accepted: numbers")
    raw = zlib.decompress(base64.b64decode(data["zlib"], validate=True))
    return np.frombuffer(raw, dtype).reshape(tuple(data["shape"])).copy()


def read_config(data: Any, where: str = "config") -> EnvConfig:
    """The EnvConfig that `to_plain` made `data` from.

    Raises:
        ConfigError: it is none.
    """
    config = from_plain(data, where)
    if not isinstance(config, EnvConfig):
        raise ConfigError(f"{where}: got {type(config).__name__}; accepted: an EnvConfig")
    return config


def canonical(data: Any) -> bytes:
    """Plain data as JSON text of which there is only one spelling."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


def config_sha256(config: EnvConfig) -> str:
    """Fingerprint of a configuration, with the figures of its profile rather than its name."""
    profile = config.resolved_profile
    pools = tuple(dataclasses.replace(p, gpu=profile.gpu(p.gpu).name) for p in config.pools)
    resolved = dataclasses.replace(config, profile=profile, pools=pools)
    # Load 2 and load 2.0 are equal configurations.
    numbers_alike = json.loads(canonical(anywhere(to_plain(resolved))), parse_int=float)
    return hashlib.sha256(canonical(numbers_alike)).hexdigest()


def anywhere(data: Any) -> Any:
    """Plain data without the places of files, which their content names better."""
    if isinstance(data, list):
        return [anywhere(entry) for entry in data]
    if not isinstance(data, dict):
        return data
    left_out = ("paths",) if data.get(TYPE) == TraceFile.__name__ else ()
    return {key: anywhere(entry) for key, entry in data.items() if key not in left_out}


def trace_sha256(recorded: trace.Trace) -> str:
    """Fingerprint of the requests of a trace: arrivals, tasks and tokens, not where it is from."""
    digest = hashlib.sha256(canonical([list(recorded.tasks), recorded.span_s]))
    for name in ("arrival_s", "task", "prompt_tokens", "output_tokens"):
        array = getattr(recorded, name)
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
