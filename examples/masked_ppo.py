"""Actions that cannot be taken, masked: MaskablePPO of sb3-contrib decides (GPU, model) pairs.

    python examples/masked_ppo.py [--quick]

Not every GPU hosts every model here; what is sent to one that does not would be rejected. Needs the
extra `sb3`.
"""

import sys
from typing import Any

from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from llmroute_env import LLMRouteEnv, LLMRouteVectorEnv, Pool
from llmroute_env.sb3 import SB3VecEnv

POOLS = (Pool(2, ("opt-125m", "opt-1.3b")), Pool(2, ("opt-6.7b",)))


def main(quick: bool = False) -> dict[str, float]:
    """Train and play one test episode; returns its score."""
    window_s = 0.2 if quick else 10.0
    fields: dict[str, Any] = {"pools": POOLS, "action": "gpu-model", "window_s": window_s}
    native = LLMRouteVectorEnv(16, "overload", autoreset_mode="SameStep", **fields)
    model = MaskablePPO("MlpPolicy", SB3VecEnv(native), n_steps=16, batch_size=128, seed=0)
    model.learn(512 if quick else 1_000_000)

    env = LLMRouteEnv("overload", split="test", **fields)
    print(f"{env.action_masks().sum()} of {env.config.actions} pairs are hosted")
    observation, _ = env.reset(options={"episode": 0})
    over = False
    while not over:
        masks = get_action_masks(env)
        action, _ = model.predict(observation, action_masks=masks, deterministic=True)
        observation, _, over, _, info = env.step(int(action))
    score = float(info["summary"]["utility_of_peak"])
    print(f"MaskablePPO: {score:.3f} of the peak, {info['summary']['rejected']} rejected")
    return {"MaskablePPO": score}


if __name__ == "__main__":
    main("--quick" in sys.argv)
