"""Continuous batching once more, step by step, in lists and integers: docs/continuous-batching.md.

It shares nothing with the simulator. Moments are integers, fine ticks of 2^-40 s.
"""

from __future__ import annotations

import math
from collections import deque

from .continuous_case import Case, Fate, PoolCase, RequestCase, Step, UserCase
from .continuous_times import Times

FINE_PER_TICK = 1024


def told(moment: int) -> int:
    """What the world is told of a moment: the next whole tick."""
    return -(-moment // FINE_PER_TICK)


class Request:
    """A request at its instance, of which no more than `limit` tokens are answered."""

    def __init__(self, number: int, case: RequestCase, user: UserCase, limit: int):
        self.number, self.prompt, self.limit, self.user = number, case.prompt_tokens, limit, user
        self.arrival = case.arrival * FINE_PER_TICK
        self.gone = self.arrival + user.patience * FINE_PER_TICK
        self.answered = self.computed = self.preemptions = 0
        self.blocks: list[int] = []  # numbers of those it holds, of its first tokens first
        self.answers = False  # whether it has answered a token since it was last admitted
        self.start: int | None = None
        self.first: int | None = None

    @property
    def tokens(self) -> int:
        return self.prompt + self.answered


class Instance:
    """One engine: who runs, who waits, and the step that is under way."""

    block = 16

    def __init__(self, pool: PoolCase, queue_capacity: int, prefix_caching: bool = True):
        self.pool, self.capacity, self.prefix_caching = pool, queue_capacity, prefix_caching
        self.queue = deque(range(pool.blocks))  # of free blocks
        self.kept: dict[int, tuple[int, int]] = {}  # by block: whose, and which of its blocks
        self.times = Times(pool.times)
        self.longest = min(pool.context_tokens, self.block * pool.blocks)
        self.running: list[Request] = []
        self.waiting: list[Request] = []
        self.given: dict[Request, int] = {}
        self.budget = 0
        self.end: int | None = None
        self.ended: list[tuple[Request, str, int]] = []

    # What happens as time goes by.

    def refuses(self, request: Request) -> bool:
        return len(self.waiting) >= self.capacity or request.prompt >= self.longest

    def arrive(self, request: Request) -> None:
        """Everything due at or before the arrival has been done."""
        self.waiting.append(request)
        if self.end is None:
            self.begin_step(request.arrival)

    def advance(self, until: float) -> None:
        while self.end is not None and self.end <= until:
            self.abort([r for r in self.waiting if r.gone < self.end], None)
            self.end_step(self.end)
        self.abort([r for r in self.waiting if r.gone <= until], None)

    def abort(self, impatient: list[Request], moment: int | None) -> None:
        """At `moment`, or as each of them runs out of patience."""
        for request in sorted(impatient, key=lambda r: (r.gone, r.number)):
            self.leave(request, "aborted", int(request.gone) if moment is None else moment)

    def leave(self, request: Request, outcome: str, moment: int) -> None:
        (self.running if request in self.running else self.waiting).remove(request)
        self.release(request)
        self.ended.append((request, outcome, moment))

    # A step.

    def begin_step(self, t: int) -> None:
        self.given, self.budget = {}, self.pool.max_num_batched_tokens
        preempted = self.walk()
        if not preempted:
            self.admit(t)
        self.end = t + self.duration()

    def free(self) -> int:
        return len(self.queue)

    def blocks_of(self, tokens: int) -> int:
        return -(-tokens // self.block)

    def give(self, request: Request, tokens: int) -> None:
        self.given[request] = tokens
        self.budget -= tokens
        while len(request.blocks) < self.blocks_of(request.computed + tokens):
            request.blocks.append(self.take())

    def take(self) -> int:
        block = self.queue.popleft()
        self.kept.pop(block, None)
        return block

    def release(self, request: Request) -> None:
        self.queue.extend(reversed(request.blocks))
        request.blocks = []

    def own_blocks(self, request: Request) -> list[int]:
        """Those that were computed before it was preempted and nobody has taken, from the first."""
        found: list[int] = []
        for place in range(self.blocks_of(request.tokens) if self.prefix_caching else 0):
            own = [b for b in self.queue if self.kept.get(b) == (request.number, place)]
            if not own:
                break
            found += own
        return found

    def find(self, request: Request) -> None:
        for block in self.own_blocks(request):
            self.queue.remove(block)
            request.blocks.append(block)
            request.computed += self.block

    def walk(self) -> bool:
        """Give tokens to those who run; whether anyone was preempted for that."""
        preempted, place = False, 0
        while place < len(self.running):
            request = self.running[place]
            tokens = min(request.tokens - request.computed, self.budget)
            more = self.blocks_of(request.computed + tokens) - len(request.blocks)
            while request in self.running and more > self.free():
                self.preempt(self.victim(place))
                preempted = True
            if request in self.running:
                self.give(request, tokens)
                place += 1
        return preempted

    def victim(self, place: int) -> Request:
        return self.running[-1]

    def preempt(self, request: Request) -> None:
        self.running.remove(request)
        self.release(request)
        request.computed = 0
        request.answers = False
        request.preemptions += 1
        self.waiting.insert(0, request)

    def admit(self, t: int) -> None:
        while self.waiting and self.budget > 0 and len(self.running) < self.pool.max_num_seqs:
            head = self.waiting[0]
            if not self.fits(head):
                return
            self.running.append(self.waiting.pop(0))
            self.find(head)
            self.give(head, min(head.tokens - head.computed, self.budget))
            head.start = t if head.start is None else head.start

    def fits(self, head: Request) -> bool:
        return self.blocks_of(head.tokens) <= self.free()

    def is_decoding(self, request: Request) -> bool:
        return request.answers

    def duration(self) -> int:
        decoding = [r for r in self.given if self.is_decoding(r)]
        context = sum(request.computed + 1 for request in decoding)
        chunks = [(c, r.computed) for r, c in self.given.items() if not self.is_decoding(r)]
        answers = sum(r.computed + c == r.tokens for r, c in self.given.items())
        return self.times.step(len(decoding), context, chunks, answers)

    def end_step(self, t: int) -> None:
        for request, tokens in self.given.items():
            request.computed += tokens
            for place in range(request.computed // self.block):
                self.kept[request.blocks[place]] = request.number, place
            if request.computed == request.tokens:
                request.answered += 1
                request.answers = True
                request.first = t if request.first is None else request.first
        self.finish(t)
        self.abort([r for r in [*self.running, *self.waiting] if r.gone <= t], t)
        self.end = None
        if self.running or self.waiting:
            self.begin_step(t)

    def is_done(self, request: Request, t: int) -> bool:
        return request.answered == request.limit and t <= request.gone

    def finish(self, t: int) -> None:
        done = [request for request in self.running if self.is_done(request, t)]
        for request in sorted(done, key=lambda r: r.number):
            self.leave(request, "finished", t)


def lateness(request: Request, first: int, last: int) -> float:
    """In ticks, of an answer that is complete."""
    user, arrival = request.user, request.arrival // FINE_PER_TICK
    paced = (request.answered - 1) * user.tpot if request.answered > 1 else 0
    return max(last - arrival - user.deadline, first - arrival - user.ttft, last - first - paced)


class Service:
    """All instances, and the requests in the order in which they come."""

    instance = Instance

    def __init__(self, case: Case, accuracy: float = 1.0):
        self.case, self.accuracy = case, accuracy
        pools = case.instances
        usual = case.queue_capacity, case.prefix_caching
        self.instances = [self.instance(pool, *usual) for pool in pools]

    def run(self) -> list[Step]:
        steps = []
        for number, request in enumerate(self.case.requests):
            rejected = self.route(number, request)
            following = self.case.requests[number + 1 :]
            until = following[0].arrival * FINE_PER_TICK if following else math.inf
            for instance in self.instances:
                instance.advance(until)
            steps.append(self.step([*rejected, *self.collect()]))
        return steps

    def step(self, ended: list[Fate]) -> Step:
        waiting = tuple(len(instance.waiting) for instance in self.instances)
        running = tuple(len(instance.running) for instance in self.instances)
        return Step(tuple(ended), waiting, running)

    def route(self, number: int, case: RequestCase) -> list[Fate]:
        """Who is rejected for it: at most the request itself."""
        place, model = case.action or (-1, -1)
        if place >= 0 and self.case.instances[place].model == model:
            instance = self.instances[place]
            limit = min(case.output_tokens, instance.longest - case.prompt_tokens)
            request = Request(number, case, self.case.users[case.user], limit)
            if not instance.refuses(request):
                instance.arrive(request)
                return []
        t = case.arrival
        return [Fate(number, "rejected", place, t, t, t, 0, 0, 0.0)]

    def collect(self) -> list[Fate]:
        """Who ended, instances in the order of (tick, number)."""
        found = []
        for place, instance in enumerate(self.instances):
            found += [(told(end), place, request, what) for request, what, end in instance.ended]
            instance.ended.clear()
        found.sort(key=lambda one: one[:2])
        return [self.fate(*one) for one in found]

    def fate(self, end: int, place: int, request: Request, outcome: str) -> Fate:
        start = end if request.start is None else told(request.start)
        first = end if request.first is None else told(request.first)
        utility = 0.0
        if outcome == "finished":
            late = lateness(request, first, end)
            outcome = "in time" if late <= 0 else "late"
            utility = request.user.weight * self.accuracy * kept(late, request.user.grace)
        tokens = request.answered, request.preemptions
        return Fate(request.number, outcome, place, start, first, end, *tokens, utility)


def kept(late: float, grace: int) -> float:
    """The share of its utility that an answer keeps."""
    if late <= 0:
        return 1.0
    return 1 - late / grace if late < grace else 0.0


def simulate(case: Case) -> list[Step]:
    return Service(case).run()
