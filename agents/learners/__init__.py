"""Who learns: Double DQN, rollout policy iteration, Stable-Baselines3."""
