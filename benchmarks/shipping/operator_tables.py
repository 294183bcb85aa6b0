"""Times of operators, made into times of steps (StepTimes), in microseconds.

Three kinds of tables: those of LLMServingSim's profiler by layer, those of aiconfigurator by shape,
and step times that were composed of the latter before.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isnan, log, nan
from pathlib import Path
from statistics import median
from typing import Any

Grids = dict[str, Any]
"""By field of StepTimes: of a Line `at` and `us`, of a Surface `rows`, `columns` and `us`."""

Attention = Mapping[tuple[int, ...], float]
"""Microseconds by tokens of a chunk, those before it, requests that decode and their contexts."""

LLAMA_8B_LAYERS = 32

PER_LAYER = {
    "layernorm": 2,
    "qkv_proj": 1,
    "rotary_emb": 1,
    "o_proj": 1,
    "gate_up_proj": 1,
    "act_fn": 1,
    "down_proj": 1,
}
ONCE = ("embedding", "final_layernorm")
"""Operators of a step beside attention and those of sampling, and how often they are called."""

CHUNKS = tuple(16 << i for i in range(8))
CONTEXTS = tuple(16 << i for i in range(11))
"""Both GPUs were measured at all of these."""

TOKENS: tuple[int, ...] = (
    1,
    2,
    4,
    8,
    16,
    32,
    48,
    64,
    96,
    128,
    160,
    192,
    256,
    320,
    384,
    512,
    640,
    768,
    1024,
)
TOKENS += (1280, 1536, 2048, 3072, 4096, 6144, 8192)
REQUESTS = tuple(1 << i for i in range(10))

ELEMENTWISE_US, BANDWIDTH_SHARE, H100_BYTES_PER_US = 3.0, 0.8, 3.35e6
"""An operator that only moves memory takes 3 us and its bytes at 0.8 of the bandwidth, which is how
aiconfigurator itself estimates them; 3.35 TB/s is NVIDIA's figure of the H100 SXM."""


@dataclass(frozen=True)
class Shape:
    """A transformer with gated feed-forward layers; heads of 128."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, gzipped or not."""
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    return list(csv.DictReader(text.splitlines()))


def line(at: Iterable[int], value: Callable[[int], float]) -> Grids:
    """A Line of values, rounded to a hundredth of a microsecond."""
    knots = list(at)
    return {"at": knots, "us": [round(value(k), 2) for k in knots]}


def surface(
    rows: Iterable[int], columns: Iterable[int], value: Callable[[int, int], float]
) -> Grids:
    """A Surface likewise."""
    above, beside = list(rows), list(columns)
    us = [[round(value(row, column), 2) for column in beside] for row in above]
    return {"rows": above, "columns": beside, "us": us}


def profiled(folder: Path) -> Grids:
    """Step times of Llama-3.1-8B on one GPU of LLMServingSim's `perf`."""
    tables = folder / "meta-llama" / "Llama-3.1-8B" / "bf16" / "tp1"
    dense, sampling = by_layer(tables / "dense.csv"), by_layer(tables / "per_sequence.csv")
    names = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    attention = {
        tuple(int(row[name]) for name in names): LLAMA_8B_LAYERS * float(row["time_us"])
        for row in read(tables / "attention.csv")
    }

    def linear(n: int) -> float:
        layer = sum(times * dense[name][n] for name, times in PER_LAYER.items())
        return LLAMA_8B_LAYERS * layer + sum(dense[name][n] for name in ONCE)

    requests = sorted({row[2] for row in attention} - {0})
    together = sorted({row[2] for row in attention if row[0] > 0} - {0})
    return {
        "source": f"LLMServingSim profiler/perf/{folder.name}",
        "linear": line(sorted(dense["qkv_proj"]), linear),
        "decode": surface(requests, CONTEXTS, lambda b, k: attention[0, 0, b, k]),
        "prefill": surface(CHUNKS, (0, *CONTEXTS), lambda c, x: attention[c, x, 0, 0]),
        "mixed": surface(together, CONTEXTS, lambda b, k: max(added(attention, 16, b, k), 0.0)),
        "beside": surface(together, CHUNKS, lambda b, c: beside_us(attention, b, c)),
        "head": line(
            sorted(sampling["lm_head"]), lambda s: sum(table[s] for table in sampling.values())
        ),
    }


def added(attention: Attention, chunk: int, requests: int, context: int) -> float:
    """What decoding beside a chunk takes, as far as it was measured: both less the chunk alone."""
    both = attention.get((chunk, 0, requests, context), nan)
    return both - attention[chunk, 0, 0, 0]


def beside_us(attention: Attention, requests: int, chunk: int) -> float:
    """By how much that is longer than beside the smallest chunk: the median over contexts."""
    more = [
        added(attention, chunk, requests, k) - added(attention, 16, requests, k) for k in CONTEXTS
    ]
    return max(median(us for us in more if not isnan(us)), 0.0)


