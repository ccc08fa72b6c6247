"""Folders as messy as real ones: every file is accounted for, and every good image is exact to the pixel."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import STORED, encoded, entries, noise, packed_by_name, png_header, prepared, rows, skipped, turned, write
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ganloom.config import Reading
from ganloom.core.errors import DataError
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import find

HEIGHT, WIDTH = 5, 7
HOW = Preprocessing(channels=3, window=(0.0, 65535.0))
Made = tuple[bytes, NDArray[Any]]  # a file, and the image [H, W, 3] that it should become


def grey(array: NDArray[Any]) -> NDArray[Any]:
    return np.dstack([array] * 3)


def over_white(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def one_bit(seed: int, format: str) -> Made:
    bits = noise(HEIGHT, WIDTH, 1, seed) > 127
    return encoded(Image.fromarray(bits), format), grey(np.where(bits, 255, 0))


def of_grey(seed: int, format: str) -> Made:
    image = noise(HEIGHT, WIDTH, 1, seed)
    return encoded(image, format), grey(image)


def of_colour(seed: int, format: str, **options: Any) -> Made:
    image = noise(HEIGHT, WIDTH, 3, seed)
    return encoded(image, format, **options), image


def grey_with_alpha(seed: int) -> Made:
    image = noise(HEIGHT, WIDTH, 2, seed)
    return encoded(Image.fromarray(image)), over_white(grey(image[..., 0]), image[..., 1])


def colour_with_alpha(seed: int, format: str, **options: Any) -> Made:
    image = noise(HEIGHT, WIDTH, 4, seed)
    image[0, :, 3], image[1, :, 3] = 0, 255
    return encoded(image, format, **options), over_white(image[..., :3], image[..., 3])


def one_transparent_colour(seed: int) -> Made:
    image = noise(HEIGHT, WIDTH, 3, seed)
    first = tuple(int(value) for value in image[0, 0])
    return encoded(image, transparency=first), np.where((image == image[0, 0]).all(2)[..., None], 255, image)


def of_palette(seed: int, format: str, transparent: bool = False) -> Made:
    colours = noise(1, 256, 3, seed + 1000)[0]
    index = noise(HEIGHT, WIDTH, 1, seed)
    image = Image.fromarray(index, "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours.tobytes())
    place = int(index[2, 3])
    expected = np.where((index == place)[..., None] & transparent, 255, colours[index])
    return encoded(image, format, **({"transparency": place} if transparent else {})), expected


def of_two_frames(seed: int) -> Made:
    image, other = noise(HEIGHT, WIDTH, 1, seed), noise(HEIGHT, WIDTH, 1, seed + 1)
    return encoded(image, "GIF", save_all=True, append_images=[Image.fromarray(other)]), grey(image)


def as_pillow_reads_it(content: bytes) -> NDArray[Any]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))


def lossy(seed: int, mode: str, format: str = "JPEG", **options: Any) -> Made:
    content = encoded(
        Image.fromarray(noise(HEIGHT, WIDTH, 4, seed), "RGBA").convert("RGB").convert(mode), format, **options
    )
    return content, as_pillow_reads_it(content)


def deep_grey(seed: int, format: str) -> Made:
    image = np.random.default_rng(seed).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    return encoded(image, format), grey(np.round(image / 257))


def of_floats(seed: int) -> Made:
    image = np.random.default_rng(seed).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.float32)
    return encoded(image, "TIFF"), grey(np.round(image / 257))


def turned_by_exif(seed: int, format: str, **options: Any) -> Made:
    image, orientation = noise(HEIGHT, WIDTH, 3, seed), seed % 8 + 1
    stored = np.ascontiguousarray(STORED[orientation](image))
    content = encoded(stored, format, exif=turned(orientation), **options)
    if format == "JPEG":  # not lossless: what is stored is what Pillow decodes, turned back
        stored = as_pillow_reads_it(content)
        image = next(np.asarray(back) for back in (UPRIGHT[orientation](stored),))
    return content, image


UPRIGHT = STORED | {6: STORED[8], 8: STORED[6]}  # the others undo themselves


def with_srgb_profile(seed: int) -> Made:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return of_colour(seed, "PNG", icc_profile=profile)


GOOD: dict[str, tuple[str, Callable[[int], Made]]] = {
    "1 bit PNG": (".png", lambda seed: one_bit(seed, "PNG")),
    "1 bit TIFF": (".tif", lambda seed: one_bit(seed, "TIFF")),
    "grey PNG": (".PNG", lambda seed: of_grey(seed, "PNG")),
    "grey BMP": (".bmp", lambda seed: of_grey(seed, "BMP")),
    "grey GIF": (".gif", lambda seed: of_grey(seed, "GIF")),
    "grey JPEG": (".jpeg", lambda seed: lossy(seed, "L")),
    "grey with alpha": (".png", grey_with_alpha),
    "colour PNG": (".png", lambda seed: of_colour(seed, "PNG")),
    "colour BMP": (".Bmp", lambda seed: of_colour(seed, "BMP")),
    "colour TIFF": (".tiff", lambda seed: of_colour(seed, "TIFF", compression="tiff_lzw")),
    "colour WebP": (".webp", lambda seed: of_colour(seed, "WEBP", lossless=True)),
    "colour PPM": (".ppm", lambda seed: of_colour(seed, "PPM")),
    "colour JPEG": (".jpg", lambda seed: lossy(seed, "RGB")),
    "CMYK JPEG": (".jpg", lambda seed: lossy(seed, "CMYK")),
    "MPO": (".jpg", lambda seed: lossy(seed, "RGB", "MPO", save_all=True, append_images=[Image.new("RGB", (7, 5))])),
    "a PNG called JPEG": (".jpg", lambda seed: of_colour(seed, "PNG")),
    "alpha PNG": (".png", lambda seed: colour_with_alpha(seed, "PNG")),
    "alpha WebP": (".webp", lambda seed: colour_with_alpha(seed, "WEBP", lossless=True, exact=True)),
    "alpha TIFF": (".tif", lambda seed: colour_with_alpha(seed, "TIFF")),
    "one transparent colour": (".png", one_transparent_colour),
    "palette PNG": (".png", lambda seed: of_palette(seed, "PNG")),
    "palette GIF": (".gif", lambda seed: of_palette(seed, "GIF")),
    "palette with a hole": (".png", lambda seed: of_palette(seed, "PNG", True)),
    "animated": (".gif", of_two_frames),
    "16 bit PNG": (".png", lambda seed: deep_grey(seed, "PNG")),
    "16 bit TIFF": (".tif", lambda seed: deep_grey(seed, "TIFF")),
    "float TIFF": (".tif", of_floats),
    "turned PNG": (".png", lambda seed: turned_by_exif(seed, "PNG")),
    "turned WebP": (".webp", lambda seed: turned_by_exif(seed, "WEBP", lossless=True)),
    "turned TIFF": (".tif", lambda seed: turned_by_exif(seed, "TIFF")),
    "turned JPEG": (".jpg", lambda seed: turned_by_exif(seed, "JPEG")),
    "sRGB profile": (".png", with_srgb_profile),
}

PICTURE = encoded(noise(HEIGHT, WIDTH, 3, 4711))
PHOTO = encoded(noise(64, 64, 3, 4711), "JPEG")


def put(name: str, content: bytes) -> Callable[[Path], Path]:
    return lambda folder: write(folder / name, content)


def link(name: str, target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def pipe(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return make


def linked_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a pipe")  # not an image itself, so it is ignored
    return link("to a pipe.png", "a pipe")(folder)


TAKEN, SKIPPED, IGNORED = "taken", "skipped", "ignored"
FAULTS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "empty": (SKIPPED, put("empty.png", b"")),
    "PNG cut short": (SKIPPED, put("cut.png", PICTURE[: len(PICTURE) // 2])),
    "JPEG cut short": (SKIPPED, put("cut.jpg", PHOTO[: len(PHOTO) // 2])),
    "a web page": (SKIPPED, put("page.jpg", b"<!doctype html><title>404</title>")),
    "HEIC of nonsense": (SKIPPED, put("phone.heic", b"\0\0\0\x18ftypheic" + bytes(100))),
    "50,000 x 50,000": (SKIPPED, put("bomb.png", png_header(50_000, 50_000))),
    "no pixels": (SKIPPED, put("none.png", png_header(0, 0))),
    "pipe": (SKIPPED, pipe("pipe.png")),
    "link to a pipe": (SKIPPED, linked_pipe),
    "dead link": (SKIPPED, link("dead.png", "nowhere.png")),
    "dead link out": (SKIPPED, link("far.png", "/nowhere/at/all.png")),
    "link to itself": (SKIPPED, link("self.png", "self.png")),
    "link out": (SKIPPED, link("out.png", "/etc/hostname")),
    "folder linked out": (SKIPPED, link("out", "/etc")),
    "folder linked back": (SKIPPED, link("back", ".")),
    "link within": (TAKEN, link("within.png", "../anchor.png")),
    "equal image": (TAKEN, put("equal.png", PICTURE)),
    "folder called as an image": (TAKEN, put("a.png/inside.png", PICTURE)),
    "text": (IGNORED, put("notes.txt", b"hello")),
    "no suffix": (IGNORED, put("README", b"hello")),
    "Windows": (IGNORED, put("Thumbs.db", b"\xd0\xcf\x11\xe0")),
    "Mac": (IGNORED, put(".DS_Store", b"\0\0\0\1Bud1")),
    "Mac's fork": (IGNORED, put("._photo.jpg", b"\0\5\x16\7")),
    "Mac's zip": (IGNORED, put("__MACOSX/photo.png", b"\0\5\x16\7")),
    "hidden folder": (IGNORED, put(".thumbnails/photo.png", PICTURE)),
    "pipe that is no image": (IGNORED, pipe("pipe")),
    "text linked out": (IGNORED, link("notes", "/etc/hostname")),
    "hidden link out": (IGNORED, link(".out.png", "/etc/hostname")),
    "text linked to itself": (IGNORED, link("itself", "itself")),
}

STEMS = ("a", "ä ö", "日本", "😀", 'it\'s "so"', "new\nline", "tab\t", "-rf", "%41", "a,b", "a;b", "x.jpg", "caf\udce9")
FOLDERS = ("", "cats", "dögs", "a/b/c", "train", "odd\udcff", "a.png", "x y")


@st.composite
def trees(draw: Any) -> tuple[list[tuple[str, str, int, str]], list[tuple[str, str]]]:
    """(kind, folder, seed, stem) of good images, (fault, folder) of the others."""
    place = st.sampled_from(FOLDERS)
    good = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(GOOD)), place, st.integers(0, 999), st.sampled_from(STEMS)), max_size=14
        )
    )
    faults = draw(st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), place), max_size=12, unique=True))
    return good, faults


def build(root: Path, good: Any, faults: Any) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Write the tree. Returns the expected images by name, and what should become of the faulty files."""
    anchor, image = of_colour(0, "PNG")
    expected = {"anchor.png": image}
    write(root / "anchor.png", anchor)
    for number, (kind, folder, seed, stem) in enumerate(good):
        suffix, make = GOOD[kind]
        content, image = make(seed)
        name = str(Path(folder) / f"{number}{stem}{suffix}")
        write(root / name, content)
        expected[name] = image
    fates = {}
    for number, (fault, folder) in enumerate(faults):
        fate, make_fault = FAULTS[fault]
        below = root / folder / f"fault {number}"
        below.mkdir(parents=True)
        if fault == "link within":
            name = str(link("within.png", os.path.relpath(root / "anchor.png", below))(below).relative_to(root))
        else:
            name = str(make_fault(below).relative_to(root))
        fates[name] = fate
    return expected, fates


