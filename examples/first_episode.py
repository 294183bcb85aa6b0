"""A first episode by hand: look at the pending request, pick a model, read what came of it.

    python examples/first_episode.py [--quick]

The rule here takes the largest model that is predicted to answer within the deadline.
"""

import sys

import gymnasium
import numpy as np

import llmroute_env  # noqa: F401 - registers the ids


def main(quick: bool = False) -> dict[str, float]:
    """Play one episode; returns its score."""
    window_s = 2.0 if quick else 30.0
    env = gymnasium.make("LLMRoute-v0", scenario="unpredictable-1", window_s=window_s)
    models = env.get_wrapper_attr("config").model_names
    observation, info = env.reset(seed=0)
    over, total = False, 0.0
    while not over:
        slack = observation[-len(models) :]  # the last columns, smallest model first
        in_time = np.flatnonzero(slack > 0.2)
        action = int(in_time[-1]) if len(in_time) else int(slack.argmax())
        observation, reward, over, _, info = env.step(action)
        total += float(reward)
    summary = info["summary"]
    print(f"{summary['requests']:,} requests, utility {total:,.1f}")
    print(f"{summary['utility_of_peak']:.3f} of the peak, {summary['deadline_met']:.1%} in time")
    for name, share in summary["share"].items():
        print(f"  {name}: {share:.1%}")
    return {"by hand": float(summary["utility_of_peak"])}


if __name__ == "__main__":
    main("--quick" in sys.argv)
