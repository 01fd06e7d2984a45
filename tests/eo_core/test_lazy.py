"""Packages with lazy attributes stay light, and still list and refuse names as any package does."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from eo_core.lazy import lazy_attributes

PACKAGES = ("thor_terratorch_ext", "anysat_ext", "universat_ext", "eo_embed", "eo_finetune")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("lazy_package")
    module.__path__ = []
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    inner = types.ModuleType("lazy_package.inner")
    inner.Thing = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazy_package.inner", inner)
    module.__getattr__, module.__dir__ = lazy_attributes(  # type: ignore[method-assign]
        "lazy_package", {"Thing": ".inner", "sqrt": "math"}
    )
    return module


def test_attributes_come_from_their_home_relative_or_absolute(package: types.ModuleType) -> None:
    import math

    assert package.Thing is sys.modules["lazy_package.inner"].Thing  # type: ignore[attr-defined]
    assert package.sqrt is math.sqrt


def test_other_names_are_missing_as_from_any_module(package: types.ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'Think'"):
        _ = package.Think
    assert not hasattr(package, "inner_")


def test_dir_lists_what_is_not_imported_yet(package: types.ModuleType) -> None:
    assert {"Thing", "sqrt", "__name__"} <= set(dir(package))


def test_importing_the_packages_loads_nothing_heavy_and_dir_lists_their_names() -> None:
    code = f"""
import importlib, sys
for name in {PACKAGES!r}:
    package = importlib.import_module(name)
    missing = set(package.__all__) - set(dir(package))
    if missing:
        raise SystemExit(f"{{name}}: dir() does not list {{missing}}")
heavy = {{"torch", "terratorch", "lightning", "numpy", "rasterio"}} & set(sys.modules)
if heavy:
    raise SystemExit(f"loaded: {{heavy}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_every_package_tells_its_version_and_lists_it() -> None:
    from importlib import import_module
    from importlib.metadata import version

    for name in (*PACKAGES, "eo_core", "eo_data", "eo_models", "eo_cli"):
        package = import_module(name)
        assert package.__version__ == version("thor-anysat-terratorch")
        assert "__version__" in dir(package)
        assert not {"TYPE_CHECKING", "annotations", "lazy_attributes"} & set(dir(package))
        assert set(getattr(package, "__all__", ())) <= set(dir(package))
