"""The `llmroute` command: `llmroute --help` lists what it can do."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from benchmarks.commands import (
    bench,
    combining,
    episodes,
    export,
    fidelity,
    gpu_check,
    headroom,
    latency,
    listing,
    speed,
    train,
    watch,
)
from benchmarks.commands.trace import convert, info, make
from traces.errors import InputError


class Group(NamedTuple):
    """Commands under a common first word."""

    summary: str
    commands: Mapping[str, Any]


SPEED = {
    "rates": speed.Rates,
    "scaling": speed.Scaling,
    "day": speed.Day,
    "decisions": speed.Decisions,
    "engines": speed.Engines,
    "training": speed.Training,
}

TRACE = {
    "info": info.Info,
    "convert": convert.Convert,
    "make": make.Make,
    "plot": info.Plot,
}

COMMANDS: dict[str, Any] = {
    "list": listing.List,
    "demo": train.Demo,
    "train": train.Train,
    "evaluate": episodes.Evaluate,
    "watch": watch.Watch,
    "bench": bench.Bench,
    "report": bench.Report,
    "validate": bench.Validate,
    "leaderboard": bench.Leaderboard,
    "headroom": headroom.Headroom,
    "tune": train.Tune,
    "ensemble": combining.Ensemble,
    "distill": combining.Distill,
    "export": export.Export,
    "record": episodes.Record,
    "replay": episodes.Replay,
    "timeline": episodes.Timeline,
    "speed": Group("Measure how fast simulator, decisions and trainings are.", SPEED),
    "latency": latency.Latency,
    "fidelity": fidelity.Fidelity,
    "gpu-check": gpu_check.GpuCheck,
    "trace": Group("Read, convert, synthesise and draw traces.", TRACE),
}

UNUSABLE_INPUT, INTERRUPTED, UNREAD = 2, 130, 141
"""Exit codes; a command's own is 0, or 1 where it says so. UNREAD: nobody reads the output."""

EXTRAS = {
    "train": ("matplotlib", "safetensors", "scipy", "tensorboard", "torch"),
    "export": ("onnx", "onnxruntime"),
    "sb3": ("sb3_contrib", "stable_baselines3"),
    "ray": ("ray",),
    "tune": ("optuna",),
    "cuda": ("numba_cuda",),
    "render": ("PIL", "imageio_ffmpeg", "moviepy", "pygame"),
}
"""Extras of this package, with the modules that come with them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a user can mend is said on standard error, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        print_anything(stream)
    try:
        try:
            return run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # Or Python would complain at its end that it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            UNREAD if isinstance(error, BrokenPipeError) else refused(f"output: {error.strerror}")
        )


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; returns its exit code."""
    command: Any = None
    try:
        check_neighbours()
        if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
            print(f"llmroute {version('llmroute')}")
            return 0
        command = parse(arguments)
        return int(command.run() or 0)
    except InputError as error:
        return refused(str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = extra_with(missing, command)
        if extra is None:
            raise
        return refused(
            f"this needs {missing}, which is not installed; "
            f"accepted: after `pip install 'llmroute[{extra}]'`"
        )
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return refused(f"{error.filename or 'output'}: {error.strerror}")
    except KeyboardInterrupt:
        print("llmroute: interrupted", file=sys.stderr)
        return INTERRUPTED


def extra_with(module: str, command: Any) -> str | None:
    """The extra that installs a module and whatever else the command needs; None if none does."""
    found = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    # All that a command says it needs includes `train`, without being that alone.
    return getattr(command, "extra", found) if found == "train" else found


def refused(reason: str) -> int:
    """Say why a command did not do what it was to; returns the exit code."""
    print(f"llmroute: {reason}", file=sys.stderr)
    return UNUSABLE_INPUT


def print_anything(stream: Any) -> None:
    """Let a stream write what its encoding cannot, in escapes."""
    if hasattr(stream, "reconfigure") and codecs.lookup(stream.encoding).name != "utf-8":
        stream.reconfigure(errors="backslashreplace")


def parse(arguments: Sequence[str] | None) -> Any:
    """The command that `arguments` name, with its settings."""
    return tyro.cli(
        one_of(COMMANDS),
        args=arguments,
        prog="llmroute",
        description="Learned best-effort LLM routing: train, evaluate and compare routers.",
        config=CONFIG,
        registry=READING,
    )


CONFIG = (
    tyro.conf.FlagCreatePairsOff,
    # Whoever wants None leaves the option out.
    tyro.conf.DisallowNone,
    tyro.conf.PositionalMetavarFromFieldName,
)
READING = tyro.constructors.ConstructorRegistry()


@READING.primitive_rule
def read_text(kind: tyro.constructors.PrimitiveTypeInfo) -> Any:
    """How texts are read: as tyro does, but help calls them NAME."""
    if kind.type is not str:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def one_of(commands: Mapping[str, Any]) -> Any:
    """A type that stands for the choice among `commands`; a table within it is a group."""
    choice: Any = None
    for name, command in commands.items():
        chosen: Any = command
        summary: str | None = None
        if isinstance(command, Group):
            chosen, summary = one_of(command.commands), command.summary
        named: Any = Annotated[chosen, tyro.conf.subcommand(name, description=summary)]
        choice = named if choice is None else choice | named
    return choice


def check_neighbours() -> None:
    """Raise an InputError unless `agents` is ours: another distribution has the same name."""
    ours = Path(__file__).resolve().parent.parent
    spec = find_spec("agents")
    found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
    if found != ours:
        raise InputError(
            f"agents: the package found is {found}, which is not llmroute's, {ours / 'agents'}; "
            "accepted: an environment without other packages of that name, such as a fresh one "
            "made by `python -m venv .venv`"
        )


if __name__ == "__main__":
    sys.exit(main())
