"""Profiles for continuous batching: what ships, and tables of measured steps of one's own."""

from __future__ import annotations

import csv
import json
import lzma
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.shipping import step_times as shipping
from benchmarks.shipping.profile_table import DOCUMENT, blocks_of, generated, prompt_step_s
from llmroute_env import ConfigError, EnvConfig, GpuSpec, Pool, load_problem, profiles
from llmroute_env.engine_specs import Engine, Line, StepTimes, Surface
from llmroute_env.recording.serialization import (
    canonical,
    config_sha256,
    from_plain,
    read_config,
    to_plain,
)
from traces.lengths import FixedLengths

FAMILIES = ("llama3", "qwen2.5")
FOLDER = Path(profiles.__file__).parent
EVERY = [
    (family, model.name, gpu)
    for family in FAMILIES
    for model in profiles.load(family).models
    for gpu in model.step_times
]


def times_of(family: str, model: str, gpu: str) -> StepTimes:
    return profiles.load(family).model(model).step_times[gpu]


def step_s(times: StepTimes, requests: int, context: int, chunk: int = 0, prefix: int = 0) -> float:
    """A step at points of the grids, without the host, prompts as they were measured."""
    sampled = requests + (chunk > 0)
    total = np.interp(requests + chunk, times.linear.at, times.linear.seconds)
    total += np.interp(sampled, times.head.at, times.head.seconds)
    if requests:
        grid = times.decode
        total += grid.seconds[grid.rows.index(requests)][grid.columns.index(context)]
    if chunk:
        grid = times.prefill
        total += grid.seconds[grid.rows.index(chunk)][grid.columns.index(prefix)]
    return float(total)


def test_all_that_was_composed_is_there():
    assert len(EVERY) == 44
    assert profiles.load("qwen2.5").model_names == tuple(
        f"qwen2.5-{size}" for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b", "72b")
    )
    for times in (times_of(*one) for one in EVERY):
        assert (len(times.linear.at), len(times.head.at)) == (27, 10)
        assert (len(times.decode.rows), len(times.decode.columns)) == (13, 10)
        assert (len(times.prefill.rows), len(times.prefill.columns)) == (10, 6)
        assert (times.prefill_factor, "aiconfigurator" in times.source) == (1.15, True)


def test_quality_is_as_published_and_falls_with_size_in_places():
    # QwenLM/qwenlm.github.io ddef230d blog/qwen2.5-llm: HumanEval and IFEval of instruct models.
    qwen = profiles.load("qwen2.5")
    functions, chat = qwen.tasks.index("functions"), qwen.tasks.index("chat")
    assert [m.accuracy[functions] for m in qwen.models[3:]] == [0.848, 0.835, 0.884, 0.866]
    assert [m.accuracy[chat] for m in qwen.models[3:]] == [0.712, 0.810, 0.795, 0.841]
    # meta-llama/llama-models a9c89c47 models/llama3_2/MODEL_CARD.md: GSM8K.
    llama = profiles.load("llama3")
    arithmetic = llama.tasks.index("arithmetic")
    assert [m.accuracy[arithmetic] for m in llama.models] == [0.444, 0.777, 0.845, 0.951]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_names_its_benchmark_and_every_figure_its_source(family: str):
    table = profiles.tables(family)
    assert len(table["task_metrics"]) == len(table["tasks"]) == 6
    for model in profiles.load(family).models:
        assert all(len(source) > 10 for source in model.accuracy_source)
    for gpu in table["gpus"]:
        assert gpu["source"]
        assert gpu["step_times_source"]
    assert table["host_s_range"] == [0.0, 0.002]
    assert table["prefill_factor_range"] == [1.0, 1.35]


