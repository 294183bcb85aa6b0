"""Every example runs as it stands, with `--quick`, and says how well its routers did."""

import ast
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
LONG = {"ray_cluster"}
"""Examples that `make verify` runs: a cluster takes longer to start than all the others to run."""
NEEDS = {
    "compare_curves": ("torch", "tensorboard"),
    "dqn_in_one_file": ("torch",),
    "frame_stack": ("stable_baselines3",),
    "masked_ppo": ("sb3_contrib",),
    "sb3_curves": ("stable_baselines3", "torch", "tensorboard"),
    "sb3_many_envs": ("stable_baselines3",),
    "sb3_ppo": ("stable_baselines3",),
    "offline_data": ("torch",),
    "ray_cluster": ("ray",),
    "search_with_optuna": ("optuna",),
    "train_router": ("torch", "tensorboard"),
    "watch_and_film": ("PIL", "imageio_ffmpeg", "moviepy"),
}
"""What an example imports that an extra installs."""

LEAVES = {
    "compare_curves": "runs/example-curves/*/events.out.tfevents*",
    "offline_data": "runs/example-offline.npz",
    "own_profile": "my-gpus.toml",
    "own_trace": "waves.csv",
    "sb3_curves": "runs/example-axes/*/events.out.tfevents*",
    "train_router": "runs/example-ddqn/weights.safetensors",
    "watch_and_film": "runs/example-videos/*.[gm][ip][f4]",
}
"""Files that an example makes where it is run."""


def main_of(name: str) -> Callable[..., dict[str, float]]:
    main: Callable[..., dict[str, float]] = runpy.run_path(str(FOLDER / f"{name}.py"))["main"]
    return main


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.verify) if n in LONG else n for n in EXAMPLES]
)
def test_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    scores = main_of(name)(quick=True)
    printed = capsys.readouterr().out
    assert scores
    for router, score in scores.items():
        assert 0.0 < score <= 1.0, router
        assert f"{score:.3f}" in printed, router
    left = list(tmp_path.glob(LEAVES[name])) if name in LEAVES else []
    assert all(path.stat().st_size > 0 for path in left)
    assert len(left) == {"compare_curves": 3, "sb3_curves": 2, "watch_and_film": 2}.get(
        name, len(left[:1])
    )
    assert bool(left) == (name in LEAVES) == any(tmp_path.iterdir())


@pytest.mark.parametrize("name", EXAMPLES)
def test_says_what_it_shows_and_how_it_is_run(name: str):
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    told = ast.get_docstring(tree) or ""
    assert f"    python examples/{name}.py [--quick]" in told
    extras = {"torch": "train", "stable_baselines3": "sb3", "sb3_contrib": "sb3"}
    extras |= {"optuna": "tune", "PIL": "render", "ray": "ray"}
    for module in NEEDS.get(name, ())[:1]:
        assert f"extra `{extras[module]}`" in told.replace("\n", " ")
    names = {
        f.split(".")[0] for f in re.findall(r"^(?:from|import) (\S+)", ast.unparse(tree), re.M)
    }
    assert not names & set(EXAMPLES)


def test_the_list_is_whole():
    listed = re.findall(
        r"^\| \[`(\w+)\.py`\]\(\1\.py\) \|", (FOLDER / "README.md").read_text(), re.M
    )
    assert sorted(listed) == EXAMPLES
    assert "(examples/README.md)" in (ROOT / "README.md").read_text()
