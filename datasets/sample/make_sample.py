"""Make the embedded sample: sixteen synthetic flood chips in the layout of Sen1Floods11 v1.1.

Run ``python datasets/sample/make_sample.py [--out DIR]``. It needs numpy and rasterio only and always writes
the same pixels: each chip draws from its own ``numpy.random.RandomState``, numpy's frozen stream of numbers.
All scenery is invented; only the event names and the acquisition dates are those of the real data set.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.random import RandomState
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Names = tuple[str, ...]

SEED = 20240611
SIZE = 128  # pixels per side
DEGREE = 8.983152841195215e-05  # 10 m at the equator, the pixel of the real chips
S1_STEP = 0.25  # dB; quantised so that the files deflate well
S2_STEP = (8, 8, 8, 8, 8, 16, 16, 16, 16, 8, 1, 16, 16)  # digital numbers, for the same reason
NOISE_FLOOR = 10 ** (-32 / 10)
NOTE = "SYNTHETIC sample made by datasets/sample/make_sample.py - not a satellite image"
HAND = "v1.1/data/flood_events/HandLabeled"
SPLITS = {"train": "flood_train_data.txt", "valid": "flood_valid_data.txt", "test": "flood_test_data.txt"}
S1_BANDS = ("VV", "VH")
S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
BLOCK = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)  # ground sampling distance of each S2 band in 10 m pixels

# Cover: VV and VH in dB, then S2 top-of-atmosphere digital numbers in the order of S2_BANDS.
COVERS: dict[str, tuple[float, ...]] = {
    "crop": (-10.0, -16.2, 1180, 890, 800, 520, 850, 2150, 2750, 2680, 3000, 950, 11, 1560, 760),
    "pasture": (-11.2, -17.8, 1220, 960, 910, 790, 1100, 1900, 2240, 2180, 2480, 850, 11, 2080, 1180),
    "forest": (-8.6, -14.2, 1120, 810, 630, 420, 620, 1430, 1760, 1700, 1900, 600, 10, 920, 410),
    "stubble": (-11.6, -18.9, 1340, 1190, 1240, 1420, 1660, 1900, 2100, 2060, 2350, 850, 12, 2980, 2130),
    "bare": (-13.8, -21.2, 1370, 1230, 1330, 1660, 1880, 2020, 2200, 2150, 2400, 880, 12, 3200, 2600),
    "moist": (-8.4, -16.0, 1240, 1030, 1000, 1040, 1210, 1400, 1530, 1500, 1640, 600, 11, 1900, 1350),
    "road": (-14.5, -21.5, 1480, 1290, 1270, 1290, 1360, 1420, 1480, 1470, 1530, 610, 12, 1720, 1480),
    "urban": (-4.5, -11.0, 1560, 1470, 1500, 1620, 1740, 1880, 2010, 2030, 2120, 850, 13, 2300, 2010),
    "roof": (1.0, -7.0, 2150, 2350, 2560, 2800, 2880, 2950, 3030, 3060, 3100, 1200, 16, 3150, 2780),
    "turbid": (-20.2, -26.8, 1300, 1110, 1180, 1200, 1170, 790, 770, 650, 580, 190, 10, 210, 130),
    "clear": (-22.8, -30.2, 1230, 930, 720, 480, 420, 330, 320, 280, 240, 100, 9, 100, 60),
}
CODE = {name: code for code, name in enumerate(COVERS)}
PATH = np.array([1000, 700, 450, 260, 210, 160, 130, 110, 80, 40, 8, 20, 10])  # what a black target shows
CLOUD = np.array([4400, 4450, 4400, 4500, 4620, 4700, 4760, 4800, 4850, 2600, 70, 3700, 2800])
VEIL = np.array([330, 330, 320, 310, 310, 300, 300, 290, 290, 200, 150, 220, 160])  # thin cirrus, added

# Biome: share of the field covers, share of forest, field pitch in pixels.
BIOMES: dict[str, tuple[dict[str, float], float, float]] = {
    "arid": ({"bare": 0.34, "stubble": 0.34, "crop": 0.24, "pasture": 0.08}, 0.05, 17.0),
    "paddy": ({"crop": 0.46, "moist": 0.2, "pasture": 0.22, "stubble": 0.12}, 0.16, 13.0),
    "savanna": ({"pasture": 0.5, "stubble": 0.24, "bare": 0.08, "crop": 0.18}, 0.26, 26.0),
    "plains": ({"crop": 0.46, "stubble": 0.28, "bare": 0.08, "pasture": 0.18}, 0.08, 30.0),
}


class Chip(NamedTuple):
    """One chip: where it lies and what is on it; an edge is (degrees, pixels from the centre)."""

    event: str
    number: int
    split: str
    epsg: int
    origin: tuple[float, float]  # upper left corner, in degrees or metres
    biome: str
    water: str  # "river", "braided", "lake" or "dry"
    level: float  # flood stage; the permanent water is where the height is below 0
    clouds: float = 0.0  # share of the sky
    veil: float = 0.0  # strength of a thin cirrus layer, which hides nothing
    town: bool = False
    s1_edge: tuple[float, float] | None = None  # beyond it S1 is NaN
    s2_edge: tuple[float, float] | None = None  # beyond it S2 is 0 in all bands

    @property
    def name(self) -> str:
        """Name stem of its files; fixed width, so that no name is contained in another one."""
        return f"{self.event}_SYN{self.number:02d}"


CHIPS = (
    Chip("Spain", 1, "train", 4326, (-0.97, 38.11), "arid", "river", 0.3, town=True),
    Chip("Spain", 2, "test", 32630, (679870.0, 4213350.0), "arid", "lake", 0.25, town=True),
    Chip("Ghana", 3, "train", 4326, (-1.12, 9.31), "savanna", "lake", 0.3),
    Chip("Ghana", 4, "valid", 32630, (708700.0, 1028580.0), "savanna", "river", 0.4),
    Chip("India", 5, "train", 32646, (539830.0, 2942200.0), "paddy", "braided", 0.5, s1_edge=(200.0, 30.0)),
    Chip("India", 6, "test", 4326, (93.42, 26.63), "paddy", "river", 0.5, clouds=0.16),
    Chip("Mekong", 7, "train", 4326, (105.21, 12.12), "paddy", "braided", 0.8, clouds=0.2),
    Chip("Mekong", 8, "valid", 32648, (521760.0, 1337620.0), "paddy", "river", 0.75, town=True, veil=0.7),
    Chip("Nigeria", 9, "train", 32632, (245690.0, 730120.0), "savanna", "river", 0.4, veil=1.0),
    Chip("Pakistan", 10, "train", 4326, (71.31, 31.92), "arid", "braided", 0.35, s2_edge=(28.0, 38.0)),
    Chip("Pakistan", 11, "valid", 32642, (717510.0, 3531660.0), "arid", "river", 0.45, s1_edge=(-17.0, 41.0)),
    Chip("Paraguay", 12, "train", 32721, (409330.0, 7212600.0), "savanna", "lake", 0.6, clouds=0.1),
    Chip("Somalia", 13, "train", 4326, (44.91, 3.16), "arid", "dry", -1.0, s1_edge=(165.0, 47.0)),
    Chip("Somalia", 14, "test", 4326, (44.96, 3.11), "arid", "river", 0.3),
    Chip("Sri-Lanka", 15, "valid", 4326, (80.41, 6.72), "paddy", "lake", 0.4, clouds=0.24),
    Chip("USA", 16, "test", 32615, (3e5, 4.16e6), "plains", "river", 0.6, 0, 0, True, (196, 44), (20, 50)),
)

# Events of the real catalogue: these are facts, not pixels.
EVENT_KEYS = ("location", "ISO_CC", "ID", "orbit", "rel_orbit_num", "s1_date", "s2_date")
EVENTS: tuple[tuple[str, str, int, str, int, str, str], ...] = (
    ("Ghana", "GHA", 2, "ASCENDING", 147, "2018/09/18", "2018/09/19"),
    ("India", "IND", 3, "DESCENDING", 77, "2016/08/12", "2016/08/12"),
    ("Cambodia", "KHM", 4, "ASCENDING", 26, "2018/08/05", "2018/08/04"),
    ("Nigeria", "NGA", 5, "ASCENDING", 103, "2018/09/21", "2018/09/20"),
    ("Pakistan", "PAK", 6, "DESCENDING", 5, "2017/06/28", "2017/06/28"),
    ("Paraguay", "PRY", 7, "DESCENDING", 68, "2018/10/31", "2018/10/31"),
    ("Somalia", "SOM", 8, "ASCENDING", 116, "2018/05/07", "2018/05/05"),
    ("Spain", "ESP", 9, "DESCENDING", 110, "2019/09/17", "2019/09/18"),
    ("Sri-Lanka", "LKA", 10, "DESCENDING", 19, "2017/05/30", "2017/05/28"),
    ("USA", "USA", 11, "ASCENDING", 136, "2019/05/22", "2019/05/22"),
)
LOCATION_OF = {"Mekong": "Cambodia"}  # the chips carry another name than the catalogue, as in the real data


class Scene(NamedTuple):
    """What is on the ground: pure cover classes, the water mask and fields that vary within a class."""

    cover: NDArray[np.intp]
    water: Mask
    clarity: Array  # 0 turbid .. 1 clear, where there is water
    vigour: Array  # -1 .. 1, per field
    texture: Array  # zero mean, unit variance


def fractal(rng: RandomState, beta: float, size: int = SIZE) -> Array:
    """Make noise with a power spectrum of ``f ** -beta``, cut from a larger period so that it does not wrap.

    Parameters
    ----------
    rng : RandomState
        Source of randomness.
    beta : float
        Exponent: 0 is white, 3 and more are clouds and hills.
    size : int
        Pixels per side.

    Returns
    -------
    ndarray
        Square field with zero mean and unit variance.

    """
    period = 2 * size
    frequency = np.hypot(np.fft.fftfreq(period)[:, None], np.fft.rfftfreq(period)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((period, period))) / frequency ** (beta / 2)
    field = np.fft.irfft2(spectrum, s=(period, period))[:size, :size]
    return (field - field.mean()) / field.std()


def rotated(angle: float) -> tuple[Array, Array]:
    """Coordinates in pixels from the centre, the first to ``angle`` (degrees, clockwise from east)."""
    row, column = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    theta = np.deg2rad(angle)
    return column * np.cos(theta) + row * np.sin(theta), row * np.cos(theta) - column * np.sin(theta)


def beyond(edge: tuple[float, float] | None) -> Mask:
    """Pixels on the far side of a straight, slanted edge."""
    if edge is None:
        return np.zeros((SIZE, SIZE), dtype=bool)
    return rotated(edge[0])[0] > edge[1]


def height(rng: RandomState, chip: Chip) -> Array:
    """Height above the permanent water; one unit is a few metres."""
    relief = 0.3 * fractal(rng, 3.4)
    u, v = rotated(rng.uniform(0, 360))
    if chip.water == "dry":
        return 1.0 + 0.2 * relief
    if chip.water == "lake":
        return (np.hypot(u - rng.uniform(-12, 12), 1.5 * v) - rng.uniform(17, 25)) / 42 + 1.3 * relief
    count, width, sway = (4, 3.2, 22.0) if chip.water == "braided" else (1, 4.8, 17.0)
    along = np.linspace(-110, 110, 221)
    distance = np.full((SIZE, SIZE), np.inf)
    for _ in range(count):
        wave = 2 * np.pi / rng.uniform(60, 110)
        phase, second = rng.uniform(0, 2 * np.pi, 2)
        middle = sway * (np.sin(wave * along + phase) + 0.3 * np.sin(2.3 * wave * along + second))
        nearest = np.hypot(u[..., None] - along, v[..., None] - middle).min(axis=-1)
        distance = np.minimum(distance, nearest)
    banks = np.maximum(distance - width, 0) / 26 + 0.06
    return np.where(distance < width, -0.4, np.maximum(banks + 1.5 * relief, 0.02))


def fields(rng: RandomState, pitch: float) -> tuple[NDArray[np.intp], Mask]:
    """Parcels as the cells of a jittered, rotated grid: number per pixel and the tracks between them."""
    u, v = rotated(rng.uniform(0, 90))
    steps = np.arange(-100, 101, pitch)
    seeds = np.stack(np.meshgrid(steps, steps * 0.7), axis=-1).reshape(-1, 2)
    seeds = seeds + rng.uniform(-0.32, 0.32, seeds.shape) * pitch
    du = np.abs(u[..., None] - seeds[:, 0])
    dv = np.abs(v[..., None] - seeds[:, 1]) * 1.45
    distance = np.maximum(du, dv)
    two = np.sort(distance, axis=-1)[..., :2]
    return distance.argmin(axis=-1), two[..., 1] - two[..., 0] < 0.9


def town(rng: RandomState, cover: NDArray[np.intp]) -> NDArray[np.intp]:
    """Overlay a settlement: a street grid with bright and ordinary roofs, thinning out to its edge."""
    u, v = rotated(rng.uniform(0, 90))
    u0, v0 = rng.uniform(-38, 38, 2)
    inside = 1.6 - np.hypot(u - u0, v - v0) / 16 + 0.3 * fractal(rng, 2.4) > 0
    street = (np.mod(u, 9) < 1.3) | (np.mod(v, 12) < 1.3)
    block = np.mod(np.floor(u / 9) * 7 + np.floor(v / 12) * 13, 5)
    roof = rng.random_sample((SIZE, SIZE)) < np.where(block == 0, 0.5, 0.07)
    garden = rng.random_sample((SIZE, SIZE)) < 0.16
    built = np.where(roof, CODE["roof"], np.where(garden, CODE["pasture"], CODE["urban"]))
    return np.where(inside, np.where(street, CODE["road"], built), cover)


def make_scene(rng: RandomState, chip: Chip) -> Scene:
    """Lay out fields, woods, a road, perhaps a town, and then the water over them."""
    shares, woods, pitch = BIOMES[chip.biome]
    level = height(rng, chip)
    parcel, track = fields(rng, pitch)
    kinds = rng.choice([CODE[k] for k in shares], size=parcel.max() + 1, p=list(shares.values()))
    vigour = rng.uniform(-1, 1, kinds.size)[parcel]
    cover = np.where(track, CODE["pasture"], kinds[parcel])
    wood = fractal(rng, 2.6) - 0.8 * np.clip(level, 0, 1)  # woods prefer the banks
    cover = np.where(wood > np.quantile(wood, 1 - woods), CODE["forest"], cover)
    if chip.town:
        cover = town(rng, cover)
    u, v = rotated(rng.uniform(0, 180))
    road = np.abs(v - rng.uniform(-40, 40) - 6 * np.sin(u / 45)) < 0.9
    cover = np.where(road, CODE["road"], cover)
    water = level < max(chip.level, 0)
    clarity = np.clip(0.3 - 0.9 * level + 0.3 * fractal(rng, 3.0), 0, 1)
    cover = np.where(water, CODE["turbid"], cover)
    return Scene(cover, water, clarity, vigour, fractal(rng, 2.2))


def look_up(scene: Scene, columns: slice) -> Array:
    """Values of the cover table, first axis = table columns, with water mixed by its clarity."""
    table = np.array([values[columns] for values in COVERS.values()])
    values = np.moveaxis(table[scene.cover], -1, 0)
    turbid, clear = (table[CODE[name]][:, None, None] for name in ("turbid", "clear"))
    return np.where(scene.water, turbid + (clear - turbid) * scene.clarity, values)


def smooth(image: Array) -> Array:
    """Blur with the 3x3 binomial kernel over the last two axes."""
    for axis in (-2, -1):
        width = [(0, 0)] * image.ndim
        width[axis] = (1, 1)
        padded = np.pad(image, width, mode="edge")
        left, middle, right = (np.take(padded, np.arange(SIZE) + k, axis=axis) for k in range(3))
        image = (left + 2 * middle + right) / 4
    return image


def make_s1(rng: RandomState, chip: Chip, scene: Scene) -> NDArray[np.float32]:
    """Backscatter in dB: scene, times correlated gamma speckle of about five looks, NaN beyond the edge."""
    wind = np.clip(fractal(rng, 3.2), -1, 2.5)
    out = np.empty((2, SIZE, SIZE))
    for index, band in enumerate(look_up(scene, slice(0, 2))):
        roughness = np.where(scene.water, 1.3 * wind, 1.3 * scene.vigour + 0.7 * scene.texture)
        power = smooth(10 ** ((band + roughness) / 10))
        grain = rng.gamma(1.25, 1 / 1.25, (SIZE + 1, SIZE + 1))
        speckle = (grain[1:, 1:] + grain[:-1, 1:] + grain[1:, :-1] + grain[:-1, :-1]) / 4
        out[index] = 10 * np.log10(power * speckle + NOISE_FLOOR)
    out = np.round(out / S1_STEP) * S1_STEP
    out[:, beyond(chip.s1_edge)] = np.nan
    return out.astype(np.float32)


def make_sky(rng: RandomState, share: float) -> tuple[Array, Array]:
    """Opacity of the clouds and of their shadows, which fall to the north-west."""
    if share == 0:
        return np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    field = fractal(rng, 3.1, SIZE + 24) + 0.12 * fractal(rng, 1.6, SIZE + 24)
    opacity = np.clip((field - np.quantile(field, 1 - share)) / 0.35, 0, 1)
    return opacity[:SIZE, :SIZE], opacity[14 : SIZE + 14, 18 : SIZE + 18]


def make_s2(rng: RandomState, chip: Chip, scene: Scene, sky: tuple[Array, Array]) -> NDArray[np.int16]:
    """Top-of-atmosphere digital numbers, every band at its own sampling distance, 0 beyond the edge."""
    dry = np.array(COVERS["stubble"][2:])[:, None, None]
    image = look_up(scene, slice(2, None))
    green = np.isin(scene.cover, [CODE["crop"], CODE["pasture"]])
    image = np.where(green, image + (dry - image) * 0.22 * (1 + scene.vigour), image)  # unequal fields
    texture, field = np.where(scene.water, 0.015, 0.06), np.where(scene.water, 0, 0.07)
    contrast = texture * scene.texture + field * scene.vigour
    path = PATH[:, None, None]
    image = path + (smooth(image) - path) * (1 + contrast)
    cloud, shadow = sky
    image = path + (image - path) * (1 - 0.62 * shadow)
    image = image + VEIL[:, None, None] * chip.veil * np.clip(1 + fractal(rng, 3.4), 0, None)
    bright = 1 + 0.06 * fractal(rng, 2.6)
    image = image * (1 - cloud) + CLOUD[:, None, None] * bright * cloud
    out: Array = np.stack([sample(rng, band, block) for band, block in zip(image, BLOCK, strict=True)])
    steps = np.array(S2_STEP)[:, None, None]
    out = np.maximum(np.round(out / steps), 1) * steps  # 0 is reserved for no data
    out[:, beyond(chip.s2_edge)] = 0
    return out.astype(np.int16)


def sample(rng: RandomState, band: Array, block: int) -> Array:
    """Average over blocks of pixels, add sensor noise and repeat: nearest neighbour, as in the real chips."""
    pad = -SIZE % block
    count = (SIZE + pad) // block
    coarse = np.pad(band, (0, pad), mode="edge").reshape(count, block, count, block).mean(axis=(1, 3))
    coarse = coarse + rng.standard_normal(coarse.shape) * np.minimum(0.003 * coarse + 2, 0.05 * coarse)
    return coarse.repeat(block, axis=0).repeat(block, axis=1)[:SIZE, :SIZE]


def write_tif(path: Path, data: NDArray[Any], chip: Chip, names: Names, nodata: float | None) -> None:
    """Write one GeoTIFF with band names, georeference and a tag that says what it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixel = DEGREE if chip.epsg == 4326 else 10.0
    left, top = (round(value / pixel) * pixel for value in chip.origin)  # on the grid of whole pixels
    shape = {"dtype": data.dtype.name, "count": len(data), "height": SIZE, "width": SIZE, "nodata": nodata}
    place = {"crs": CRS.from_epsg(chip.epsg), "transform": from_origin(left, top, pixel, pixel)}
    predictor = 3 if data.dtype.kind == "f" else 2
    packing = {"compress": "deflate", "zlevel": 9, "predictor": predictor, "interleave": "band"}
    with rasterio.open(path, "w", driver="GTiff", blockysize=SIZE, **shape, **place, **packing) as target:
        target.write(data)
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTE, SYNTHETIC="YES")
        target.descriptions = names


