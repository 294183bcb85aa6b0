"""Measured steps: the network is what it is said to be, its parts are the whole, and a profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import latency
from benchmarks.commands.latency import Latency
from benchmarks.measuring import attention, bench, timing
from benchmarks.measuring.attention import chunk, decoding
from benchmarks.measuring.grid import Grid
from benchmarks.measuring.network import EngineDecoder, random_engine
from benchmarks.measuring.shapes import SHAPES, EngineShape
from benchmarks.measuring.steps import Measured, host_s_of, measure_steps
from llmroute_env import ConfigError, EnvConfig, Pool, profiles
from llmroute_env.dynamics.service.continuous.sizing import limits_of
from llmroute_env.env import LLMRouteEnv
from traces.lengths import FixedLengths
from traces.workloads import PoissonArrivals

TINY = EngineShape(
    layers=3,
    hidden=24,
    heads=6,
    kv_heads=2,
    head_width=8,
    inner=40,
    vocabulary=60,
    context_tokens=64,
)
PLAIN = replace(TINY, kv_heads=6, gated=False)
GRID = Grid(requests=(1, 2, 4), contexts=(8, 32), chunks=(2, 16), cached=(0, 8, 32))
FLAGS = (
    "layers=2 hidden=16 heads=2 kv_heads=1 head_width=8 inner=32 vocabulary=50 context_tokens=128 "
    "accuracy=[0.1,0.2,0.3,0.4]"
)


@pytest.mark.parametrize("name", SHAPES)
def test_networks_are_as_large_as_the_models(name: str):
    shape = SHAPES[name]
    rows = profiles.tables("opt-a100")["models"] + profiles.tables("qwen2.5")["models"]
    (row,) = [row for row in rows if row["name"] == name]
    with torch.device("meta"):
        count = sum(p.numel() for p in EngineDecoder(shape).parameters())
    assert count == pytest.approx(row["parameters"], rel=1e-4 if "opt" in name else 0)
    assert 2 * shape.kv_numbers_per_token == row["kv_bytes_per_token"]
    sizes = (shape.layers, shape.heads, shape.hidden)
    assert sizes == (row["layers"], row["heads"], row["hidden"])


def attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What one token's heads (heads, width) attend to, head by head."""
    group = query.shape[0] // keys.shape[1]
    found = []
    for head, asked in enumerate(query):
        weights = torch.softmax(keys[:, head // group] @ asked / asked.shape[0] ** 0.5, 0)
        found.append(weights @ values[:, head // group])
    return torch.stack(found)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_attention_is_attention(kv_heads: int):
    torch.manual_seed(0)
    keys, values = torch.randn(2, 20, kv_heads, 8, dtype=torch.float64)
    query = torch.randn(5, 6, 8, dtype=torch.float64)
    for length in (5, 20):
        ends = range(length - 4, length + 1)
        expected = [attended(query[i], keys[:end], values[:end]) for i, end in enumerate(ends)]
        found = chunk(query, keys[:length], values[:length])
        torch.testing.assert_close(found, torch.stack(expected))
    own = [slice(4 * i, 4 * i + 4) for i in range(5)]
    expected = [attended(query[i], keys[at], values[at]) for i, at in enumerate(own)]
    torch.testing.assert_close(decoding(query, keys, values), torch.stack(expected))


def test_layers_take_turns_where_caches_are_large(monkeypatch: pytest.MonkeyPatch):
    # Of each layer: keys and values of 4 tokens, 2 heads of 8, 4 bytes each.
    for bytes_, caches in ((3 * 512, 3), (2**30, 3), (2 * 512, 2), (1, 1)):
        monkeypatch.setattr(attention, "SPREAD_BYTES", bytes_)
        cache = attention.Cache(TINY, 4, "cpu", torch.float32)
        starts = [cache.of(layer)[0].data_ptr() for layer in range(3)]
        assert len(set(starts)) == len(cache.held) == caches
        assert starts[-1] == starts[2 % caches]


def continued(decoder: EngineDecoder, text: Tensor, cuts: list[int], first: int = 0) -> Tensor:
    """What is known after every token of one text, computed piece by piece."""
    shape, pieces = decoder.shape, []
    keys, values = torch.zeros(
        2, shape.layers, len(text), shape.kv_heads, shape.head_width, dtype=torch.float64
    )
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        places = torch.arange(begin, end)

        def attend(
            layer: int, query: Tensor, key: Tensor, value: Tensor, places: Tensor = places
        ) -> Tensor:
            keys[layer, places], values[layer, places] = key, value
            kind: Callable[..., Tensor] = chunk if len(places) > 1 else decoding
            end = int(places[-1]) + 1
            return kind(query, keys[layer, :end], values[layer, :end])

        pieces.append(decoder(text[begin:end], places + first, attend))
    return torch.cat(pieces)


@pytest.mark.parametrize("shape", [TINY, PLAIN], ids=["gated", "plain"])
def test_pieces_of_a_prompt_and_decoding_are_the_prompt(shape: EngineShape):
    torch.manual_seed(0)
    decoder = random_engine(shape, "cpu", torch.float64)
    for parameter in decoder.parameters():
        parameter.data *= 10
    text = torch.randint(shape.vocabulary, (9,))
    with torch.inference_mode():
        whole = continued(decoder, text, [])
        torch.testing.assert_close(continued(decoder, text, [4, 7, 8]), whole)
        assert torch.equal(decoder.next_tokens(whole), decoder.next_tokens(whole[:9]))
        other = continued(decoder, text.roll(1), [])
        assert (other - whole)[1:].abs().max() > 1e-3
        # Rotary places tell distances alone, learned ones tell all.
        moved = (continued(decoder, text, [], first=5) - whole).abs().max()
    assert (moved < 1e-9) == shape.gated


def test_opt_is_the_network_that_batches_are_measured_with():
    torch.manual_seed(0)
    shape = replace(PLAIN, hidden=48, inner=192, vocabulary=latency.VOCABULARY, context_tokens=2048)
    known = latency.random_decoder(latency.Shape(3, 6, 48), "cpu", torch.float64)
    decoder = random_engine(shape, "cpu", torch.float64)
    for mine, theirs in zip(decoder.parameters(), known.parameters(), strict=True):
        mine.data = theirs.data
    text = torch.randint(latency.VOCABULARY, (7,))
    with torch.inference_mode():
        logits = known(text[None], known.cache(1, 7), 0)
        found = continued(decoder, text, [3])
        assert torch.equal(decoder.next_tokens(found[-1:]), logits.argmax(-1))
        torch.testing.assert_close(found[-1:] @ decoder.tokens.weight.T, logits)


def counted(work: Callable[[], None], *_: Any) -> float:
    """A clock that tells multiplications instead: seconds that make their number microseconds."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e6


@pytest.fixture
def by_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are what is computed."""
    monkeypatch.setattr(bench, "on_device_s", counted)
    monkeypatch.setattr(bench, "by_the_clock_s", counted)


@pytest.mark.parametrize("shape", [TINY, PLAIN, replace(TINY, tied=False)])
@pytest.mark.usefixtures("by_work")
def test_parts_do_the_work_that_they_are_said_to_do(shape: EngineShape):
    tables = measure_steps(shape, "cpu", GRID, 1).tables
    queries = shape.heads * shape.head_width
    matrices = shape.hidden * (queries + 2 * shape.kv_heads * shape.head_width + queries)
    matrices += shape.hidden * shape.inner * (3 if shape.gated else 2)
    for (n, _), us in tables["linear"].items():
        assert us == 2 * n * shape.layers * matrices
    for (requests, context), us in tables["decode"].items():
        assert us == 4 * shape.layers * queries * requests * context
    for (tokens, cached), us in tables["prefill"].items():
        assert us == 4 * shape.layers * queries * tokens * (cached + tokens)
    for (requests, _), us in tables["head"].items():
        assert us == 2 * requests * shape.hidden * shape.vocabulary
    assert [n for n, _ in tables["linear"]] == [1, 2, 4, 16]


@pytest.mark.usefixtures("by_work")
def test_parts_are_the_whole():
    measured = measure_steps(TINY, "cpu", GRID, 1)
    assert set(measured.gaps_us) == {0.0}
    assert set(measured.errors(0.0)) == {0.0}
    assert len(list(measured.errors(0.0))) == 6 + 2


@pytest.mark.usefixtures("by_work")
def test_contexts_that_a_model_lacks_are_left_out():
    tables = measure_steps(replace(TINY, context_tokens=16), "cpu", GRID, 1).tables
    assert {column for _, column in tables["decode"]} == {8}
    assert {column for _, column in tables["prefill"]} == {0, 8}
    short = measure_steps(replace(TINY, context_tokens=4), "cpu", GRID, 1).tables
    assert {column for _, column in short["decode"]} == {4}


def test_the_host_takes_what_the_parts_do_not():
    tables = {
        "linear": {(1, 0): 100.0, (2, 0): 110.0},
        "head": {(1, 0): 10.0, (2, 0): 12.0},
        "decode": {(1, 8): 5.0, (2, 8): 8.0},
        "prefill": {(2, 0): 20.0},
    }
    whole = {"decode": {(1, 8): 145.0, (2, 8): 190.0}, "prefill": {(2, 0): 200.0}}
    one = Measured(tables, whole, 1, 2, 3, 4)
    assert one.gaps_us == [30.0, 60.0]
    assert host_s_of([one]) == pytest.approx(45e-6)
    assert list(one.errors(45e-6)) == pytest.approx([15 / 145, -15 / 190, -15 / 200])
    assert "0.145 ms" in one.words(45e-6)
    early = {"decode": {(1, 8): 50.0, (2, 8): 50.0}}
    assert host_s_of([replace(one, whole=early)]) == 0.0


def test_a_gpu_is_timed_between_marks_after_its_own_cache_is_overwritten(
    monkeypatch: pytest.MonkeyPatch,
):
    """Stand-ins for a GPU: the second run of those that count takes 5 ms, the others 3 and 4."""
    said: list[str] = []
    clock_ms = iter((0.0, 3.0, 10.0, 15.0, 20.0, 24.0))

    def mark() -> SimpleNamespace:
        made = SimpleNamespace()
        made.record = lambda: (setattr(made, "at_ms", next(clock_ms)), said.append("mark"))
        made.elapsed_time = lambda later: later.at_ms - made.at_ms
        return made

    held = SimpleNamespace(zero_=lambda: said.append("overwrite"))
    monkeypatch.setattr(timing, "as_graph", lambda work: work)
    monkeypatch.setattr(timing, "moment", mark)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: held)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: said.append("wait"))
    found_s = timing.on_device_s(lambda: said.append("run"), "cuda", 3)
    assert found_s == pytest.approx(4e-3)
    once = ["overwrite", "mark", "run", "mark"]
    assert said == ["run"] * timing.WARM_UP + once * 3 + ["wait"]


def command(out: Path, **changes: Any) -> Latency:
    fields: dict[str, Any] = {
        "steps": True,
        "shape": tuple(FLAGS.split()),
        "device": "cpu",
        "batches": (1, 2, 8),
        "contexts": (16, 64),
        "chunks": (8, 32),
        "cached": (0, 16),
        "repeats": 2,
        "out": out,
    }
    return Latency(**(fields | changes))


def test_what_was_measured_is_a_profile_to_play_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "mine.toml"
    command(out).run()
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    fields: dict[str, Any] = {
        "profile": str(out),
        "service": "continuous",
        "pools": (Pool(2),),
        "lengths": dict.fromkeys(profiles.load("opt-a100").tasks, FixedLengths(40, 6)),
        "workload": PoissonArrivals(10.0),
        "window_s": 0.2,
    }
    config = EnvConfig(**fields)
    (model,), (gpu,) = config.resolved_profile.models, config.resolved_profile.gpus
    # Two layers of one head of keys and one of values, 8 wide, in float32.
    assert model.kv_bytes_per_token == 2 * 2 * 8 * 4
    assert model.weights_bytes == 4 * model.parameters
    assert model.accuracy == (0.1, 0.2, 0.3, 0.4)
    blocks = (0.9 * gpu.memory_bytes - model.weights_bytes) // (16 * 128)
    assert limits_of(config, config.pools[0]) == (8, 32, blocks, 128)
    times = model.step_times[gpu.name]
    assert (times.linear.at, times.head.at) == ((1, 2, 8, 32), (1, 2, 8))
    assert (times.decode.rows, times.decode.columns) == ((1, 2, 8), (16, 64))
    assert (times.prefill.rows, times.prefill.columns) == ((8, 32), (0, 16))
    written = [line.split(",") for line in out.with_suffix(".csv").read_text().splitlines()]
    (us,) = [float(r[5]) for r in written if r[0] == "decode" and r[3:5] == ["8", "64"]]
    assert times.decode.seconds[2][1] == us / 1e6 > 0
    assert sum(row[0].startswith("# whole") for row in written) == 6 + 2
    env = LLMRouteEnv(**fields)
    env.reset(seed=0)
    over = False
    while not over:
        *_, over, _, info = env.step(0)
    assert info["summary"]["in_time"] + info["summary"]["late"] > 0


def test_models_of_a_profile_keep_their_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny = {name: replace(TINY, layers=1) for name in ("qwen2.5-3b", "qwen2.5-7b")}
    monkeypatch.setattr("benchmarks.measuring.profile.SHAPES", tiny)
    command(tmp_path / "two.toml", profile="qwen2.5", shape=()).run()
    found, shipped = profiles.load(str(tmp_path / "two.toml")), profiles.load("qwen2.5")
    assert (found.name, found.tasks) == ("two", shipped.tasks)
    for name in tiny:
        mine, theirs = found.model(name), shipped.model(name)
        assert (mine.accuracy, mine.accuracy_source) == (theirs.accuracy, theirs.accuracy_source)
    command(tmp_path / "one.toml", profile="qwen2.5", shape=(), models=("qwen2.5-7b",)).run()
    assert profiles.load(str(tmp_path / "one.toml")).model_names == ("qwen2.5-7b",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "mine.toml"}, "profile: got 'mine.toml'; accepted: llama3, opt-a100"),
        ({"profile": "llama3", "shape": ()}, "profile: got 'llama3'; accepted: opt-a100 or qwen"),
        ({"models": ("opt-9b",), "shape": ()}, "models: got 'opt-9b'; accepted: opt-125m, opt"),
        ({"models": ("opt-1.3b",)}, "models: got .*; accepted: none beside a shape of your own"),
        ({"batches": (2, 1)}, r"requests: got \(2, 1\); accepted: integers >= 1 that rise"),
        ({"contexts": (0, 8)}, r"contexts: got \(0, 8\); accepted: integers >= 1"),
        ({"chunks": ()}, r"chunks: got \(\); accepted: integers >= 1 that rise"),
        ({"chunks": (8, 65537)}, "measured max_num_batched_tokens: got 65537; accepted: max_num"),
        ({"cached": (16,)}, r"cached: got \(16,\); accepted: 0 first"),
        ({"repeats": 0}, "repeats: got 0; accepted: >= 1"),
        ({"device": "tpu"}, "device: got 'tpu'; accepted: cuda, cpu"),
        ({"out": Path("mine.csv")}, "out: got 'mine.csv'; accepted: a .toml file"),
        ({"steps": False}, "shape: got .*; accepted: only with --steps"),
        ({"steps": False, "shape": ()}, r"contexts: got \(16, 64\); accepted: only with --steps"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        command(**{"out": tmp_path / "mine.toml", **changes}).run()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers=2", "layers=0", "shape layers: got 0; accepted: >= 1"),
        ("layers=2 ", "", "shape: lacks 'layers'"),
        ("layers=2", "layer=2", "shape.layer: got 2.*nearest: layers"),
        ("kv_heads=1", "kv_heads=3", "shape kv_heads: got 3; accepted: a divisor of heads, 2"),
        ("head_width=8", "head_width=7", "shape head_width: got 7; accepted: an even number"),
        ("context_tokens=128", "context_tokens=1", "shape context_tokens: got 1; accepted: >= 2"),
        (",0.4]", "]", "accuracy: got .*; accepted: an array of shares, .*: hellaswag, piqa"),
        (",0.4]", ",1.4]", "shape accuracy: got 1.4; accepted: a share from 0 to 1"),
        (",0.4]", ",true]", r"shape accuracy\[3\]: got True; accepted: a number"),
        ("layers=2", "name='a,b' layers=2", "shape name: got 'a,b'; accepted: a text without"),
    ],
)
def test_a_shape_that_is_none_is_refused(old: str, new: str, message: str, tmp_path: Path):
    assert old in FLAGS
    words = tuple(FLAGS.replace(old, new).split())
    with pytest.raises(ConfigError, match=message):
        command(tmp_path / "mine.toml", shape=words).run()


def test_what_exceeds_the_memory_is_said(monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(bench, "random_engine", full)
    with pytest.raises(ConfigError, match=r"memory of 'cpu': CUDA out of memory; accepted: a sm"):
        measure_steps(TINY, "cpu", GRID, 1)


@pytest.mark.parametrize("time_s", [0.0, -1e-6, float("nan"), float("inf")])
def test_what_took_no_time_was_not_measured(time_s: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "on_device_s", lambda *_: time_s)
    with pytest.raises(ConfigError, match=r"measured linear at row 1, column 0: got .*microsec"):
        measure_steps(TINY, "cpu", GRID, 1)
