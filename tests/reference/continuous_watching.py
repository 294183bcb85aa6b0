"""Random cases as routers see them, and the environments that show them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any
from zlib import crc32

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.env import LLMRouteEnv
from llmroute_env.specs import Deadline, Profile, RequestClass
from traces import catalog
from traces.lengths import FixedLengths, Lengths, LognormalLengths, MeasuredLengths
from traces.tasks import AbruptMix, Mix, TaskMix
from traces.trace import Trace

from .continuous_adapter import class_of, config_of
from .continuous_case import TICK_S, UserCase
from .continuous_cases import STYLES, Draw, random_case
from .continuous_episode import Watching
from .continuous_load import Due, Tokens, mean_of, mean_of_lognormal

DISPATCHERS = ("least-work", "shortest-queue", "round-robin")


@dataclass(frozen=True)
class Told:
    """A case as it is watched, its environment's configuration, and the class of each request."""

    watching: Watching
    config: EnvConfig
    classes: tuple[int, ...]

    def environment(self) -> LLMRouteEnv:
        names = [field.name for field in fields(EnvConfig)]
        env = LLMRouteEnv(
            "stable", completions=True, **{name: getattr(self.config, name) for name in names}
        )
        env.simulation.tape.user_class[:] = self.classes
        return env


class Teller:
    """Draws what a case of the service does not have, and nothing that changes the case."""

    def __init__(self, seed: int):
        style = list(STYLES.values())[seed % len(STYLES)]
        self.rng = np.random.default_rng((seed, 41))
        self.draw = Draw(self.rng, style)
        self.case = random_case(seed)
        self.tasks, self.classes = self.draw.integer(1, 3), self.draw.integer(0, 3)
        # Whether the trace says what its requests are.
        self.tells = self.draw.chance(0.7)
        self.mix = self.drawn_mix()
        self.recipes = tuple(self.recipe() for _ in range(self.tasks * self.draw.chance(0.4)))
        self.task = self.drawn_tasks()

    def told(self) -> Told:
        usual = self.user()
        users = [self.user() for _ in range(self.tasks * self.classes)] or [usual] * self.tasks
        each = max(self.classes, 1)
        falls = [self.draw.chance(0.3) for _ in range(each)]
        classes = self.rng.integers(0, each, len(self.task)).tolist()
        lengths = self.lengths()
        models = 1 + max(pool.model for pool in self.case.pools)
        drawn = zip(self.case.requests, lengths, classes, self.task, strict=True)
        requests = [
            replace(
                request,
                prompt_tokens=max(prompt, 1),
                output_tokens=max(answer, 1),
                user=c * self.tasks + task,
            )
            for request, (prompt, answer), c, task in drawn
        ]
        watching = Watching(
            case=replace(self.case, users=tuple(users), requests=tuple(requests)),
            tasks=tuple(self.task),
            accuracy=tuple(map(tuple, self.rng.uniform(0.1, 1.0, (self.tasks, models)).tolist())),
            classes=self.classes,
            exponential=frozenset(
                n for n, user in enumerate(users) if falls[n // self.tasks] and user.grace
            ),
            dispatcher=str(self.rng.choice(DISPATCHERS)),
            by_model=self.draw.chance(0.5),
            mean_tokens=tuple(self.mean_of(t, lengths) for t in range(self.tasks)),
            weights=self.weights(),
            due=Due(*(ticks * TICK_S for ticks in (usual.deadline, usual.ttft, usual.tpot))),
        )
        return Told(watching, self.config(watching, usual, falls, lengths), tuple(classes))

    def user(self) -> UserCase:
        user = self.draw.user(self.case.pools[0])
        never = {name: 0 for name in ("deadline", "ttft", "tpot") if self.draw.chance(0.05)}
        return replace(user, weight=1.0 if self.classes == 0 else user.weight, **never)

    # Tasks.

    def drawn_mix(self) -> Mix:
        weights = [tuple(self.rng.uniform(0.1, 1.0, self.tasks).tolist()) for _ in range(2)]
        return TaskMix(weights[0]) if self.draw.chance(0.7) else AbruptMix(tuple(weights), (1e-3,))

    def drawn_tasks(self) -> list[int]:
        requests = self.case.requests
        if self.tells:
            return [self.draw.integer(0, self.tasks - 1) for _ in requests]
        _, rng = np.random.default_rng(0).spawn(2)
        arrivals_s = np.array([request.arrival * TICK_S for request in requests])
        return [int(task) for task in self.mix.sample(arrivals_s, rng)]

    def weights(self) -> tuple[float, ...]:
        if self.tells:
            counts = Counter(self.task)
            return tuple(float(counts[task]) for task in range(self.tasks))
        return self.mix.weights if isinstance(self.mix, TaskMix) else (1.0,) * self.tasks

    # Lengths.

    def recipe(self) -> Lengths:
        kind = self.draw.integer(0, 4)
        if kind == 0:
            return MeasuredLengths(str(self.rng.choice(["azure-conv", "azure-code"])))
        if kind == 1:
            return FixedLengths(self.draw.spread(1, 100), self.draw.spread(1, 40))
        means, stds = self.rng.uniform(0.5, 3.5, 2), self.rng.uniform(0, 1.5, 2)
        drawn = (float(means[0]), float(stds[0]), float(means[1]), float(stds[1]))
        return LognormalLengths(*drawn, most_tokens=self.draw.spread(5, 400))

    def lengths(self) -> list[tuple[int, int]]:
        """Of every request, as the tape has them, but for zeros."""
        own = [(r.prompt_tokens, r.output_tokens) for r in self.case.requests]
        if not self.recipes:
            return [own[0], *(self.with_zeros(*one) for one in own[1:])]
        rng = np.random.default_rng((0, crc32(b"lengths"), crc32(b"all")))
        for task, recipe in enumerate(self.recipes):
            rows = [n for n, of in enumerate(self.task) if of == task]
            for row, *tokens in zip(rows, *recipe.sample(len(rows), rng), strict=True):
                own[row] = int(tokens[0]), int(tokens[1])
        return own

    def with_zeros(self, prompt: int, answer: int) -> tuple[int, int]:
        return prompt * (not self.draw.chance(0.05)), answer * (not self.draw.chance(0.05))

    def mean_of(self, task: int, lengths: list[tuple[int, int]]) -> Tokens:
        if not self.recipes:
            own = [one for one, of in zip(lengths, self.task, strict=True) if of == task]
            return mean_of(own if self.tells and own else lengths)
        recipe = self.recipes[task]
        if isinstance(recipe, LognormalLengths):
            return mean_of_lognormal(recipe)
        if isinstance(recipe, FixedLengths):
            return float(recipe.prompt_tokens), float(recipe.output_tokens)
        assert isinstance(recipe, MeasuredLengths)
        source = catalog.load(recipe.source)
        pairs = zip(source.prompt_tokens.tolist(), source.output_tokens.tolist(), strict=True)
        return mean_of(list(pairs))

    # The environment.

    def config(
        self, watching: Watching, usual: UserCase, falls: list[bool],
        lengths: list[tuple[int, int]],
    ) -> EnvConfig:  # fmt: skip
        plain = config_of(watching.case)
        # Recipes count, whatever the trace says.
        lengths = [(7, 7) for _ in lengths] if self.recipes else lengths
        names = tuple(f"task-{task}" for task in range(self.tasks))
        assert isinstance(plain.profile, Profile)
        assert isinstance(plain.workload, Trace)
        models = [
            replace(model, accuracy=tuple(row[m] for row in watching.accuracy))
            for m, model in enumerate(plain.profile.models)
        ]
        changes: dict[str, Any] = {
            "profile": replace(plain.profile, tasks=names, models=tuple(models)),
            "workload": replace(
                plain.workload,
                task=np.array(self.task if self.tells else [0] * len(self.task), np.int16),
                tasks=names,
                has_tasks=self.tells,
                prompt_tokens=np.array([p for p, _ in lengths], np.int32),
                output_tokens=np.array([o for _, o in lengths], np.int32),
            ),
            "deadline": deadline_of(0, usual, not self.classes and falls[0]),
            "classes": self.request_classes(watching.case.users, falls),
            "mix": self.mix,
            "lengths": dict(zip(names, self.recipes, strict=False)),
            "observation": FEATURE_NAMES,
            "dispatcher": watching.dispatcher,
            "action": "model" if watching.by_model else "gpu-model",
        }
        return replace(plain, **changes)

    def request_classes(
        self, users: tuple[UserCase, ...], falls: list[bool]
    ) -> tuple[RequestClass, ...]:
        return tuple(
            RequestClass(
                f"class-{c}",
                task_weights={
                    f"task-{t}": users[c * self.tasks + t].weight for t in range(self.tasks)
                },
                task_deadlines={
                    f"task-{t}": deadline_of(t, users[c * self.tasks + t], falls[c])
                    for t in range(self.tasks)
                },
            )
            for c in range(self.classes)
        )


def deadline_of(number: int, user: UserCase, exponential: bool) -> Deadline:
    found = class_of(number, user).deadline
    assert found
    return replace(found, kind="exponential") if exponential and user.grace else found


def number_of(action: tuple[int, int] | None, watching: Watching) -> int:
    """The environment's number for an action; reject comes last."""
    models = len(watching.accuracy[0])
    if action is None:
        return models * (1 if watching.by_model else len(watching.case.instances))
    return action[1] if watching.by_model else action[0] * models + action[1]


def cut(told: Told, first: int, arrivals_s: tuple[float, ...]) -> Watching:
    """The requests of a window, with the actions of the case in their order."""
    case, kept = told.watching.case, slice(first, first + len(arrivals_s))
    ticks = [round(arrival_s / TICK_S) for arrival_s in arrivals_s]
    requests = tuple(
        replace(request, arrival=arrival, action=other.action)
        for request, arrival, other in zip(case.requests[kept], ticks, case.requests, strict=False)
    )
    return replace(
        told.watching, case=replace(case, requests=requests), tasks=told.watching.tasks[kept]
    )