@pytest.mark.parametrize(
    ("family", "model", "gpu", "tokens", "within"),
    [
        # As vLLM logged them: inference-sim/inference-sim f90a1e3a trained_physics_iter29.json.
        ("qwen2.5", "qwen2.5-7b", "h100-sxm", 65_352 * 16, 0.01),
        ("llama3", "llama3.1-70b", "h100-sxm-tp4", 30_251 * 16, 0.01),
        # (0.9 x memory - weights - 1.3 GiB) / bytes per token, by hand.
        ("qwen2.5", "qwen2.5-0.5b", "h100-sxm", 6.0e6, 0.03),
        ("qwen2.5", "qwen2.5-1.5b", "a100-sxm", 2.51e6, 0.03),
        ("qwen2.5", "qwen2.5-3b", "h100-sxm", 1.87e6, 0.03),
        ("qwen2.5", "qwen2.5-14b", "a100-sxm", 232e3, 0.03),
        ("qwen2.5", "qwen2.5-32b", "h100-sxm", 37e3, 0.03),
        ("qwen2.5", "qwen2.5-32b", "h100-sxm-tp2", 323e3, 0.03),
        ("qwen2.5", "qwen2.5-72b", "h100-sxm-tp4", 473e3, 0.03),
        ("qwen2.5", "qwen2.5-3b", "l40s", 958e3, 0.03),
        ("qwen2.5", "qwen2.5-7b", "l40s", 458e3, 0.03),
        ("qwen2.5", "qwen2.5-14b", "l40s", 61e3, 0.03),
        ("qwen2.5", "qwen2.5-14b", "h200-sxm", 530e3, 0.03),
        ("qwen2.5", "qwen2.5-32b", "h200-sxm", 260e3, 0.03),
        ("llama3", "llama3.1-8b", "h100-sxm", 451e3, 0.03),
        ("llama3", "llama3.1-70b", "a100-sxm-tp4", 487e3, 0.03),
    ],
)
def test_the_cache_holds_what_engines_report(
    family: str, model: str, gpu: str, tokens: float, within: float
):
    assert blocks_of(family, model, gpu) * 16 == pytest.approx(tokens, rel=within)


BYTES_PER_S = {"a100-sxm": 2.039e12, "h100-sxm": 3.35e12, "h200-sxm": 4.8e12, "l40s": 0.864e12}
"""Of the memory, from NVIDIA's datasheets."""


@pytest.mark.parametrize("one", EVERY)
def test_no_step_is_faster_than_reading_the_weights(one: tuple[str, str, str]):
    family, model, gpu = one
    kind = profiles.load(family).gpu(gpu)
    bytes_per_s = kind.gpus * BYTES_PER_S[gpu.partition("-tp")[0]]
    bound_s = profiles.load(family).model(model).weights_bytes / bytes_per_s
    found_s = step_s(times_of(*one), 1, 64)
    # What small models take beyond it is launches of kernels.
    assert bound_s < found_s < 1.7 * bound_s + 0.001


FITS = {
    # Least squares on composed steps: n0; t0, g1, g2, c, b, q in microseconds, and a 95 % quantile
    # of their relative error: t0 + g1 min(n, n0) + g2 max(n - n0, 0) + c K + b B + q P (x + P / 2).
    ("qwen2.5-7b", "a100-sxm"): ((128, 10866, 20.99, 51.64, 0.03972, 0.0, 2.24e-3), 0.06),
    ("qwen2.5-7b", "h100-sxm"): ((384, 5978, 8.63, 18.57, 0.01840, 0.40, 6.6e-4), 0.04),
    ("qwen2.5-7b", "l40s"): ((320, 21511, 28.36, 58.63, 0.08386, 0.0, 1.99e-3), 0.06),
    ("qwen2.5-72b", "h200-sxm-tp4"): ((256, 12542, 35.09, 60.81, 0.01894, 1.04, 6.7e-4), 0.04),
}


@pytest.mark.parametrize(("one", "fit"), FITS.items())
def test_steps_agree_with_their_fits(one: tuple[str, str], fit: tuple[Any, float]):
    (n0, t0, g1, g2, c, b, q), error = fit
    times = times_of("qwen2.5", *one)
    points = [(8, 1024, 0, 0), (32, 512, 0, 0), (128, 2048, 0, 0), (16, 512, 256, 0)]
    points += [(64, 1024, 512, 0), (32, 2048, 1024, 1024), (8, 2048, 2048, 0)]
    errors = []
    for requests, context, chunk, prefix in points:
        n = requests + chunk
        fitted = t0 + g1 * min(n, n0) + g2 * max(n - n0, 0) + c * requests * context
        fitted += b * requests + q * chunk * (prefix + chunk / 2)
        found = 1e6 * step_s(times, requests, context, chunk, prefix)
        errors.append(abs(found / fitted - 1))
    assert np.mean(errors) < error
    assert max(errors) < 0.07