def by_layer(path: Path) -> Mapping[str, dict[int, float]]:
    """Microseconds by layer and number of tokens, or of requests."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in read(path):
        found[row["layer"]][int(row.get("tokens") or row["sequences"])] = float(row["time_us"])
    return found


def derived(folder: Path, gpu: str, model: str, gpus: int) -> Grids:
    """Step times that were composed before, of `step_*_us.csv`."""

    def chosen(name: str) -> list[list[float]]:
        key = [gpu, model, str(gpus)]
        rows = [list(row.values()) for row in read(folder / f"step_{name}_us.csv")]
        return [[float(cell) for cell in row[3:]] for row in rows if row[:3] == key]

    linear = {int(n): us for n, us in chosen("linear")}
    head = {int(s): us for s, us in chosen("head")}
    decode = {(int(b), int(k)): us for b, k, us in chosen("attn_decode")}
    prefill = {(int(c), int(x)): us for c, x, us in chosen("attn_prefill")}
    return {
        "source": f"aiconfigurator, composed: {gpu}",
        "linear": line(linear, lambda n: linear[n]),
        "decode": whole(decode),
        "prefill": whole(prefill),
        "head": line(head, lambda s: head[s]),
    }


def whole(cells: Mapping[tuple[int, int], float]) -> Grids:
    """A surface of cells; where a row ends early, its last line goes on."""
    rows = sorted({row for row, _ in cells})
    columns = sorted({column for _, column in cells})

    def value(row: int, column: int) -> float:
        known = [c for c in columns if (row, c) in cells]
        near = [column] if column in known else known[-2:]
        return float(continued([(c, cells[row, c]) for c in near], column))

    return surface(rows, columns, value)


def continued(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at` of the line through two points; of one point its own."""
    (x, y), (last_x, last_y) = points[0], points[-1]
    return y if x == last_x else y + (last_y - y) * (at - x) / (last_x - x)


def composed(folder: Path, shape: Shape, gpus: int) -> Grids:
    """Step times of a model on a group of H100 SXM, of aiconfigurator's operators."""
    prefix = "h100_sxm_vllm_0.24.0"
    gemm: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for row in read(folder / f"{prefix}_gemm_bf16.csv.gz"):
        gemm[int(row["n"]), int(row["k"])][int(row["m"])] = 1e3 * float(row["latency"])
    reduce = {
        int(row["message_size"]): 1e3 * float(row["latency"])
        for row in read(folder / f"{prefix}_custom_allreduce_bf16.csv.gz")
        if row["backend"] == "vllm_graph" and int(row["num_gpus"]) == gpus
    }
    heads, kv_heads = shape.heads // gpus, shape.kv_heads // gpus
    width, inner = shape.width, shape.inner // gpus
    products = (
        ((heads + 2 * kv_heads) * 128, width),
        (width, heads * 128),
        (2 * inner, width),
        (width, inner),
    )
    # Two norms with their residuals, two of queries and keys, rotation, and the gate.
    moved = 2 * (8 * width + 4 * (heads + kv_heads) * 128 + 3 * inner)

    def linear(n: int) -> float:
        elementwise = 6 * ELEMENTWISE_US + n * moved / (BANDWIDTH_SHARE * H100_BYTES_PER_US)
        layer = sum(product_us(gemm, n, *product) for product in products) + elementwise
        return shape.layers * (layer + 2 * between(reduce, n * width))

    decode, prefill = attention_us(folder / prefix, shape, (heads, kv_heads))
    vocabulary = shape.vocabulary // gpus
    return {
        "source": "aiconfigurator h100_sxm, vLLM 0.24.0, composed",
        "linear": line(TOKENS, linear),
        "decode": decode,
        "prefill": prefill,
        "head": line(REQUESTS, lambda s: product_us(gemm, s, vocabulary, width)),
    }


def attention_us(prefix: Path, shape: Shape, heads: tuple[int, int]) -> tuple[Grids, Grids]:
    """Attention of decoding, and of a chunk after a prefix: what the longer prompt takes more."""
    names = ("num_heads", "num_key_value_heads", "head_dim")

    def table(kind: str, *keys: str) -> dict[tuple[int, ...], float]:
        rows = read(prefix.with_name(f"{prefix.name}_{kind}_attention_bf16.csv.gz"))
        chosen = [r for r in rows if tuple(int(r[name]) for name in names) == (*heads, 128)]
        return {tuple(int(r[k]) for k in keys): 1e3 * float(r["latency"]) for r in chosen}

    steps = table("generation", "batch_size", "step")
    prompts = {n: us for (b, n), us in table("context", "batch_size", "isl").items() if b == 1}
    contexts = [k for k in (64 << i for i in range(10)) if (1, k - 1) in steps]
    requests = [b for b in REQUESTS if sum((b, k - 1) in steps for k in contexts) > 1]
    cells = {
        (b, k): shape.layers * steps[b, k - 1]
        for b in requests
        for k in contexts
        if (b, k - 1) in steps
    }

    def chunk(c: int, x: int) -> float:
        return max(
            between(prompts, c + x) - (between(prompts, x) if x else 0.0), between(prompts, c)
        )

    chunks = [n for n in sorted(prompts) if 16 <= n <= 8192 and n & (n - 1) == 0]
    return (
        whole(cells),
        surface(chunks, (0, 512, 1024, 2048, 4096, 8192), lambda c, x: shape.layers * chunk(c, x)),
    )


def product_us(
    gemm: Mapping[tuple[int, int], Mapping[int, float]], m: int, n: int, k: int
) -> float:
    """A product of matrices: on straight lines in the logarithms of all three sizes."""
    inputs = {
        depth: between({width: between(gemm[width, depth], m) for width in sizes(gemm, 0)}, n)
        for depth in sizes(gemm, 1)
    }
    return between(inputs, k)


def sizes(gemm: Mapping[tuple[int, int], Any], axis: int) -> Sequence[int]:
    """The sizes along an axis that were measured with all others."""
    counts = Counter(key[axis] for key in gemm)
    return sorted(size for size, count in counts.items() if count == max(counts.values()))


def between(values: Mapping[int, float], at: int) -> float:
    """The value at `at`: on a straight line in the logarithms, the outermost one continued."""
    if at in values:
        return values[at]
    knots = sorted(values)
    low, high = next((pair for pair in pairwise(knots) if at < pair[1]), tuple(knots[-2:]))
    share = (log(at) - log(low)) / (log(high) - log(low))
    return exp((1 - share) * log(values[low]) + share * log(values[high]))
