"""Each encoder gets its own numbers of one sample, and images and labels still lie on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from affine import Affine

from anysat_ext import AnySatPreprocess
from eo_core.fingerprint import fingerprint
from eo_data.datamodules import ChipDataModule
from eo_data.dataset.batch import collate
from eo_data.dataset.facts import describe_data
from eo_data.inspect import describe_sample, load_data_module
from eo_data.preprocess.by_modality import ModalityPreprocess, PreprocessByModality
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit
from thor_terratorch_ext import ThorPreprocess

S2 = ("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2")
WriteTif = Callable[..., Path]


def raster(pixels: np.ndarray, size: float = 10.0, *, located: bool = True) -> Raster:
    valid = np.ones((*pixels.shape[:-3], *pixels.shape[-2:]), dtype=bool)
    return Raster(pixels.astype(np.float32), valid, Affine(size, 0, 5e5, 0, -size, 5e6) if located else None, None)


def picture(side: int = 64, size: float = 10.0, bands: tuple[str, ...] = S2, *, located: bool = True) -> Image:
    pixels = np.random.default_rng(0).uniform(0.01, 0.4, (len(bands), side, side))
    return Image(raster(pixels, size, located=located), bands, InputUnit.REFLECTANCE, size)


def series(side: int = 64, *, located: bool = True) -> Image:
    pixels = np.random.default_rng(1).uniform(0.01, 0.4, (2, 10, side, side))
    days = (date(2020, 1, 11), date(2020, 7, 1))
    once = np.ones(2, dtype=bool)
    return Image(raster(pixels, located=located), S2, InputUnit.REFLECTANCE, 10, days, ("file",) * 2, once)


def sample(side: int = 64, *, located: bool = True, label: Any = "raster") -> Sample:
    if label == "raster":
        label = raster(np.arange(side * side).reshape(1, side, side) % 7, located=located)
    return Sample("place", {"S2": picture(side, located=located), "series": series(side, located=located)}, label)


def both(anysat: dict[str, Any] | None = None, **thor: Any) -> PreprocessByModality:
    own = {"image_size": None, "patch_size": 40} | (anysat or {})
    return PreprocessByModality(
        [
            ModalityPreprocess(["S2"], ThorPreprocess(**thor)),
            ModalityPreprocess(["series"], AnySatPreprocess(**own)),
        ]
    )


def test_each_part_makes_the_same_numbers_as_on_its_own() -> None:
    given = sample()
    done = both()(given)
    thor = ThorPreprocess()(replace(given, images={"S2": given.images["S2"]}))
    anysat = AnySatPreprocess(image_size=None, patch_size=40)(replace(given, images={"series": given.images["series"]}))
    assert list(done.images) == ["S2", "series"]
    np.testing.assert_array_equal(done.images["S2"].raster.pixels, thor.images["S2"].raster.pixels)
    np.testing.assert_array_equal(done.images["series"].raster.pixels, anysat.images["series"].raster.pixels)
    assert done.images["series"].dates == given.images["series"].dates
    assert isinstance(done.label, Raster)
    assert isinstance(given.label, Raster)
    np.testing.assert_array_equal(done.label.pixels, given.label.pixels)


def test_the_order_of_the_sample_stays_whatever_the_order_of_the_parts() -> None:
    parts = both().parts
    assert list(PreprocessByModality(parts[::-1])(sample()).images) == ["S2", "series"]


def test_parts_that_crop_alike_keep_images_and_label_together() -> None:
    done = both({"indivisible": "crop", "patch_size": 80})(sample(65))
    assert [image.raster.pixels.shape[-2:] for image in done.images.values()] == [(64, 64), (64, 64)]
    assert isinstance(done.label, Raster)
    first, second = (image.raster for image in done.images.values())
    assert first.transform == second.transform
    assert done.label.pixels.shape == (1, 64, 64)


@pytest.mark.parametrize("label", ["raster", None])
def test_parts_that_crop_differently_are_refused(label: Any) -> None:
    with pytest.raises(SampleError, match=r"'S2' and 'series' came on one grid of 80 x 80 px.* 80 x 80 px .* 64 x 64"):
        both({"indivisible": "crop", "patch_size": 320})(sample(80, label=label))
    shrinking = both({"image_size": 24})
    with (
        pytest.warns(UserWarning, match="image_size resamples 64 x 64 px"),
        pytest.raises(SampleError, match=r"64 x 64 px from .* and 24 x 24 px .*image_size: null"),
    ):
        shrinking(sample(label=label))


@dataclass(frozen=True)
class Cropping:
    """Cuts a corner off, the label alike."""

    top: int
    rename: bool = False

    def __call__(self, given: Sample) -> Sample:
        def cut(one: Raster) -> Raster:
            return one.crop(self.top, 0, 32, 32)

        images = {
            "other" if self.rename else name: replace(image, raster=cut(image.raster))
            for name, image in given.images.items()
        }
        label = cut(given.label) if isinstance(given.label, Raster) else given.label
        return replace(given, images=images, label=label)

    def describe(self, image: Image) -> dict[str, object]:
        return {"top": self.top, "bands": image.bands}


def cropping(first: int, second: int) -> PreprocessByModality:
    names = zip(("S2", "series"), (first, second), strict=True)
    return PreprocessByModality([ModalityPreprocess([name], Cropping(top)) for name, top in names])


def test_the_same_size_at_another_place_is_refused() -> None:
    assert cropping(3, 3)(sample()).images["S2"].raster.height == 32
    with pytest.raises(SampleError, match="came on one grid .* 32 x 32 px from .500000, 4999970. and 32 x 32 px from"):
        cropping(3, 4)(sample(label=None))


def test_without_a_georeference_the_label_tells() -> None:
    with pytest.raises(SampleError, match="the label comes out differently beside 'S2' and 'series'"):
        cropping(3, 4)(sample(located=False))
    done = cropping(3, 3)(sample(located=False))
    assert isinstance(done.label, Raster)


def test_a_label_that_is_one_value_goes_through() -> None:
    assert cropping(3, 3)(sample(label=2.5)).label == 2.5
    assert cropping(3, 3)(sample(label=None)).label is None


def test_a_part_on_a_finer_grid_keeps_its_grid_and_the_label_follows_the_other() -> None:
    aerial = picture(640, 1.0, ("RED", "GREEN"))
    given = replace(sample(), images={"aerial": aerial, "S2": picture()})
    plain = DatasetNormalise({"aerial": [0, 0]}, {"aerial": [1, 1]})
    parts = [ModalityPreprocess(["aerial"], plain), ModalityPreprocess(["S2"], ThorPreprocess())]
    done = PreprocessByModality(parts)(given)
    assert [image.raster.height for image in done.images.values()] == [640, 64]
    assert isinstance(done.label, Raster)
    assert done.label.height == 64
    parts = [ModalityPreprocess(["aerial"], plain), ModalityPreprocess(["S2"], Cropping(0))]
    with pytest.raises(SampleError, match="they must show the same ground"):
        PreprocessByModality(parts)(given)
    parts = [ModalityPreprocess(["aerial"], plain), ModalityPreprocess(["S2"], ThorPreprocess())]
    with pytest.raises(SampleError, match="the label lies on the grid of no modality"):
        PreprocessByModality(parts)(replace(given, label=raster(np.zeros((1, 5, 5)))))


def test_a_part_whose_modalities_the_sample_lacks_is_left_out() -> None:
    given = sample()
    done = both()(replace(given, images={"S2": given.images["S2"]}))
    assert list(done.images) == ["S2"]
    assert isinstance(done.label, Raster)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "parts must name each modality once, got none"),
        ([(["S2"], 0), (["S1", "S2"], 0)], "got S2 in several.* two modalities with these files"),
    ],
)
def test_every_modality_belongs_to_one_part(parts: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreprocessByModality([ModalityPreprocess(names, Cropping(top)) for names, top in parts])


def test_a_modality_of_no_part_stops_the_run_instead_of_skipping_the_sample() -> None:
    lonely = PreprocessByModality([ModalityPreprocess(["S2"], Cropping(0))])
    with pytest.raises(ValueError, match="The modality 'series' belongs to no part; the parts have S2") as caught:
        lonely(sample())
    assert not isinstance(caught.value, SampleError)
    assert lonely.part_of("S2") == Cropping(0)


@pytest.mark.parametrize("names", ["S2", []])
def test_a_part_needs_names(names: Any) -> None:
    with pytest.raises(ValueError, match="modalities must be a list of names such as"):
        ModalityPreprocess(names, Cropping(0))


def test_a_part_must_keep_the_names() -> None:
    renaming = PreprocessByModality([ModalityPreprocess(["S2"], Cropping(0, rename=True))])
    with pytest.raises(ValueError, match=r"Cropping made \['other'\] of the modalities \['S2'\]"):
        renaming(replace(sample(), images={"S2": picture()}))


def test_statistics_and_plans_of_all_parts_are_told() -> None:
    parts = [*both().parts, ModalityPreprocess(["x"], Cropping(1))]
    joined = PreprocessByModality(parts)
    assert joined.statistics_of(["BLUE"]) == {"S2": ThorPreprocess().statistics_of(["BLUE"])}
    assert joined.statistics_of(["LIDAR"]) is None
    told = joined.describe(picture())
    assert told["S2"] == ThorPreprocess().describe(picture())
    assert told["x"] == {"top": 1, "bands": S2}
    strange = picture(bands=("LIDAR", "RED"))
    assert str(joined.describe(strange)["S2"]).startswith("not for this image: Unknown band 'LIDAR'")


# In a data module

CONFIG = """
data:
  class_path: eo_data.datamodules.ChipDataModule
  init_args:
    root: {root}
    batch_size: 2
    num_workers: 0
    train_split: all.txt
    val_split: all.txt
    label: {{files: "lab/{{id}}_L.tif", classes: 9}}
    modalities:
      S2: &files
        files: img/{{id}}_S2.tif
        bands: [BLUE, GREEN, RED, RED_EDGE_1, RED_EDGE_2, RED_EDGE_3, NIR_BROAD, NIR_NARROW, SWIR_1, SWIR_2]
        sensor: sentinel2_l2a
        unit: digital_number
        offset: 0
      S2_dated:
        <<: *files
        dated: true
        fallback_date: "2021-03-02"
    preprocess:
      class_path: eo_data.preprocess_by_modality.PreprocessByModality
      init_args:
        parts:
          - modalities: [S2]
            preprocess: {{class_path: thor_terratorch_ext.ThorPreprocess, init_args: {{patch_size: {patch}}}}}
          - modalities: [S2_dated]
            preprocess:
              class_path: anysat_ext.AnySatPreprocess
              init_args: {{image_size: null, patch_size: 80, normalization: unit_scale}}