@pytest.mark.parametrize(
    ("model", "gpu", "requests", "measured_ms"),
    [
        # Medians on H100, short chats, vLLM 0.21 and 0.22.1: yobitelcomm/bench eb9dc5c6.
        ("qwen2.5-7b", "h100-sxm", 4, 6.27),
        ("qwen2.5-72b", "h100-sxm-tp4", 1, 16.05),
        ("qwen2.5-72b", "h100-sxm-tp4", 4, 16.43),
        ("qwen2.5-72b", "h100-sxm-tp4", 16, 17.30),
    ],
)
def test_a_token_takes_what_was_measured_on_whole_engines(
    model: str, gpu: str, requests: int, measured_ms: float
):
    times = times_of("qwen2.5", model, gpu)
    found_ms = 1000 * (times.host_s + step_s(times, requests, 256))
    assert found_ms == pytest.approx(measured_ms, rel=0.07)


def test_the_larger_the_slower():
    for gpu in ("a100-sxm", "h100-sxm", "h200-sxm", "l40s"):
        of = [m.step_times[gpu] for m in profiles.load("qwen2.5").models if gpu in m.step_times]
        for small, large in pairwise(of):
            assert step_s(small, 1, 1024) < step_s(large, 1, 1024)
            assert step_s(small, 64, 4096) < step_s(large, 64, 4096)
            assert prompt_step_s(small) < prompt_step_s(large)


@pytest.mark.parametrize("one", EVERY)
def test_attention_to_more_takes_no_less(one: tuple[str, str, str]):
    # Up to the noise of single kernels, of at most 17 % in few points.
    seconds = np.array(times_of(*one).decode.seconds)
    assert (seconds[1:] / seconds[:-1]).min() > 0.85
    assert (seconds[:, 1:] / seconds[:, :-1]).min() > 0.9
    prefill = np.array(times_of(*one).prefill.seconds)
    assert (prefill[1:] / prefill[:-1]).min() > 0.95


def engines(**changes: Any) -> EnvConfig:
    kinds = {"3b": "h100-sxm", "7b": "a100-sxm", "14b": "l40s", "72b": "h100-sxm-tp4"}
    pools = tuple(Pool(1, (f"qwen2.5-{size}",), gpu) for size, gpu in kinds.items())
    lengths = dict.fromkeys(profiles.load("qwen2.5").tasks, FixedLengths(500, 200))
    usual = {"profile": "qwen2.5", "pools": pools, "service": "continuous", "lengths": lengths}
    return EnvConfig(**(usual | changes))