def files_below(root: Path) -> Iterator[str]:
    """Every entry that is not a folder; a link is an entry."""
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (str((Path(folder) / name).relative_to(root)) for name in files + links)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees(), st.sampled_from([0.0, 0.3]), st.booleans())
def test_every_file_is_accounted_for_and_every_good_image_is_exact(tree: Any, holdout: float, drop: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "in"
        expected, fates = build(root, *tree)
        # A second image at the top: a single one among twenty would be a stray, and the folders would be classes.
        content, expected["anchor too.png"] = of_colour(1, "PNG")
        write(root / "anchor too.png", content)
        choice = Selection(holdout=holdout, drop_duplicates=drop)
        try:
            dataset = prepared(root, Path(folder) / "out", HOW, choice, max_skipped=1.0)
        except DataError as error:
            assert "no training image" in str(error) and holdout
            return
        account = dataset.description.account
        total = account.taken + account.dropped + account.skipped + account.left_out + account.ignored
        assert total == len(list(files_below(root)))
        assert account.taken == sum(dataset.count(split) for split in dataset.splits)
        listed, reasons = entries(dataset), skipped(dataset)
        assert len({entry["file"] for entry in listed}) == len(listed) == total - account.ignored
        assert set(reasons) == {name for name, fate in fates.items() if fate == SKIPPED}
        assert all(reasons.values())
        images = packed_by_name(dataset)
        for name, image in expected.items():
            if name in images:
                np.testing.assert_allclose(images[name], image, rtol=0, atol=0 if (image % 1 == 0).all() else 1)
            else:
                assert drop and any(entry == entry | {"file": name, "duplicate": True} for entry in listed)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 30), st.integers(0, 6), st.floats(0, 1))