"""


@pytest.fixture
def from_yaml(write_tif: WriteTif, tmp_path: Path) -> Callable[..., ChipDataModule]:
    """Build a data module that names the same files twice, from text as the command line does."""
    root = tmp_path / "set"
    for i, name in enumerate("ab"):
        pixels = np.full((10, 32, 32), 1000 + 100 * i, dtype=np.uint16)
        write_tif(root / "img" / f"{name}_S2.tif", pixels, S2)
        write_tif(root / "lab" / f"{name}_L.tif", np.full((1, 32, 32), i, dtype=np.int16))
    (root / "all.txt").write_text("a\nb\n")

    def build(patch: int = 8) -> ChipDataModule:
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG.format(root=root, patch=patch))
        assert yaml.safe_load(file.read_text())["data"]
        return load_data_module([file])

    return build


def test_one_file_feeds_two_encoders_from_a_config(from_yaml: Callable[..., ChipDataModule]) -> None:
    module = from_yaml()
    assert isinstance(module.preprocess, PreprocessByModality)
    module.setup("fit")
    dataset = module.train_dataset
    assert dataset is not None
    batch = collate([dataset[0], dataset[1]])
    assert list(batch["image"]) == ["S2", "S2_dated", "S2_dated_dates", "S2_dated_mask"]
    assert batch["image"]["S2"].shape == batch["image"]["S2_dated"].shape == (2, 10, 32, 32)
    torch.testing.assert_close(batch["image"]["S2_dated"][:, 0, 0, 0], torch.tensor([0.10, 0.11]))
    assert not torch.allclose(batch["image"]["S2"], batch["image"]["S2_dated"])
    assert batch["image"]["S2_dated_dates"].tolist() == [[60], [60]]
    assert batch["mask"].shape == (2, 32, 32)
    assert batch["mask"][:, 0, 0].tolist() == [0, 1]
    module.setup("predict")
    assert "mask" not in next(iter(module.predict_dataloader()))


def test_the_settings_of_every_part_are_in_the_facts(from_yaml: Callable[..., ChipDataModule]) -> None:
    facts = describe_data(from_yaml())
    assert [part["preprocess"]["class"] for part in facts["preprocess"]["parts"]] == [
        "ThorPreprocess",
        "AnySatPreprocess",
    ]
    assert facts["statistics"]["S2"]["S2"].keys() == set(S2)
    assert fingerprint(facts) == fingerprint(describe_data(from_yaml()))
    assert fingerprint(facts) != fingerprint(describe_data(from_yaml(patch=16)))


def test_inspect_shows_the_parts(from_yaml: Callable[..., ChipDataModule]) -> None:
    module = from_yaml()
    module.setup("fit")
    dataset = module.train_dataset
    assert dataset is not None
    before = dataset.read(0)
    lines = "\n".join(describe_sample(module, dataset, 0, before, module.preprocess(before)))
    assert "ThorPreprocess" in lines
    assert "AnySatPreprocess" in lines
