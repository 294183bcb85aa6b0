"""Machines that cannot be are refused, with what can."""

import pytest

from llmroute_env.failure_specs import (
    ExponentialTimes,
    Failures,
    LognormalTimes,
    Outage,
    ReplayedTimes,
)
from llmroute_env.scenarios import configure
from llmroute_env.specs import ConfigError

TIMES = ExponentialTimes(1.0), ExponentialTimes(1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ExponentialTimes(0.0), "mean_s: got 0"),
        (lambda: ExponentialTimes(float("inf")), "mean_s: got inf"),
        (lambda: LognormalTimes(-1.0, 1.0), "median_s: got -1"),
        (lambda: LognormalTimes(1.0, 0.0), "sigma: got 0"),
        (lambda: ReplayedTimes(()), "lengths_s: got"),
        (lambda: ReplayedTimes((1.0, -2.0)), "lengths_s: got -2"),
        (lambda: Outage(-1, 0.0, 1.0), "outage machine: got -1"),
        (lambda: Outage(0, -1.0, 1.0), "outage from_s: got -1"),
        (lambda: Outage(0, 1.0, 1.0), "outage until_s: got 1.0; accepted: later"),
        (lambda: Failures(), "outages: got"),
        (lambda: Failures(TIMES[0]), "failures down: got None"),
        (lambda: Failures(*TIMES, outages=(Outage(0, 0.0, 1.0),)), "failures outages: got"),
        (lambda: Failures(*TIMES, tries=0), "tries: got 0"),
        (lambda: Failures(*TIMES, warm_up_s=-1.0), "warm_up_s: got -1"),
        (lambda: Failures(*TIMES, notice_s=float("nan")), "notice_s: got nan"),
        (lambda: Failures(*TIMES, detection="never"), "detection: got 'never'"),
        (lambda: Failures(*TIMES, timeout_s=1.0), "timeout_s: got 1.0; accepted: 0 with fail-fast"),
        (lambda: Failures(*TIMES, detection="time-out"), "timeout_s: got 0"),
        (lambda: Failures(*TIMES, gpus_per_machine=0), "gpus_per_machine: got 0"),
        (
            lambda: Failures(outages=(Outage(1, 2.0, 3.0), Outage(1, 0.0, 2.0))),
            "outage from_s: got 2.0; accepted: later than 2.0, when machine 1 is back",
        ),
        (
            lambda: Failures(outages=(Outage(0, 0.0, 1.0), Outage(0, 2.0, 3.0)), warm_up_s=1.5),
            "outage from_s: got 2.0; accepted: later than 2.5",
        ),
        (
            lambda: configure("overload", failures=Failures(outages=(Outage(4, 0.0, 1.0),))),
            "outage machine: got 4; accepted: 0 to 3: there are 4 machines",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, gpus_per_machine=3)),
            "gpus_per_machine: got 3; accepted: what divides the 4 GPUs of pool 0",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, gpus_per_machine=8)),
            "gpus_per_machine: got 8",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, pools=(1,))),
            r"failures pools: got \(1,\); accepted: 0 to 0",
        ),
        (
            lambda: configure(
                "overload", split="test", failures=Failures(ReplayedTimes((1.0,) * 2), TIMES[1])
            ),
            None,
        ),
        (
            lambda: configure(
                "overload", failures=Failures(ReplayedTimes((1.0,)), TIMES[1])
            ),
            "lengths_s: got '1 lengths'; accepted: so many that split 'train' has one",
        ),
        (lambda: configure("overload", failures=True), "failures: got True"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, said):
    if said is None:
        assert make().failures is not None
        return
    with pytest.raises(ConfigError, match=said):
        make()