def make_chip(chip: Chip, root: Path) -> None:
    """Write the S1, S2 and label files of one chip.

    Parameters
    ----------
    chip : Chip
        What to make; the pixels depend on nothing else.
    root : Path
        Folder that receives ``v1.1/``.

    """
    rng = RandomState([SEED, chip.number])
    scene = make_scene(rng, chip)
    sky = make_sky(rng, chip.clouds)
    s1, s2 = make_s1(rng, chip, scene), make_s2(rng, chip, scene, sky)
    label = scene.water.astype(np.int16)
    label[beyond(chip.s1_edge) | beyond(chip.s2_edge) | (sky[0] > 0.15)] = -1
    write_tif(root / HAND / "S1Hand" / f"{chip.name}_S1Hand.tif", s1, chip, S1_BANDS, np.nan)
    write_tif(root / HAND / "S2Hand" / f"{chip.name}_S2Hand.tif", s2, chip, S2_BANDS, 0)
    write_tif(root / HAND / "LabelHand" / f"{chip.name}_LabelHand.tif", label[None], chip, ("label",), None)


def footprint(location: str, root: Path) -> dict[str, Any]:
    """Box around all chips of an event, as a GeoJSON polygon."""
    boxes = []
    for chip in CHIPS:
        if LOCATION_OF.get(chip.event, chip.event) == location:
            with rasterio.open(root / HAND / "LabelHand" / f"{chip.name}_LabelHand.tif") as source:
                boxes.append(transform_bounds(source.crs, "EPSG:4326", *source.bounds))
    west, south = (round(min(box[k] for box in boxes), 4) for k in (0, 1))
    east, north = (round(max(box[k] for box in boxes), 4) for k in (2, 3))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_catalogue(root: Path) -> None:
    """Write the split lists and the event catalogue with its dates."""
    folder = root / "v1.1/splits/flood_handlabeled"
    folder.mkdir(parents=True, exist_ok=True)
    for split, file_name in SPLITS.items():
        names = [chip.name for chip in CHIPS if chip.split == split]
        (folder / file_name).write_bytes("".join(f"{name}\n" for name in names).encode())
    features = []
    for event in EVENTS:
        properties = dict(zip(EVENT_KEYS, event, strict=True)) | {"synthetic": True}
        features.append({"type": "Feature", "properties": properties, "geometry": footprint(event[0], root)})
    collection = {"type": "FeatureCollection", "name": "Sen1Floods11_Metadata", "features": features}
    text = f"{json.dumps(collection, indent=1)}\n"
    (root / "v1.1/Sen1Floods11_Metadata.geojson").write_bytes(text.encode())


def main(arguments: list[str] | None = None) -> None:
    """Write the whole sample."""
    parser = argparse.ArgumentParser(description="Make the synthetic flood sample.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="target folder")
    root = parser.parse_args(arguments).out
    for chip in CHIPS:
        make_chip(chip, root)
    write_catalogue(root)
    sys.stdout.write(f"{len(CHIPS)} chips written to {root}\n")


if __name__ == "__main__":
    main()
