"""Requests at one engine of the simulator itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.fidelity.recorded import Assumptions, Seconds, Setup, step_times_of
from llmroute_env.config import EnvConfig
from llmroute_env.engine_specs import Engine, StepTimes
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline, GpuSpec, ModelSpec, Pool, Profile
from traces.trace import Provenance, Trace

LATE_S = 1e6
"""A deadline that nobody misses: nothing here depends on it."""


class Requests(NamedTuple):
    """N requests as they arrive."""

    arrival_s: Seconds
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


class Served(NamedTuple):
    """What became of N requests, in the order of their arrivals."""

    arrival_s: Seconds
    first_token_s: Seconds
    last_token_s: Seconds
    output_tokens: NDArray[np.int32]
    preemptions: NDArray[np.int32]

    def some(self, chosen: slice | NDArray[np.bool_]) -> Served:
        """Those chosen."""
        return Served(
            self.arrival_s[chosen],
            self.first_token_s[chosen],
            self.last_token_s[chosen],
            self.output_tokens[chosen],
            self.preemptions[chosen],
        )

    @property
    def figures(self) -> dict[str, Seconds]:
        """TTFT, TPOT and E2E of every request, in seconds."""
        after = self.last_token_s - self.first_token_s
        return {
            "TTFT": self.first_token_s - self.arrival_s,
            "TPOT": after / np.maximum(self.output_tokens - 1, 1),
            "E2E": self.last_token_s - self.arrival_s,
        }


def configuration(
    times: StepTimes, setup: Setup, requests: Requests, prefix_caching: bool
) -> EnvConfig:
    """One engine that gets these requests."""
    # Blocks are given, so that neither weights nor memory decide anything.
    model = ModelSpec("model", 1, 0, 0, (), (1.0,), step_times={"gpu": times})
    sizes = setup.max_num_seqs, setup.max_num_batched_tokens
    gpu = GpuSpec("gpu", 1, max_num_seqs=sizes[0], max_num_batched_tokens=sizes[1])
    count = len(requests.arrival_s)
    trace = Trace(
        requests.arrival_s,
        np.zeros(count, np.int16),
        requests.prompt_tokens,
        requests.output_tokens,
        float(requests.arrival_s[-1]) + 1.0,
        Provenance("recorded"),
        tasks=("any",),
    )
    return EnvConfig(
        profile=Profile("recorded", ("any",), (model,), (gpu,)),
        pools=(Pool(1, ("model",)),),
        deadline=Deadline(LATE_S),
        queue_capacity=max(count, 1),
        workload=trace,
        load=None,
        split="all",
        window_s=np.inf,
        service="continuous",
        engine=Engine(kv_blocks={"model": setup.kv_blocks}, prefix_caching=prefix_caching),
    )


def serve(setup: Setup, assumed: Assumptions, requests: Requests) -> Served:
    """Send requests to an engine that was recorded until the last is answered."""
    return serve_in(step_times_of(setup, assumed), setup, requests, assumed.prefix_caching)


def serve_in(
    times: StepTimes, setup: Setup, requests: Requests, prefix_caching: bool = True
) -> Served:
    """The same in steps that take these times, whatever `setup` calls them."""
    count = len(requests.arrival_s)
    served = Served(*(np.full(count, np.nan) for _ in range(3)), *np.zeros((2, count), np.int32))
    simulation = Simulation(configuration(times, setup, requests, prefix_caching))
    simulation.begin(np.zeros(1, np.uint64))
    for _ in range(count):
        simulation.step(np.zeros(1, np.int64))
        ended, tokens = simulation.completions, simulation.completion_tokens
        at = ended["decision"]
        served.arrival_s[at], served.last_token_s[at] = ended["arrival_s"], ended["finish_s"]
        served.first_token_s[at] = tokens["first_token_s"]
        served.output_tokens[at] = tokens["output_tokens"]
        served.preemptions[at] = tokens["preemptions"]
    return served