def test_engines_of_a_shipped_profile_are_a_configuration():
    config = engines()
    assert config.load_1_per_s > 0
    assert config.batch_limit(config.models[0]) == 1024
    assert config.batch_limit(config.models[1]) == 256
    assert read_config(json.loads(canonical(to_plain(config)))) == config
    assert len(canonical(to_plain(config))) < 2000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pools": (Pool(1, ("qwen2.5-72b",), "h100-sxm"),)},
            "gpu of model 'qwen2.5-72b': got 'h100-sxm'; accepted: a100-sxm-tp4, h100-sxm-tp4",
        ),
        (
            {"pools": (Pool(1, ("qwen2.5-14b",), "l40s"),), "engine": Engine(None, None, 0.6)},
            "'qwen2.5-14b': got \"29.5 GB of weights on 'l40s'\"; accepted: .* 0.6 of its 47.7 GB",
        ),
        (
            {"service": "static", "lengths": {}},
            "got 'no batch_latency_s'; accepted: a profile with",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        engines(**changes)


def test_weights_that_exceed_one_gpu_are_refused_however_fast_it_is():
    qwen = profiles.load("qwen2.5")
    times = {"h100-sxm": times_of("qwen2.5", "qwen2.5-72b", "h100-sxm-tp4")}
    large = replace(qwen.models[-1], step_times=times)
    one = replace(qwen, models=(*qwen.models[:-1], large))
    with pytest.raises(ConfigError, match=r"got \"145.4 GB of weights on 'h100-sxm'\"; accepted"):
        engines(profile=one, pools=(Pool(1, ("qwen2.5-72b",), "h100-sxm"),))


PROFILE = """
name = "mine"
tasks = ["chat"]
step_times = "mine.csv"
prefill_factor = 1.1
prefill_factor_range = [1.0, 1.2]

[[gpus]]
name = "box"
memory_bytes = 24_000_000_000
max_num_seqs = 8
max_num_batched_tokens = 512
host_s = 0.001
step_times_source = "a stopwatch"

[[models]]
name = "small"
parameters = 1_000_000_000
weights_bytes = 2_000_000_000
kv_bytes_per_token = 32_768
context_tokens = 4096
accuracy = [0.5]
"""

STEPS = """\
# measured at home
table,gpu,model,row,column,us
linear,box,small,1,,5000
linear,box,small,512,,20000.5
head,box,small,1,,100
decode,box,small,1,16,200
decode,box,small,1,4096,400
decode,box,small,8,16,300
decode,box,small,8,4096,3000
prefill,box,small,16,0,50
prefill,box,small,512,0,700
"""

MINE = StepTimes(
    Line((1, 512), (0.005, 0.0200005)),
    Surface((1, 8), (16, 4096), ((0.0002, 0.0004), (0.0003, 0.003))),
    Surface((16, 512), (0,), ((5e-05,), (0.0007,))),
    Line((1,), (0.0001,)),
    host_s=0.001,
    prefill_factor=1.1,
    source="a stopwatch",
)


def written(folder: Path, profile: str = PROFILE, steps: str | bytes = STEPS) -> str:
    (folder / "mine.toml").write_text(profile)
    data = steps.encode() if isinstance(steps, str) else steps
    (folder / "mine.csv").write_bytes(data)
    (folder / "mine.csv.xz").write_bytes(lzma.compress(data))
    return str(folder / "mine.toml")


def own_config(profile: Any) -> EnvConfig:
    return engines(profile=profile, pools=(Pool(2),), lengths={"chat": FixedLengths(100, 20)})


def test_a_table_of_ones_own_is_a_profile(tmp_path: Path):
    model = profiles.load(written(tmp_path)).models[0]
    assert model.step_times == {"box": MINE}
    assert (model.context_tokens, model.batch_latency_s) == (4096, ())
    gpu = profiles.load(str(tmp_path / "mine.toml")).gpus[0]
    assert gpu == GpuSpec("box", 24_000_000_000, max_num_seqs=8, max_num_batched_tokens=512)
    compressed = PROFILE.replace("mine.csv", "mine.csv.xz")
    # As spreadsheets write it, and in any order of rows.
    first, head, *rows = STEPS.splitlines()
    quoted = ",".join(f'"{name}"' for name in head.split(","))
    text = "\r\n".join([quoted, *rows[::-1], first])
    again = profiles.load(written(tmp_path, compressed, b"\xef\xbb\xbf" + text.encode()))
    assert again.models[0].step_times == {"box": MINE}


def test_a_table_may_have_steps_that_also_compute_prompts(tmp_path: Path):
    rows = [line for line in STEPS.splitlines() if line.startswith("decode")]
    mixed = "\n".join(row.replace("decode", "mixed") + "0" for row in rows[:2])
    steps = f"{STEPS}{mixed}\nbeside,box,small,8,512,700\n"
    model = profiles.load(written(tmp_path, steps=steps)).models[0]
    surfaces = Surface((1,), (16, 4096), ((0.002, 0.004),)), Surface((8,), (512,), ((0.0007,),))
    expected = replace(MINE, mixed=surfaces[0], beside=surfaces[1])
    assert model.step_times == {"box": expected}
    # Whoever has none is written as before there was one.
    assert {"mixed", "beside"} < to_plain(expected).keys()
    assert not {"mixed", "beside"} & to_plain(MINE).keys()
    assert from_plain(json.loads(canonical(to_plain(expected)))) == expected


def test_a_run_card_needs_no_table(tmp_path: Path):
    config = own_config(written(tmp_path))
    before = config_sha256(config)
    for file in tmp_path.iterdir():
        file.unlink()
    text = canonical(to_plain(config))
    assert read_config(json.loads(text)) == config
    assert config_sha256(config) == before
    assert len(text) < 3000


def test_step_times_are_plain_data_and_back():
    plain = json.loads(canonical(to_plain(MINE)))
    assert from_plain(plain) == MINE
    largest = profiles.load("qwen2.5")
    text = canonical(to_plain(largest))
    assert from_plain(json.loads(text)) == largest
    assert len(text) < 150_000


def test_a_profile_may_change_a_shipped_one_and_keep_its_table(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nextends = "qwen2.5"\nmodels = []\nprefill_factor = 1.3\n'
        '[[gpus]]\nname = "h100-sxm"\nmemory_bytes = 80000000000\nhost_s = 0.0\n'
    )
    mine, shipped = profiles.load(str(path)), profiles.load("qwen2.5")
    assert list(mine.models[3].step_times) == ["h100-sxm"]
    expected = replace(shipped.models[3].step_times["h100-sxm"], host_s=0.0, prefill_factor=1.3)
    assert replace(mine.models[3].step_times["h100-sxm"], source=expected.source) == expected
    # On one H100 there are no steps of the largest.
    assert mine.model_names == shipped.model_names[:-1]


def test_a_profile_of_batches_may_have_steps_as_well(tmp_path: Path):
    steps = STEPS.replace("box,small", "a100-80gb,opt-1.3b")
    profile = 'name = "mine"\nextends = "opt-a100"\nmodels = []\nstep_times = "mine.csv"\n'
    mine = profiles.load(written(tmp_path, profile, steps)).models
    expected = replace(MINE, host_s=0.0, prefill_factor=1.0, source="")
    assert mine[1].step_times == {"a100-80gb": expected}
    assert [replace(m, step_times={}) for m in mine] == list(profiles.load("opt-a100").models)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "column,us",
            "columns,us",
            "'mine.csv' columns: got 'table,gpu,model,row,columns,us'; acc",
        ),
        (",us", ",us,tp", "columns: got 'table,gpu,model,row,column,us,tp'; accepted: table,gpu,"),
        (
            "head,box,small,1,,100",
            "head,box,small,1,100",
            "line 5 cells: got 5; accepted: 6: table",
        ),
        ("head,", "heads,", "line 5 table: got 'heads'; accepted: nearest: head; linear, decode,"),
        ("head,box", "head,boxes", "line 5 gpu: got 'boxes'; accepted: nearest: box; box"),
        (
            "head,box,small",
            "head,box,small2",
            "line 5 model: got 'small2'; accepted: nearest: small;",
        ),
        ("1,4096,400", "1,4k,400", "line 7 column: got '4k'; accepted: an integer from 1 to"),
        ("head,box,small,1,", "head,box,small,1.5,", "line 5 row: got '1.5'; accepted: an integer"),
        ("small,1,,100", "small,1,7,100", "line 5 column: got '7'; accepted: none in 'head'"),
        ("1,4096,400", "1,4096,-400", "line 7 us: got '-400'; accepted: microseconds >= 0"),
        ("1,4096,400", "1,4096,nan", "line 7 us: got 'nan'; accepted: microseconds >= 0"),
        ("1,4096,400", "1,4096,inf", "line 7 us: got 'inf'; accepted: microseconds >= 0"),
        ("1,4096,400", "1,4096,", "line 7 us: got ''; accepted: microseconds >= 0"),
        ("1,4096,400", "1,16,400", "line 7: got .*'row': '1', 'column': '16'.*every point once"),
        (
            "decode,box,small,8,4096,3000\n",
            "",
            "decode of 'small' on 'box': got none at row 8, column 4096; accepted: a time for",
        ),
        (
            "head,box,small,1,,100\n",
            "",
            "lacks: got \"head of 'small' on 'box'\"; accepted: linear",
        ),
        ("1,16,200", "1,0,200", "line 6 column: got '0'; accepted: an integer from 1 to"),
        ("1,16,200", "1,17,200", "got none at row 1, column 16"),
        (STEPS, "", "columns: got ''; accepted: table,gpu,model"),
    ],
)
def test_a_faulty_table_is_refused(old: str, new: str, message: str, tmp_path: Path):
    assert old in STEPS
    with pytest.raises(ConfigError, match=message):
        profiles.load(written(tmp_path, steps=STEPS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mine.csv", "other.csv", "step_times 'other.csv': .*No such file.*accepted: a .csv"),
        ("mine.csv", "mine.txt", "step_times: got 'mine.txt'; accepted: a .csv or .csv.xz file"),
        ('"mine.csv"', "3", "step_times: got 3; accepted: a text"),
        ("host_s", "hosts_s", "gpus hosts_s: got 0.001, which no profile has; nearest: host_s"),
        (
            "= 1.1",
            "= 1.5",
            "profile prefill_factor: got 1.5; accepted: within prefill_factor_range, 1.0",
        ),
        ("host_s = 0.001", "host_s = -1.0", "step_times host_s: got -1.0; accepted: seconds >= 0"),
        ('step_times = "mine.csv"', "", "lacks 'largest_batch'; accepted"),
    ],
)
def test_a_faulty_profile_is_refused(old: str, new: str, message: str, tmp_path: Path):
    assert old in PROFILE
    with pytest.raises(ConfigError, match=message):
        profiles.load(written(tmp_path, PROFILE.replace(old, new, 1)))


