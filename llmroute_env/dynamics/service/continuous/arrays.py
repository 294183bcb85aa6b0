"""What continuous batching reads and what it alone changes: tables and arrays of records.

Moments and lengths of time are integers here, in fine ticks of 2^-40 s.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.state import Records

FINE_BITS = 10
"""A tick of the world is 2^10 fine ticks."""

FINE_PER_S = 2.0**40

NEVER = 2**62

BLOCK = 16
"""Tokens of a block of the KV cache."""

NONE = -1
"""In place of a slot."""

# What does not change about the instances of a pool.
ENGINE = np.dtype(
    [
        ("most_running", "i8"),  # S
        ("most_tokens", "i8"),  # N, of a step
        ("blocks", "i8"),  # C
        ("length_limit", "i8"),  # L
        ("slots", "i8"),  # requests that an instance can hold
        ("host", "i8"),
        ("prefill_factor", "f8"),
        ("decode_knots", "i8"),
        ("prefill_rows", "i8"),
        ("prefill_columns", "i8"),
        ("beside_rows", "i8"),
        ("beside_columns", "i8"),
        ("prefix_caching", "i8"),  # whether the preempted find their blocks again
        ("most_leap", "i8"),  # steps that are taken as one; fewer change nothing but the cost
        ("share", "f8"),  # of an instance that one more token of an answer takes, at its best
    ],
    align=True,
)


class EngineTables(NamedTuple):
    """Read-only, for P pools; N and S are the largest of them, shorter tables end in zeros."""

    engines: Records  # (P,) ENGINE
    linear: NDArray[np.int64]  # (P, N + 1) by tokens
    head: NDArray[np.int64]  # (P, S + 1) by requests that get a token
    decode_knots: NDArray[np.int64]  # (P, J) mean contexts
    decode: NDArray[np.int64]  # (P, S + 1, J) by requests, at the knots
    decode_slope: NDArray[np.int64]  # (P, S + 1, J) per token of context from there on
    mixed: NDArray[np.int64]  # (P, S + 1, J) as `decode`, in steps that also compute prompts
    mixed_slope: NDArray[np.int64]  # (P, S + 1, J)
    prefill_rows: NDArray[np.int64]  # (P, R) tokens of a chunk
    prefill_columns: NDArray[np.int64]  # (P, X) tokens computed before it
    prefill_s: NDArray[np.float64]  # (P, R, X) seconds, without the factor
    prompt: NDArray[np.int64]  # (P, N + 2) attention of a chunk that begins a prompt
    beside_rows: NDArray[np.int64]  # (P, R) requests that decode
    beside_columns: NDArray[np.int64]  # (P, X) tokens of prompts
    beside_s: NDArray[np.float64]  # (P, R, X) seconds that attention of both takes longer
    mean_output_tokens: NDArray[np.float64]  # (T,) of an answer, by task


# One instance. It takes `leap` steps that are alike, from `began` on: step i of them, from 0 on,
# takes `first` + i * `growth`.
INSTANCE = np.dtype(
    [
        ("began", "i8"),
        ("leap", "i8"),
        ("first", "i8"),
        ("growth", "i8"),
        ("steps", "i8"),  # taken before them, in the episode
        ("context", "i8"),  # computed tokens of all that decode, at `began`
        ("free_blocks", "i8"),  # once the first step of the leap has all it needs
        ("taken_blocks", "i8"),  # from the head of the queue of free ones, in the episode, likewise
        ("waiting_tokens", "i8"),  # tokens that exist of all that wait
        ("work", "i8"),  # of all it holds, as it was predicted when they came
        ("decoding", "i4"),
        ("piece", "i4"),  # the line of the attention that the leap began on, or the last did
        # The one request that is part way through its prompt, after the step that runs: its slot,
        # the tokens computed before that step, and those that the step computes.
        ("part", "i4"),
        ("part_computed", "i4"),
        ("part_chunk", "i4"),
        ("new", "i4"),  # the first of those whose prompt ends with the step that runs
        ("first_running", "i4"),
        ("last_running", "i4"),
        ("first_waiting", "i4"),
        ("last_waiting", "i4"),
        ("first_leaving", "i4"),
        ("last_leaving", "i4"),
        ("free_slot", "i4"),
        ("used_slots", "i4"),
    ],
    align=True,
)

WAITING, PREFILLING, DECODING = range(3)

# One request that an instance holds.
SLOT = np.dtype(
    [
        ("arrival_s", "f8"),
        ("deadline_s", "f8"),
        ("start_s", "f8"),  # when it was first admitted; < 0 before
        ("first_token_s", "f8"),
        ("gone", "i8"),  # when its user's patience ends
        ("work", "i8"),
        ("end", "i8"),  # while it decodes: steps of the instance after which it is answered
        ("place", "i8"),  # of its first block in the queue of free ones, since it was preempted
        ("number", "i4"),  # its number in the episode
        ("prompt", "i4"),
        ("output", "i4"),
        ("answered", "i4"),  # tokens, as long as it does not decode
        ("preemptions", "i4"),
        ("full_blocks", "i4"),  # that were computed when it was preempted; 0 before
        ("task", "i2"),
        ("user_class", "i2"),
        ("status", "i2"),
        ("leaving", "i2"),  # its patience ended within the step that runs
        # In the list that it is in: running, waiting, or free slots.
        ("next", "i4"),
        ("previous", "i4"),
        ("next_leaving", "i4"),
    ],
    align=True,
)

FINISHING, PATIENCE = range(2)
"""The heaps of an instance: who is answered next, and whose patience ends next."""

ENTRY = np.dtype([("key", "i8"), ("number", "i4"), ("slot", "i4")])


class EngineArrays(NamedTuple):
    """E envs of G instances with W slots each; V rows where State.gpus has so many."""

    instances: Records  # (V, G) INSTANCE
    residues: NDArray[np.int32]  # (E, G, BLOCK) how many decode that fill a block when it is due
    slots: Records  # (E, G * W) SLOT
    heaps: Records  # (E, 2 * G * W) ENTRY, the two of an instance one after the other
    places: NDArray[np.int32]  # (E, 2 * G * W) where in a heap a slot is, from 1 on; 0 if nowhere
    sizes: NDArray[np.int32]  # (E, G, 2) of the heaps
