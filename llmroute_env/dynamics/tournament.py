"""Tournament trees over the GPUs: whose event is next, and who has the least load.

A tree over n GPUs keeps in its inner node k (of 1..n-1) the winner among the leaves below: the GPU
with the least key, ties to the lower number. Reading the winner costs O(1) and a new key O(log n),
so that an arrival never touches GPUs that it does not concern.
"""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.state import Records

EVENT, LOAD, ARRIVAL = range(3)
"""The tournaments: the service model's next event (inf if none), the dispatcher's load, and, with
signals that are late, when the next of them arrives."""


@compiled
def winner(contests: Records, e: int, column: int, first: int, n: int, node: int) -> int:
    """The winner of `node` in the tree over n GPUs from `first` on; nodes n..2n-1 are leaves."""
    return first + node - n if node >= n else contests[e, column, first + node].winner


@compiled
def play(contests: Records, e: int, column: int, first: int, n: int, node: int) -> int:
    """The winner between the two children of `node`."""
    left = winner(contests, e, column, first, n, 2 * node)
    right = winner(contests, e, column, first, n, 2 * node + 1)
    left_key, right_key = contests[e, column, left].key, contests[e, column, right].key
    if left_key < right_key or (left_key == right_key and left < right):
        return left
    return right


@compiled
def set_key(
    contests: Records, e: int, column: int, first: int, n: int, gpu: int, key: float
) -> None:
    """Give `gpu` a new key and replay its matches."""
    contests[e, column, gpu].key = key
    node = (gpu - first + n) >> 1
    while node >= 1:
        before = contests[e, column, first + node].winner
        after = play(contests, e, column, first, n, node)
        # Another has won here before and again: nothing above has changed. If `gpu` itself has won
        # again, its new key may still lose above.
        if after == before and after != gpu:
            break
        contests[e, column, first + node].winner = after
        node >>= 1


@compiled
def fill_tree(contests: Records, e: int, column: int, first: int, n: int) -> None:
    """Play all matches."""
    for node in range(n - 1, 0, -1):
        contests[e, column, first + node].winner = play(contests, e, column, first, n, node)
