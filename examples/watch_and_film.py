"""See a router decide: live in a window, by gymnasium's RecordVideo, or filmed by the clock.

    python examples/watch_and_film.py [--quick] [--live]

RecordVideo shows one decision a frame; the second film has 10 frames per simulated second, as
`llmroute watch` writes them. Both are in runs/example-videos. Needs the extra `render`.
"""

import sys
from pathlib import Path

import gymnasium
from gymnasium.wrappers import RecordVideo

from agents.loading import load
from benchmarks.watching.episode import Episode, begin
from benchmarks.watching.video import Video
from llmroute_env import configure

OUT = Path("runs/example-videos")


def main(quick: bool = False, live: bool = False) -> dict[str, float]:
    """Film a few decisions and a few seconds; returns the score of the film's episode so far."""
    mode = "human" if live else "rgb_array"
    # A clip of a few hundred decisions may draw each; a whole episode would fill the memory.
    env = gymnasium.make(
        "llmroute_env:LLMRoute-v0", scenario="overload", render_mode=mode, decisions_per_picture=1
    )
    if not live:
        env = RecordVideo(env, str(OUT), name_prefix="decisions")
    env.reset(seed=0)
    for _ in range(8 if quick else 300):
        env.step(0)
    env.close()

    config = configure("unpredictable-1")
    agent = load("largest-feasible", config)
    seconds = 0.3 if quick else 10.0
    episode = Episode("largest-feasible", begin(agent, config, seed=0), agent, seconds)
    frames = Video(OUT / "by-the-clock.gif", wanted_per_s=10.0).film(episode)
    score = float(episode.simulation.summary(0)["utility_of_peak"])
    print(f"{frames} frames in {OUT / 'by-the-clock.gif'}, {score:.3f} of the peak until then")
    return {"largest-feasible": score}


if __name__ == "__main__":
    main("--quick" in sys.argv, "--live" in sys.argv)