def test_more_faults_than_allowed_are_refused(good: int, bad: int, limit: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(good):
            write(Path(folder) / "in" / f"{number}.png", encoded(noise(2, 3, 1, number)))
        for number in range(bad):
            write(Path(folder) / "in" / f"bad{number}.png", b"")
        for number in range(20):
            write(Path(folder) / "in" / f"{number}.txt", b"")  # not an image, so it does not count
        if bad > limit * (good + bad):
            with pytest.raises(DataError, match=f"{bad} of {good + bad} images cannot be used.*--max-skipped"):
                prepared(Path(folder) / "in", Path(folder) / "out", max_skipped=limit)
            assert not (Path(folder) / "out").exists()
        else:
            account = prepared(Path(folder) / "in", Path(folder) / "out", max_skipped=limit).description.account
            assert (account.taken, account.skipped, account.ignored) == (good, bad, 20)


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_file_becomes_the_picture_that_it_shows(tmp_path: Path, kind: str) -> None:
    suffix, make = GOOD[kind]
    expected = {}
    for seed in range(8):  # one per EXIF orientation
        content, expected[f"{seed}{suffix}"] = make(seed)
        write(tmp_path / "in" / f"{seed}{suffix}", content)
    images = packed_by_name(prepared(tmp_path / "in", tmp_path / "out", HOW))
    for name, image in expected.items():
        np.testing.assert_allclose(images[name], image, rtol=0, atol=0 if (image % 1 == 0).all() else 1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_skipped_or_ignored_as_expected(tmp_path: Path, fault: str) -> None:
    _, fates = build(tmp_path / "in", [], [(fault, "")])
    dataset = prepared(tmp_path / "in", tmp_path / "out", HOW, max_skipped=1.0)
    fate = next(iter(fates.values()))
    account = dataset.description.account
    assert account.taken == 1 + (fate == TAKEN)
    assert account.skipped == (fate == SKIPPED)
    assert account.taken + account.skipped + account.ignored == len(list(files_below(tmp_path / "in")))


def test_images_of_a_folder_linked_within_are_found_again_as_duplicates(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / "a" / f"{number}.png", encoded(noise(2, 3, 1, number)))
    (tmp_path / "in" / "b").symlink_to("a")
    account = prepared(tmp_path / "in", tmp_path / "out").description.account
    assert (account.taken, account.duplicates, account.skipped) == (6, 3, 0)


def test_a_link_that_is_not_followed_does_not_change_the_classes_of_others(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind in ("cat", "dog"):
            write(tmp_path / "in" / split / kind / "1.png", encoded(noise(2, 3, 1, len(split + kind))))
        (tmp_path / "in" / split / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "in" / "notes.txt").symlink_to("/etc/hostname")
    (tmp_path / "in" / "back").symlink_to(".")
    source = find(str(tmp_path / "in"))
    assert list(source.class_names) == ["cat", "dog"]
    assert sorted(source.splits) == ["train", "val"]


def test_links_that_are_now_followed_are_packed_though_they_were_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANLOOM_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "far" / "1.png", encoded(noise(2, 3, 1, 1)))
    write(tmp_path / "in" / "0.png", encoded(noise(2, 3, 1, 0)))
    (tmp_path / "in" / "1.png").symlink_to(tmp_path / "far" / "1.png")
    counts = [
        prepare(
            find(Reading(source=str(tmp_path / "in"), follow_links=follow)), HOW, Selection(holdout=0), max_skipped=1.0
        ).count()
        for follow in (False, True)
    ]
    assert counts == [1, 2]


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, which JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9) + np.cos(y / 11), np.cos(x / 7), np.sin((x + y) / 13)]
    return (np.dstack(waves) * 50 + 127).clip(0, 255).astype(np.uint8)


