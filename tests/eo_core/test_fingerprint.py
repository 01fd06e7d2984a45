"""Two settings that give other numbers never share a fingerprint, and two spellings of one setting always do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from eo_core.fingerprint import LATER, differences, fingerprint, plain_values, sha256_of_file
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.preprocess.normalisation import Identity, PerTileZScore, ZScore
from eo_data.preprocess.statistics import BandStatistics
from eo_data.sensors.tables import SENTINEL2
from thor_terratorch_ext.geometry import SnapPolicy


class _Unit(StrEnum):
    DB = "dB"


class _Merge(Enum):
    MEAN = 1


@dataclass(frozen=True)
class _Inner:
    gain: float = 0.1


@dataclass(frozen=True)
class _Outer:
    inner: _Inner = _Inner()
    bands: tuple[str, ...] = ("RED",)
    _cache: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Other:
    gain: float = 0.1


def test_the_fingerprint_is_the_hash_of_canonical_json() -> None:
    text = '{"a":[1,2.5,null,true],"b":{"c":"x"}}'
    assert fingerprint({"b": {"c": "x"}, "a": (1, 2.5, None, True)}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": Path("x/y")}, {"a": "x/y"}),
        ({"a": PurePosixPath("x/y")}, {"a": "x/y"}),
        ({"a": _Unit.DB}, {"a": "dB"}),
        ({"a": _Merge.MEAN}, {"a": 1}),
        ({_Unit.DB: 1}, {"dB": 1}),
        ({"a": date(2020, 2, 29)}, {"a": "2020-02-29"}),
        ({"a": datetime(2020, 2, 29, 1)}, {"a": "2020-02-29T01:00:00"}),
        ({"a": np.float64(0.1)}, {"a": 0.1}),
        ({"a": np.int16(3)}, {"a": 3}),
        ({"a": np.bool_(True)}, {"a": True}),
        ({"a": np.array([[1.5], [2.5]], np.float32)}, {"a": [[1.5], [2.5]]}),
        ({"a": {"b", "a"}}, {"a": frozenset(("a", "b"))}),
        ({"a": MappingProxyType({"b": 1})}, {"a": {"b": 1}}),
        ({"a": float("nan")}, {"a": np.float32("nan")}),
    ],
)
def test_one_setting_in_two_spellings_is_one(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    assert fingerprint(one) == fingerprint(other)
    assert differences(one, other) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 0.1}, {"a": np.nextafter(0.1, 1)}),
        ({"a": 0.1}, {"a": np.float32(0.1)}),
        ({"a": ["RED", "NIR"]}, {"a": ["NIR", "RED"]}),
        ({"a": None}, {}),
        ({"a": True}, {"a": 1}),
        ({"a": "1"}, {"a": 1}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": float("inf")}, {"a": float("-inf")}),
        ({"a": {}}, {"a": []}),
        ({"a": _Inner()}, {"a": _Other()}),
    ],
)
def test_what_differs_never_has_one_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert differences(one, other)


def test_a_nested_dataclass_shows_all_that_counts_and_no_cache() -> None:
    assert plain_values(_Outer()) == {"class": "_Outer", "inner": {"class": "_Inner", "gain": 0.1}, "bands": ["RED"]}
    assert fingerprint({"a": _Outer(_cache={"x": 1})}) == fingerprint({"a": _Outer()})


def test_another_content_of_a_statistics_file_of_the_same_name_is_another_setting(tmp_path: Path) -> None:
    file = tmp_path / "statistics.yaml"
    found = []
    for mean in (0.1, 0.2):
        statistics = BandStatistics(["RED"], "reflectance")
        statistics.update(np.full((1, 2, 2), mean, np.float32))
        statistics.write_yaml(file, {})
        found.append({"preprocess": DatasetNormalise(statistics=str(file))})
    assert fingerprint(found[0]) != fingerprint(found[1])
    assert any("means[0]" in line for line in differences(*found))


def test_our_own_settings_have_facts_that_stay_the_same_when_read_back() -> None:
    for value in (SENTINEL2, Identity(), PerTileZScore(), ZScore([0.1], [0.2]), SnapPolicy()):
        plain = plain_values(value)
        assert plain_values(plain) == plain
        assert plain["class"] == type(value).__name__
    # Neither has a field; only the name tells them apart.
    assert fingerprint({"n": Identity()}) != fingerprint({"n": PerTileZScore()})


def test_the_fingerprint_does_not_depend_on_the_process() -> None:
    code = "from eo_core.fingerprint import fingerprint; print(fingerprint({'bands': {'b', 'a', 'c'}, 'x': 0.1}))"
    runs = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert runs == {f"{fingerprint({'x': 0.1, 'bands': {'c', 'a', 'b'}})}\n".encode()}


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, lambda: 1, _Inner])
def test_what_has_no_stable_spelling_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"fact data\.bands\[1\] is of type .*Valid are str.*instead"):
        fingerprint({"data": {"bands": ["RED", value]}})


def test_a_key_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="key of the facts at data is 3, expected a name. Write it as a string"):
        fingerprint({"data": {3: "x"}})


def test_two_keys_that_become_one_are_refused() -> None:
    class Key(Enum):
        A = "dB"

    with pytest.raises(ValueError, match="Two keys .*become the same name"):
        fingerprint({Key.A: 1, "dB": 2})


def test_differences_name_key_old_and_new() -> None:
    old = {"model": "thor_v1_base", "data": {"bands": ["RED", "NIR"], "gsd": 10.0}, "gone": 1}
    new = {"model": "thor_v1_base", "data": {"bands": ["RED", "SWIR"], "gsd": 20.0}, "extra": {"a": 1}}
    assert differences(old, new) == [
        "data.bands[1]: 'NIR' -> 'SWIR'",
        "data.gsd: 10.0 -> 20.0",
        "extra: (absent) -> {'a': 1}",
        "gone: 1 -> (absent)",
    ]


def test_a_difference_at_the_end_of_a_long_value_is_seen() -> None:
    (line,) = differences({"a": "x" * 300 + "old"}, {"a": "x" * 300 + "new"})
    assert "old" in line
    assert "new" in line
    assert len(line) < 250


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert sha256_of_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.pt", tmp_path):
        with pytest.raises(ValueError, match="needs a file that can be read, got: (No such file|Is a directory)"):
            sha256_of_file(path)


def test_a_setting_of_a_later_version_counts_where_it_is_used() -> None:
    @dataclass(frozen=True)
    class Settings:
        gain: float = 1.0
        border: str = field(default="pad", metadata=LATER)

    assert plain_values(Settings()) == {"class": "Settings", "gain": 1.0}
    assert plain_values(Settings(border="stretch")) == {"class": "Settings", "gain": 1.0, "border": "stretch"}
