"""Continuous batching on a decoder with random weights: who is served when, and rightly."""

import numpy as np
import pytest
import torch

from benchmarks.measuring.attention import chunk
from benchmarks.measuring.paged import WAYS, best_way, places_of
from benchmarks.measuring.scheduling import PAGE, InFlight, Limits, Piece, Scheduler
from benchmarks.measuring.serving import Engine, Requests, serve
from benchmarks.measuring.shapes import EngineShape
from llmroute_env import ConfigError

SMALL = EngineShape(
    layers=2,
    hidden=32,
    heads=4,
    kv_heads=2,
    head_width=8,
    inner=48,
    vocabulary=101,
    context_tokens=1024,
)
LIMITS = Limits(most_running=3, most_tokens=64, pages=8)


def test_steps_keep_to_their_limits_and_serve_in_order():
    rng, scheduler = np.random.default_rng(0), Scheduler(LIMITS)
    sizes = rng.integers(1, 400, size=(20, 2)) // (1, 20) + 1
    for number, (prompt, output) in enumerate(sizes.tolist()):
        scheduler.add(InFlight(number, prompt, output))
    tokens, begun, answered = 0, [], np.zeros(20, int)
    while pieces := scheduler.plan():
        assert sum(piece.tokens for piece in pieces) <= LIMITS.most_tokens
        assert len(scheduler.running) <= LIMITS.most_running
        pages = [page for request in scheduler.running for page in request.pages]
        assert len(set(pages)) == len(pages)
        begun += [p.request.number for p in pieces if p.request.computed == 0]
        tokens += sum(piece.tokens for piece in pieces)
        for request in scheduler.finish(pieces):
            answered[request.number] += 1
    assert begun == list(range(20))
    assert answered.tolist() == sizes[:, 1].tolist()
    # Every token of a prompt once, and every one that was answered, but the last.
    assert tokens == int((sizes.sum(axis=1) - 1).sum())
    assert sorted(scheduler.free) == list(range(LIMITS.pages))


def test_those_that_decode_go_before_prompts():
    scheduler = Scheduler(LIMITS)
    scheduler.add(InFlight(0, 10, 5))
    scheduler.finish(scheduler.plan())
    scheduler.add(InFlight(1, 500, 1))
    pieces = scheduler.plan()
    assert [(p.request.number, p.tokens) for p in pieces] == [(0, 1), (1, 63)]


def test_a_request_that_never_has_room_is_refused():
    with pytest.raises(ConfigError, match="pages of a request: got 9; accepted: at most 8"):
        Scheduler(LIMITS).add(InFlight(0, 8 * PAGE, 2))


def test_attention_in_pages_is_that_of_each_request_alone():
    torch.manual_seed(0)
    pieces = [
        Piece(InFlight(0, 300, 2, pages=[5, 2]), 300),
        Piece(InFlight(1, 20, 9, computed=23, answered=4, pages=[3]), 1),
    ]
    at = places_of(pieces, [0] * 301, "cpu")
    query = torch.randn(301, 4, 8)
    keys, values = torch.randn(2, 6, PAGE, 2, 8)
    found = WAYS["one by one"](query, keys, values, at)
    near = [(torch.cat([c[5], c[2]])[:300], c[3][:24]) for c in (keys, values)]
    for rows, k, v in (
        (slice(300), near[0][0], near[1][0]),
        (slice(300, 301), near[0][1], near[1][1]),
    ):
        q = query[rows].transpose(0, 1)
        k, v = (x.repeat_interleave(2, 1).transpose(0, 1) for x in (k, v))
        scores = q @ k.transpose(1, 2) / 8**0.5
        length, seen = k.shape[1], torch.arange(q.shape[1])[:, None]
        hidden = torch.arange(length)[None] > seen + length - len(seen)
        expected = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        torch.testing.assert_close(found[rows], expected.transpose(0, 1))


def stand_in(query, key, value, ends, key_ends, most, most_keys, **more):
    """What `varlen_attn` is documented to compute, in one loop over the requests."""
    assert more["window_size"] == (-1, 0)
    assert most == int(ends.diff().max())
    assert most_keys >= int(key_ends.diff().max())
    found = torch.empty_like(query)
    for r in range(len(ends) - 1):
        if "block_table" in more:
            used = int(more["seqused_k"][r])
            pages = more["block_table"][r].long()
            k, v = (cache[pages].flatten(0, 1)[:used] for cache in (key, value))
        else:
            k, v = (cache[key_ends[r] : key_ends[r + 1]] for cache in (key, value))
        found[ends[r] : ends[r + 1]] = chunk(query[ends[r] : ends[r + 1]], k, v)
    return found


@pytest.mark.parametrize("way", ["in pages", "packed"])
def test_flash_attention_is_told_where_everything_is(way: str, monkeypatch: pytest.MonkeyPatch):
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    torch.manual_seed(2)
    pieces = [
        Piece(InFlight(0, 300, 2, pages=[5, 2]), 300),
        Piece(InFlight(1, 20, 9, computed=23, answered=4, pages=[3]), 1),
        Piece(InFlight(2, 600, 9, computed=250, pages=[0, 4, 1]), 20),
    ]
    at = places_of(pieces, [0] * 321, "cpu")
    query, (keys, values) = torch.randn(321, 4, 8), torch.randn(2, 6, PAGE, 2, 8)
    expected = WAYS["one by one"](query, keys, values, at)
    torch.testing.assert_close(WAYS[way](query, keys, values, at), expected)
    assert best_way(query, keys, values, at) == "in pages"


def test_an_answer_does_not_depend_on_who_is_served_beside_it():
    torch.manual_seed(1)
    engine = Engine(SMALL, "cpu", LIMITS)
    sizes = [(70, 4), (5, 6), (130, 3)]

    def answers(chosen):
        scheduler, words, found = Scheduler(LIMITS), {}, {}
        for number in chosen:
            scheduler.add(InFlight(number, *sizes[number]))
        while pieces := scheduler.plan():
            given = [words.get(p.request.number, 7) for p in pieces for _ in range(p.tokens)]
            told = engine.step(pieces, given)
            for request, word in zip(scheduler.finish(pieces), told, strict=True):
                words[request.number] = word
                found.setdefault(request.number, []).append(word)
        return found

    with torch.inference_mode():
        together = answers([0, 1, 2])
        alone = answers([0]) | answers([1]) | answers([2])
    assert together == alone
    assert [len(together[n]) for n in range(3)] == [4, 6, 3]


def test_requests_are_sent_when_they_are_due_and_every_one_is_answered():
    requests = Requests(np.array([0.0, 0.01, 0.3]), np.array([40, 100, 5]), np.array([3, 2, 4]))
    with torch.inference_mode():
        found = serve(Engine(SMALL, "cpu", LIMITS), requests, limit_s=60.0)
    arrival, seen, first, last = (
        np.array(found[name]) for name in ("arrival_s", "queued_s", "first_token_s", "last_token_s")
    )
    assert (arrival == requests.arrival_s).all()
    # Told in whole microseconds.
    assert (seen >= arrival - 1e-6).all()
    assert (first > seen).all()
    assert (last >= first).all()
    assert found["attention"] == "one by one"


def test_what_is_not_answered_in_time_has_no_times():
    requests = Requests(np.zeros(3), np.array([40, 40, 40]), np.array([500, 500, 500]))
    with torch.inference_mode():
        found = serve(Engine(SMALL, "cpu", LIMITS), requests, limit_s=0.2)
    assert found["last_token_s"] == [None] * 3