def test_a_jpeg_is_decoded_in_full_size_unless_fast(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg", encoded(photo(300, 200), "JPEG", quality=90))
    with Image.open(tmp_path / "in" / "a.jpg") as image:
        full = np.asarray(image)
        small = np.asarray(image.resize((32, 48), Image.Resampling.LANCZOS))
    assert np.array_equal(rows(prepared(tmp_path / "in", tmp_path / "full"))[0], full)
    exact = rows(prepared(tmp_path / "in", tmp_path / "small", Preprocessing((48, 32), resize="stretch")))[0]
    assert np.array_equal(exact, small)
    quick = rows(prepared(tmp_path / "in", tmp_path / "fast", Preprocessing((48, 32), resize="stretch", fast=True)))[0]
    assert quick.shape == exact.shape
    assert not np.array_equal(quick, exact)  # the fast path was taken
    assert np.abs(quick.astype(int) - exact).mean() < 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_fast_decoding_is_close_for_a_rotated_jpeg(tmp_path: Path, orientation: int) -> None:
    upright = photo(400, 100)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    write(tmp_path / "in" / "a.jpg", encoded(stored, "JPEG", quality=95, exif=turned(orientation)))
    both = [
        rows(prepared(tmp_path / "in", tmp_path / str(fast), Preprocessing((96, 24), resize="stretch", fast=fast)))[0]
        for fast in (False, True)
    ]
    assert both[0].shape == both[1].shape == (96, 24, 3)
    assert np.abs(both[0].astype(int) - both[1]).mean() < 2


@pytest.mark.parametrize("resize", ["crop", "fit", "stretch"])
@pytest.mark.parametrize("size", [(16, 16), (10, 24), (90, 70)])
def test_resizing_is_lanczos_as_pillow_does_it(tmp_path: Path, resize: Any, size: tuple[int, int]) -> None:
    image = noise(40, 60, 3)
    write(tmp_path / "in" / "a.png", encoded(image))
    made = rows(prepared(tmp_path / "in", tmp_path / "out", Preprocessing(size, resize=resize)))[0]
    height, width = size
    scale = min(height / 40, width / 60) if resize == "fit" else max(height / 40, width / 60)
    flat = Image.fromarray(image)
    if resize == "stretch":
        expected = np.asarray(flat.resize((width, height), Image.Resampling.LANCZOS))
    elif resize == "crop":
        w, h = width / scale, height / scale
        box = ((60 - w) / 2, (40 - h) / 2, (60 + w) / 2, (40 + h) / 2)
        expected = np.asarray(flat.resize((width, height), Image.Resampling.LANCZOS, box=box))
    else:
        inner = flat.resize((round(60 * scale), round(40 * scale)), Image.Resampling.LANCZOS)
        sheet = Image.new("RGB", (width, height))
        sheet.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        expected = np.asarray(sheet)
    assert made.shape == (*size, 3)
    np.testing.assert_allclose(made.astype(int), expected.astype(int), rtol=0, atol=1)
