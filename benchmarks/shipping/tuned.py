"""Finds the settings of all heuristics for all scenarios: `python -m benchmarks.shipping.tuned`."""

from __future__ import annotations

import json

from agents.heuristics.table import tunable_in
from benchmarks.evaluation.settings import EPISODES, SHIPPED, WINDOW_S, Found, fingerprint
from benchmarks.evaluation.tuned_controls import tune
from llmroute_env.config import EnvConfig
from llmroute_env.recording.files import write_atomically
from llmroute_env.scenarios import SCENARIOS


def found_for(name: str, config: EnvConfig) -> Found:
    """The best setting of every heuristic that has one, and what was tried."""
    names = tunable_in(config)
    tuned = {control: tune(control, config, EPISODES, WINDOW_S).to_json() for control in names}
    return {"scenario": name, **tuned}


if __name__ == "__main__":
    tables = {}
    for name, scenario in SCENARIOS.items():
        key = fingerprint(scenario.config)
        tables[key] = found_for(name, scenario.config)
        print(name, {c: found["setting"] for c, found in tables[key].items() if c != "scenario"})
        lines = [f"{json.dumps(key)}: {json.dumps(found)}" for key, found in tables.items()]
        write_atomically(SHIPPED, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
