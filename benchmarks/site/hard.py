"""What is hard about every scenario, in words."""

from __future__ import annotations

STALE = (
    "Herding: whoever decides by what was seen sends everything to the GPU that looked idle, until "
    "it is looked at again."
)

WORLD = {
    "stale-100ms": f"{STALE} Static batches last tens of milliseconds, so that a tenth of a "
    "second is late already.",
    "stale-1s": f"{STALE} What a router has sent since is known to it alone, and worth more "
    "than what it sees.",
    "stale-10s": f"{STALE} Ten seconds are many batches: what is seen says next to nothing.",
    "spot": "The GPUs of the second pool may go, two seconds after they said so. What they "
    "hold then comes back, with less time left; what avoids them too early wastes them.",
    "crash": "A machine that fails fast looks idle and attracts what comes. That it is gone "
    "is seen a second later, or by what has failed there.",
    "mixed-gpus": "The same model is fast here and slow there. Whoever counts requests "
    "instead of predicting times fills the slow GPUs first.",
    "everything": "Nothing that is seen is exact or recent, some of it is gone, and there "
    "are two more actions, to reject and to defer, which cost utility or time whenever they "
    "were not needed.",
}
"""Of what breaks or is late, with whatever requests."""

TOKENS_WORLD = {
    "stale-100ms": "Answers last seconds, so that a tenth of a second is nearly exact: what "
    "counts is to predict a request's effect on those beside it.",
    "stale-1s": f"{STALE} Answers last seconds, so that less is missed than with static batches.",
    "stale-10s": "What was sent since is known, what has been answered since is not: "
    "whoever adds all that he has sent believes that every instance is full.",
    "admission": "At the highest loads not all requests can be served. To refuse one too "
    "many costs its answer, to refuse one too few delays those that run already.",
}

HARD = {
    "stable": "Little: the rate hardly moves, and the largest model nearly suffices. What "
    "is left is to see in time that a few requests came together.",
    "unpredictable-1": "The rate changes 65-fold, within seconds. Whoever fills the GPUs "
    "with the largest model in a calm second cannot empty them when the burst comes, and "
    "whoever is always ready for the burst gives away accuracy.",
    "unpredictable-2": "Two regimes that last for a while: one has to tell from a few "
    "arrivals that the other one has begun.",
    "soft": "Being late costs little by little, so that a better answer may be worth it; "
    "but those who wait behind pay as well.",
    "overload": "The largest model serves a small part of it in time. What has to be "
    "learned is to give up accuracy before queues form, and how much of it at which load.",
    "admission": "As `overload`, but a router may say no at once, before a hopeless request "
    "takes room. Saying no to one that could have been served costs all that it would have "
    "earned.",
    "task-shift": "In the test split the tasks that gain most from a larger model become "
    "rare, and half-way through it those that gain least even more frequent: what was learned "
    "of the mix is wrong.",
    "azure-conv": "Arrivals swing for tens of seconds, and the test split is calmer than "
    "the rest, 1.85 instead of 2.5: what is best on the train split may be too cautious "
    "there.",
    "azure-code": "Silence, then bursts: a silent second says nothing of the one that "
    "comes. The test split is short, so that results on it are uncertain.",
    "paper": "Nothing is shed: after a burst, whoever sent it to a large model works off a "
    "queue of hopeless requests, and misses the calm seconds too.",
    "priority": "It matters whose request is pending: a tenth of the users count 5 times "
    "and have half the time, and wait in the same queues as everybody.",
    "chat": "How long an answer will be is not known before it ends. A long prompt delays "
    "the tokens of all who are served beside it.",
    "code": "Prompts are long, and an answer counts only when all of it is there within 2 "
    "s: one request too many on an instance makes all of them late.",
    "chat-and-code": "Two kinds of requests with deadlines of different kinds share four "
    "instances: what is fast enough for a chat may be too slow for a completion, and disturbs "
    "it.",
    "burst": "The bursts of `unpredictable-1`, but a wrong choice lasts as long as the "
    "answer, for seconds: an instance that was filled cannot be emptied.",
    "long-context": "A prompt of 30,000 tokens takes seconds to compute and much of a "
    "cache, and short ones wait behind it.",
    "kv-pressure": "Caches are small: one that overflows makes requests start anew, so that "
    "an instance which still looks fast becomes slow at once.",
    **WORLD,
    **{f"tokens-{name}": words for name, words in (WORLD | TOKENS_WORLD).items()},
}
