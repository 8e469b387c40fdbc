"""The plan of the house: imports point down, the two wings do not know each other, start-up is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up. A module may import from its own room and from any lower floor, never sideways.
FLOORS: list[set[str]] = [
    {"types"},
    {"errors", "seeds", "protocols"},
    {"registry"},
    {"records", "stats", "prompting"},
    {"providers", "explainers", "simulators", "scorers", "controls"},
    {"presets"},
    {"pipeline"},
    {"jobs", "results"},
    {"cli"},
]
# Inside the ground floors the order is spelled out: errors and protocols stand on types.
SAME_FLOOR_ALLOWED = {("jobs", "results"), ("scorers", "simulators"), ("protocols", "types")}

# The torch wing, the same way.
SAE_FLOORS: list[set[str]] = [
    {"errors", "files", "seeds"},
    {"corpus", "dictionaries", "store"},
    {"subjects"},
    {"train", "harvest"},
    {"metrics"},
    {"cli"},
]
WINGS = {"autointerp": FLOORS, "sae": SAE_FLOORS}


def imports(path: Path) -> list[tuple[str, bool]]:
    """(imported module, whether at module level) for every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are written whole"
            found.append((node.module, id(node) in top))
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def floor_of(room: str, wing: str) -> int:
    return next(number for number, rooms in enumerate(WINGS[wing]) if room in rooms)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("wing", WINGS)
def test_every_room_has_a_floor(wing: str) -> None:
    rooms = {room_of(path) for path in modules(wing)}
    assert rooms - {"__init__", "__main__"} == set.union(*WINGS[wing]) & rooms


@pytest.mark.parametrize(
    "path", [*modules("autointerp"), *modules("sae")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_arrows_point_down(path: Path) -> None:
    wing, room = path.relative_to(ROOT).parts[0], room_of(path)
    if room in ("__init__", "__main__"):
        return
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != wing or len(parts) == 1 or parts[1] == room:
            continue
        down = floor_of(parts[1], wing) < floor_of(room, wing) or (room, parts[1]) in SAME_FLOOR_ALLOWED
        assert down, f"{path.name} in {room} imports {module}, which is not below it"


def test_the_wings_do_not_import_one_another() -> None:
    for path in modules("sae"):
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "autointerp"], path
    for path in modules("autointerp"):
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "sae"], path


def test_no_module_of_autointerp_imports_torch_at_start_up() -> None:
    for path in modules("autointerp"):
        if path.parent.name == "local":  # loaded with the model, as the test below holds
            continue
        heavy = [name for name, top in imports(path) if top and name.split(".")[0] in {"torch", "transformers"}]
        assert not heavy, f"{path} imports {heavy} at module level"


@pytest.mark.parametrize("statement", ["import autointerp", "import autointerp.cli"])
def test_scoring_starts_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("package", ["autointerp", "sae"])
def test_public_names_exist_and_are_listed(package: str) -> None:
    module = __import__(package)
    assert module.__all__ == sorted(module.__all__, key=lambda name: name.lower()) or set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
