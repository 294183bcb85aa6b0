"""`python -m llmroute_env`: what this is, and where to go."""

from __future__ import annotations

from importlib.metadata import version

WORDS = """llmroute {version}: a Gymnasium environment for learned LLM routing

in Python:     gymnasium.make("llmroute_env:LLMRoute-v0", scenario="unpredictable-1")
command line:  llmroute --help, or python -m benchmarks.cli --help
names:         llmroute list scenarios, agents, learners, profiles, traces or suites
reference:     python -m pydoc llmroute_env.env"""


def main() -> None:
    """Print that."""
    print(WORDS.format(version=version("llmroute")))


if __name__ == "__main__":
    main()
