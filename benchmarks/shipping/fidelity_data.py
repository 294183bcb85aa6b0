"""Measurements of real engines, made into what `benchmarks/fidelity` ships.

    python -m benchmarks.shipping.fidelity_data FOLDER

FOLDER holds the originals, in the folders that `benchmarks/fidelity/data/README.md` names.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shipping.operator_tables import Grids, Shape, composed, derived, profiled, read

DATA = Path(__file__).resolve().parents[1] / "fidelity" / "data"

RUNS = ("RTX4090", "RTXPRO6000")

QWEN3_32B = Shape(layers=64, width=5120, heads=64, kv_heads=8, inner=25_600, vocabulary=151_936)

GIB = 2**30

SIZES: Mapping[str, tuple[float, int]] = {
    "qwen2.5-0.5b": (0.49e9, 12_288),
    "qwen2.5-1.5b": (1.54e9, 28_672),
    "qwen2.5-3b": (3.09e9, 36_864),
    "qwen2.5-7b": (7.61e9, 57_344),
    "qwen2.5-14b": (14.7e9, 196_608),
    "qwen2.5-32b": (32.5e9, 262_144),
    "qwen2.5-72b": (72.7e9, 327_680),
    "qwen3-32b": (32.8e9, 262_144),
    "llama3.1-8b": (8.03e9, 131_072),
}
"""Parameters, of two bytes each, and bytes of a token in the KV cache, from the models' cards."""

CHATBOT_PROMPT = 64
"""Tokens of a prompt of yobitel-bench's `chatbot-short`, which its records do not tell: assumed."""

REQUEST_COLUMNS = (
    "run",
    "arrival_s",
    "queued_s",
    "first_token_s",
    "last_token_s",
    "prompt_tokens",
    "output_tokens",
)
TPOT_COLUMNS = (
    "source",
    "gpu",
    "gpus",
    "model",
    "prompt_tokens",
    "output_tokens",
    "concurrency",
    "kv_blocks",
    "tpot_ms",
)


def kv_blocks(model: str, gpus: int) -> int:
    """Blocks that fit into GPUs of 79.2 GiB: 0.9 of them, less the weights and 1.3 GiB each."""
    parameters, token_bytes = SIZES[model]
    free = (0.9 * 79.2 - 1.3) * GIB * gpus - 2 * parameters
    return int(free / token_bytes) // 16


def recorded(folder: Path, run: str) -> Iterator[list[Any]]:
    """Per request of a run what REQUEST_COLUMNS say, on one clock from the first arrival on.

    Arrivals are on the clock of the frontend, the rest on that of the engine, which is taken to be
    behind by the least of (queued - arrival): no request is queued before it arrives.
    """
    path = folder / "llmservingsim" / "bench" / run / "Llama-3.1-8B" / "requests.jsonl"
    requests = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    arrival = np.array([request["arrival_time"] for request in requests])
    behind = (np.array([request["queued_ts"] for request in requests]) - arrival).min()
    for request in requests:
        engine = [request[name] for name in ("queued_ts", "first_token_ts", "last_token_ts")]
        times = [request["arrival_time"], *(time - behind for time in engine)]
        lengths = [request["input_toks"], request["output_toks"]]
        yield [run, *(f"{time - arrival[0]:.6f}" for time in times), *lengths]


def silicon(folder: Path) -> Iterator[list[Any]]:
    """Qwen3-32B on two H100, vLLM 0.12.0, of aiconfigurator's measurements."""
    for row in read(folder / "aiconfigurator" / "silicon_sample_subset.csv"):
        named = row["backend"], row["system"], row["model_path"], row["tp_size"]
        if named != ("vllm", "h100_sxm", "Qwen/Qwen3-32B", "2.0") or row["isl"] == "4000":
            continue
        load = [int(row["isl"]), int(row["osl"]), int(float(row["batch_size"]))]
        blocks = kv_blocks("qwen3-32b", 2)
        tpot = round(float(row["silicon_tpot_ms"]), 3)
        yield ["aiconfigurator", "h100", 2, "qwen3-32b", *load, blocks, tpot]


def chatbot(folder: Path) -> Iterator[list[Any]]:
    """Short conversations on H100, vLLM 0.21 and 0.22, of yobitel-bench; medians."""
    ways = {
        ("Qwen2.5-7B", "0.21.0"): ("qwen2.5-7b", 1),
        ("Qwen2.5-72B", "0.22.1"): ("qwen2.5-72b", 4),
    }
    found = [("llama3.1-8b", 1, 1, 6.48), ("llama3.1-8b", 1, 4, 6.59)]
    for row in read(folder / "yobitel-bench" / "llm_h100_metrics.csv"):
        name = row["model"].removeprefix("Qwen/").removesuffix("-Instruct"), row["version"]
        if name in ways and row["suite"].endswith("chatbot-short"):
            # Requests in flight are requests per second times seconds.
            flying = float(row["req_per_s_all"]) * float(row["total_p50_ms"]) / 1e3
            found.append((*ways[name], 2 ** round(np.log2(flying)), float(row["tpot_p50_ms"])))
    for model, gpus, together, tpot in sorted(found):
        load = [CHATBOT_PROMPT, 128, together]
        yield ["yobitel-bench", "h100", gpus, model, *load, kv_blocks(model, gpus), tpot]


def alone(folder: Path) -> Iterator[list[Any]]:
    """Qwen2.5 on A100-80GB, vLLM 0.6.3, one request at a time, 2048 tokens of answer."""
    name = "qwen25_a100_vllm063_batch1_tokens_per_s.csv"
    for row in read(folder / "published" / name):
        model, gpus = f"qwen2.5-{row.pop('model').lower()}", int(row.pop("gpus"))
        if (model, gpus) in (("qwen2.5-72b", 2), ("qwen2.5-32b", 2)):
            continue
        for prompt, speed in row.items():
            if speed:
                load = [int(prompt.removeprefix("in")), 2048, 1]
                tpot = round(1e3 / float(speed), 3)
                yield ["Qwen2.5", "a100", gpus, model, *load, kv_blocks(model, gpus), tpot]


def step_times(folder: Path, tables: Sequence[list[Any]]) -> dict[str, Grids]:
    """The step times of every engine, by name."""
    found = {
        f"{run}/llama3.1-8b": profiled(folder / "llmservingsim" / "perf" / run) for run in RUNS
    }
    for gpu, gpus, model in sorted({(row[1], row[2], row[3]) for row in tables}):
        if model == "qwen3-32b":
            grids = composed(folder / "aiconfigurator", QWEN3_32B, gpus)
        else:
            grids = derived(folder / "derived", gpu, model, gpus)
        found[f"{gpu}-tp{gpus}/{model}"] = grids
    return found


def write_csv(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table of the shipped data."""
    with (DATA / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def main(folder: Path) -> None:
    """Write all."""
    requests = [row for run in RUNS for row in recorded(folder, run)]
    tables = [*silicon(folder), *chatbot(folder), *alone(folder)]
    write_csv("requests.csv", REQUEST_COLUMNS, requests)
    write_csv("tpot.csv", TPOT_COLUMNS, tables)
    lines = [
        f"{json.dumps(name)}: {json.dumps(grids, separators=(',', ':'))}"
        for name, grids in step_times(folder, tables).items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (DATA / "step_times.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
