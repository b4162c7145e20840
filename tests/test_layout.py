"""The order of the modules and the sole homes of third-party libraries, as the design has them."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import autoseg

PACKAGE = Path(__file__).parents[1] / "autoseg"

ROWS = [
    ("errors",),
    ("config", "files", "text"),
    ("licences", "energy", "machine_load", "cgroups"),
    ("metrics",),
    ("preprocessing", "resizing"),
    ("data", "data.*"),
    ("encoders", "encoder_catalogue", "encoder_*"),
    ("model", "freezing", "depthwise", "smp_config", "smp_models", "unfilled"),
    ("inference",),
    ("checkpoint", "training", "training.*"),
    ("engines",),
    ("search", "search.*"),
    ("evaluation", "report", "report_*"),
    ("bundle", "bundle_*", "card", "card_*", "export", "int8_files"),
    ("hub", "hub.*"),
    ("engine_choice", "engine_files", "predictor", "prediction", "inputs"),
    (
        "corrections",
        "corrected_data",
        "corrected_twins",
        "image_roles",
        "continuing",
        "earlier_winners",
    ),
    (
        "dataset_facts",
        "fold_results",
        "judging",
        "examples",
        "live",
        "estimate",
        "outlook",
        "out_of_fold",
        "finishing",
    ),
    ("sources",),
    ("quantization", "stages"),
    ("pipeline", "taking", "taking_*"),
    ("search_process", "pulled_models", "stored_datasets", "stored_runs"),
    ("workspace",),
    ("api",),
    ("ui", "ui.*"),
    ("console", "cli", "cli_*", "__main__"),
]
"""A module imports from its own row and from rows above; `autoseg` itself may be imported."""

HOMES = {
    "optuna": ("search.*",),
    # The stages are those of timm's wrappers, and its convolutions have a padding of their own.
    "timm": ("encoders", "encoder_*", "freezing", "depthwise"),
    "segmentation_models_pytorch": ("model", "freezing", "smp_config", "smp_models"),
    "gradio": ("ui.*",),
    "typer": ("cli", "cli_*"),
    "rich": ("cli", "cli_*", "console"),
    "safetensors": ("bundle", "bundle_*", "encoders", "encoder_*", "checkpoint"),
    "huggingface_hub": ("encoders", "encoder_*", "hub.*"),
    "pycocotools": ("prediction", "data.*"),
    "contourpy": ("prediction",),
    "onnx": ("export",),
    "onnxruntime": ("engines", "export", "quantization"),
    "openvino": ("engines",),
    "pyarrow": ("data.shards",),
    "matplotlib": ("report", "report_*", "evaluation"),
    "ray": ("search.*",),
    "psutil": ("search.resources",),
}
"""The only modules that may import each library."""


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees by module name below `autoseg`; packages by their own name."""
    trees = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        trees[name] = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return trees


def imports(tree: ast.Module) -> set[str]:
    """Full names of what a module imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inner_imports(tree: ast.Module) -> set[str]:
    """Modules of autoseg that a module imports; the longest name that is a module."""
    found = set()
    for name in imports(tree):
        parts = name.split(".")
        if parts[0] == "autoseg":
            names = [".".join(parts[1:end]) for end in range(2, len(parts) + 1)]
            found |= set([name for name in names if name in modules()][-1:])
    return found


def row_of(name: str) -> int:
    (row,) = [i for i, row in enumerate(ROWS) if any(fnmatch(name, pattern) for pattern in row)]
    return row


INNER = [name for name in modules() if name != "__init__"]


@pytest.mark.parametrize("name", INNER)
def test_a_module_stands_in_one_row_and_imports_only_from_rows_above(name):
    upward = {other for other in inner_imports(modules()[name]) if row_of(other) > row_of(name)}
    assert not upward


def test_no_two_modules_import_each_other_however_indirectly():
    graph = {name: inner_imports(modules()[name]) - {"__init__"} for name in INNER}
    while leaves := {name for name, targets in graph.items() if not targets - {name}}:
        graph = {name: targets - leaves for name, targets in graph.items() if name not in leaves}
    assert not graph


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_home_only(library):
    users = {
        name
        for name, tree in modules().items()
        if any(imported.split(".")[0] == library for imported in imports(tree))
    }
    assert {
        name for name in users if not any(fnmatch(name, home) for home in HOMES[library])
    } == set()


def test_only_data_opens_image_files():
    users = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "Image.open"
    }
    assert all(name.startswith("data.") for name in users), users


def test_no_file_is_a_pickle():
    """One exception: the bundled ImageNet files, whose sha256 is known, as weights only."""
    for name, tree in modules().items():
        if name != "data.workers":  # Its pickles go through pipes between its own processes.
            assert not {"pickle", "joblib"} & {found.split(".")[0] for found in imports(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                call = ast.unparse(node)
                if call.startswith(("torch.load(", "torch.save(")):
                    assert name == "encoders" and "weights_only=True" in call
                if call.startswith(("np.load(", "np.save(")):
                    assert "allow_pickle=False" in call, name


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in memory after one statement in a fresh process."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_autoseg_loads_neither_torch_nor_numpy():
    assert not {"torch", "numpy", "PIL", "typer"} & loaded_after("import autoseg")


def test_the_predictor_loads_neither_optuna_nor_gradio():
    unwanted = {"optuna", "gradio", "typer", "rich", "matplotlib", "openvino", "onnxruntime"}
    assert not unwanted & loaded_after("from autoseg import Predictor")


def test_the_command_line_loads_no_torch_before_a_command_runs():
    assert not {"torch", "numpy", "gradio", "optuna"} & loaded_after("import autoseg.cli")


def test_runs_and_data_sets_are_found_without_torch():
    unwanted = {"torch", "optuna", "timm", "gradio"}
    assert not unwanted & loaded_after("from autoseg.workspace import Workspace")


def test_every_public_name_can_be_had():
    assert all(getattr(autoseg, name) is not None for name in autoseg.__all__)
    assert set(autoseg.__all__) <= set(dir(autoseg))
    assert callable(autoseg.search)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = autoseg.nonsense


def test_search_is_a_function_also_after_its_package_was_imported():
    """Importing a module of the package `autoseg.search` used to hide the function."""
    code = "import autoseg.search.run_folder, autoseg; print(callable(autoseg.search))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
