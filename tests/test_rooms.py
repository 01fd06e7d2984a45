"""The house keeps its order: imports point down, encoders' cores stay plain, generic rooms name no encoder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

PACKAGES = (
    *("eo_core", "eo_data", "eo_models"),
    *("thor_terratorch_ext", "anysat_ext", "universat_ext"),
    *("eo_embed", "eo_finetune", "eo_cli"),
)
#: Rooms from the ground up; rooms of one floor do not see each other.
FLOORS = (
    ("eo_core",),
    ("eo_data.sensors",),
    ("eo_data.raster", "eo_data.temporal"),
    ("eo_data.catalog.patterns",),
    ("eo_data.catalog",),
    ("eo_data.catalog.known", "eo_data.catalog.scenes"),
    ("eo_data.raster.remote", "eo_data.catalog.scenes.catalogues"),
    ("eo_data.catalog.scenes.catalogues.stac", "eo_data.catalog.scenes.catalogues.earth_engine"),
    ("eo_data.readers.formats",),
    ("eo_data.readers.grids",),
    ("eo_data.readers.products",),
    ("eo_data.readers.products.sentinel3",),
    ("eo_data.readers",),
    ("eo_data.readers.described",),
    ("eo_data.preprocess",),
    ("eo_data.dataset",),
    ("eo_data.dataset.loading",),
    ("eo_data",),
    ("eo_models.weights", "eo_models.precision", "eo_models.decoders"),
    ("eo_models.forward",),
    ("eo_models",),
    ("eo_models.multi", "eo_models.export"),
    ("eo_models.engines",),
    ("thor_terratorch_ext.model", "anysat_ext.model", "universat_ext.model"),
    ("thor_terratorch_ext", "anysat_ext", "universat_ext"),
    ("eo_embed.writers", "eo_finetune.cache", "eo_finetune.panels"),
    ("eo_embed.writers.rasters",),
    ("eo_embed.reading",),
    ("eo_embed.export.record",),
    ("eo_embed.export.flow",),
    ("eo_embed.export",),
    ("eo_embed.export.shards",),
    ("eo_embed.reading.probing", "eo_embed.pictures"),
    ("eo_embed.map", "eo_embed.one_call", "eo_embed.reading.publishing", "eo_embed.ray"),
    ("eo_embed", "eo_finetune"),
    ("eo_cli",),
    ("eo_cli.doctor", "eo_cli.run"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GENERIC = ("eo_core", "eo_data", "eo_models", "eo_embed", "eo_finetune", "eo_cli")
#: An encoder's core is PyTorch and tables: no host, no reader.
CORE_MAY_IMPORT = ("eo_core", "eo_data.sensors", "eo_models.forward", "eo_models.precision")
HOSTS_AND_READERS = (
    "terratorch",
    "torchgeo",
    "lightning",
    "jsonargparse",
    "rasterio",
    "xarray",
    "h5py",
    "zarr",
    "timm",
)
#: Tables of known sensors and data sets, which name them.
TABLES = ("eo_data/catalog/known/", "eo_data/sensors/")
LONGEST_MODULE = 400
MOST_ENTRIES = 13  # about a dozen, and `__init__.py`


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(
        *PACKAGES, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def room_of(module: str) -> str:
    """The deepest room that a module lies in."""
    return max((room for room in FLOOR_OF if f"{module}.".startswith(f"{room}.")), key=len)


def own(graph: grimp.ImportGraph) -> list[str]:
    return sorted(name for name in graph.modules if name.split(".")[0] in PACKAGES)


def test_every_folder_with_modules_is_a_room_that_the_house_knows(root: Path) -> None:
    folders = {path.parent.relative_to(root).as_posix() for name in PACKAGES for path in (root / name).rglob("*.py")}
    assert {folder.replace("/", ".") for folder in folders} == set(FLOOR_OF)


def test_imports_point_down_and_no_two_rooms_import_each_other(imports: grimp.ImportGraph) -> None:
    upwards = [
        f"{module} imports {other}"
        for module in own(imports)
        for other in sorted(imports.find_modules_directly_imported_by(module))
        if other.split(".")[0] in PACKAGES
        and room_of(module) != room_of(other)
        and FLOOR_OF[room_of(module)] <= FLOOR_OF[room_of(other)]
    ]
    assert not upwards, "\n".join(upwards)


def test_no_modules_of_one_folder_go_in_a_circle(imports: grimp.ImportGraph) -> None:
    circles = []
    for module in own(imports):
        beside = {m for m in imports.find_modules_directly_imported_by(module) if m.split(".")[0] in PACKAGES}
        circles += [(module, m) for m in beside if module in imports.find_upstream_modules(m)]
    # A package's lazy `__init__` names its modules, and they name nothing of it.
    assert not circles, circles


def test_the_core_of_an_encoder_imports_no_host_and_no_reader(imports: grimp.ImportGraph) -> None:
    for module in own(imports):
        if not room_of(module).endswith(".model"):
            continue
        upstream = imports.find_upstream_modules(module)
        allowed = (*CORE_MAY_IMPORT, room_of(module))
        hosts = {
            name
            for name in upstream
            if name.split(".")[0] in (*PACKAGES, *HOSTS_AND_READERS)
            and not any(f"{name}.".startswith(f"{start}.") for start in allowed)
        }
        assert not hosts, (module, sorted(hosts))


def strings_and_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names, attributes and strings of a module, but no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.alias, *documented[1:])):
            yield node.lineno, node.name


def test_generic_rooms_name_no_encoder_and_no_data_set(root: Path) -> None:
    """What generic code needs of an encoder is declared by the encoder, never guessed from its name."""
    named = re.compile(r"(?<!au)thor|anysat|universat|sen1floods", re.IGNORECASE)
    allowed = re.compile(r"thor-anysat-terratorch|eo_data\.catalog\.known[\w.]*")
    found = []
    for package in GENERIC:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name.startswith(TABLES):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{name}:{line}: {text[:60]}"
                for line, text in strings_and_names(tree)
                if named.search(allowed.sub("", text))
            ]
    assert not found, "\n".join(found)


def test_modules_and_folders_stay_small(root: Path) -> None:
    long = {
        path.relative_to(root).as_posix(): count
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert not long, long
    crowded = {}
    for room in FLOOR_OF:
        entries = [
            path.name
            for path in (root / room.replace(".", "/")).iterdir()
            if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
        ]
        if len(entries) > MOST_ENTRIES:
            crowded[room] = len(entries)
    assert not crowded, crowded
