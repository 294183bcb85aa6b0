"""What the wheel ships."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    built = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    return zipfile.ZipFile(next(iter(built))).namelist()


def test_wheel_holds_the_four_packages_and_never_the_tests(wheel: list[str]):
    top = {name.split("/")[0] for name in wheel if ".dist-info" not in name}
    assert top == {"agents", "benchmarks", "llmroute_env", "traces"}


@pytest.mark.parametrize("room", ["agents", "benchmarks", "llmroute_env", "traces"])
def test_wheel_holds_every_source_and_data_file(wheel: list[str], room: str):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert files <= set(wheel)
    assert f"{room}/py.typed" in wheel
    assert any(name.endswith(("LICENSE", "LICENSE.txt")) for name in wheel)
