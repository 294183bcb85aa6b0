"""E envs on a CUDA device, one thread each; the dynamics are those of the CPU, compiled anew."""