def test_a_damaged_file_is_refused(tmp_path: Path):
    path = written(tmp_path, PROFILE.replace("mine.csv", "mine.csv.xz"))
    whole = (tmp_path / "mine.csv.xz").read_bytes()
    for data in (STEPS.encode(), whole[:-20], whole[:40]):
        (tmp_path / "mine.csv.xz").write_bytes(data)
        with pytest.raises(ConfigError, match=r"'mine.csv.xz': .*; accepted: a .csv or .csv.xz"):
            profiles.load(path)


def test_step_times_of_a_kind_that_is_not_there_are_refused():
    odd = replace(profiles.load("qwen2.5").models[0], step_times={"tpu": MINE})
    with pytest.raises(ConfigError, match="step_times: got 'tpu'; accepted: a100-sxm"):
        replace(profiles.load("qwen2.5"), models=(odd,))


def test_a_problem_finds_the_table_of_its_profile_beside_itself(tmp_path: Path):
    written(tmp_path)
    fields = 'service = "continuous"\npools = [{gpus = 1}]\n'
    fields += 'lengths.chat = {type = "FixedLengths", prompt_tokens = 9, output_tokens = 9}\n'
    lines = PROFILE.replace("[[gpus]]", "[[profile.gpus]]").replace(
        "[[models]]", "[[profile.models]]"
    )
    (tmp_path / "problem.toml").write_text(f"{fields}[profile]{lines}")
    found = load_problem(tmp_path / "problem.toml")["profile"]
    assert found == profiles.load(str(tmp_path / "mine.toml"))


