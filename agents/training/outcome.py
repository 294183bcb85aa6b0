"""What a finished training came to, beside its score."""

from __future__ import annotations

from agents.compiled.guards import Overruling
from agents.learners.validation import overruling
from agents.routers.networks import Guarded
from agents.runs.plan import Plan
from agents.runs.trained import load_agent


def overruling_of(plan: Plan) -> Overruling | None:
    """What the network of a plan's router adds to its heuristic; None where none guards it."""
    network = load_agent(plan.directory).network
    if not isinstance(network, Guarded):
        return None
    return overruling(network, plan.configs("train"), plan.resolved_settings)