def text_of(family: str, folder: Path = FOLDER) -> str:
    return lzma.decompress((folder / f"{family}.csv.xz").read_bytes()).decode()


def test_the_shipped_tables_are_small_and_say_whose_they_are():
    for family in FAMILIES:
        assert (FOLDER / f"{family}.csv.xz").stat().st_size < 50_000
        assert "Apache-2.0" in text_of(family).partition("table,")[0]
    assert "Apache License" in (FOLDER / "LICENSE-APACHE-2.0").read_text()
    assert "095f58a5" in (FOLDER / "README.md").read_text()


def test_the_script_makes_the_shipped_tables_again(tmp_path: Path):
    called = {kind: gpu for gpu, kind in shipping.KINDS.items()}
    rows = [line for family in ("qwen2.5", "llama3") for line in text_of(family).splitlines()]
    lines: dict[str, list[str]] = {table: ["header"] for table in shipping.FILES}
    for table, gpu, model, row, column, us in csv.reader(
        line for line in rows if not line.startswith("#")
    ):
        if table in lines:
            kind, _, tp = gpu.partition("-tp")
            knots = [row, column] if column else [row]
            lines[table].append(",".join([called[kind], model, tp or "1", *knots, us]))
    for table, name in shipping.FILES.items():
        (tmp_path / name).write_text("\n".join(lines[table]))
    shipping.make(tmp_path, tmp_path)
    for family in FAMILIES:
        assert text_of(family, tmp_path) == text_of(family)


def test_the_script_mends_outliers_and_fills_the_far_corner():
    points = {(b, k): float(b * k) for b in (1, 2, 4, 8) for k in (10, 20, 40)}
    assert shipping.mended(points) == shipping.filled(points) == points
    assert shipping.mended(points | {(4, 10): 200.0})[4, 10] == 40.0
    # More than the next in one direction alone is what was measured.
    assert shipping.mended(points | {(4, 10): 81.0})[4, 10] == 81.0
    holed = {knots: us for knots, us in points.items() if knots not in [(4, 40), (8, 40)]}
    assert shipping.filled(holed) == points


def test_the_document_has_the_table_of_today():
    assert generated() in DOCUMENT.read_text(encoding="utf-8"), (
        "run `python -m benchmarks.shipping.profile_table`"
    )
