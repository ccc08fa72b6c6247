"""Segmentation masks beside images are recognised, said and left out; nothing else is."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, prepared, write
from numpy.typing import NDArray
from PIL import Image

from ganloom.config import Reading
from ganloom.data.sources import Source, find


def mask(seed: int = 0, values: int = 2) -> NDArray[np.uint8]:
    """[24, 24] with discs of few values."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    result = np.zeros((24, 24), np.uint8)
    for value in np.linspace(0, 255, values)[1:]:
        cy, cx = random.uniform(5, 19, 2)
        result[(y - cy) ** 2 + (x - cx) ** 2 < 30] = value
    return result


def photo(seed: int, channels: int = 3) -> NDArray[np.uint8]:
    return noise(24, 24, channels, seed)


def tree(root: Path, *pairs: tuple[str, str], count: int = 6) -> Path:
    """`pairs` of paths with `{}` for a number: of images, and of their masks."""
    for image, beside in pairs:
        for index in range(count):
            write(root / image.format(index), encoded(photo(index)))
            write(root / beside.format(index), encoded(mask(index)))
    return root


def taken(source: Source) -> set[str]:
    return {item.name for item in source.items()}


def said(source: Source) -> str:
    return "\n".join(f"{topic}: {text}" for topic, text in source.remarks)


PAIRS = [
    ("images/{}.png", "masks/{}.png"),
    ("images/{}.png", "groundtruth/{}.png"),
    ("train/{}.png", "train_masks/{}_mask.png"),
    ("benign/x ({}).png", "benign/x ({})_mask.png"),
    ("ISIC_{}.png", "ISIC_{}_segmentation.png"),
    ("JPEGImages/2007_{}.png", "SegmentationClass/2007_{}.png"),
    ("leftImg8bit/a_{}_leftImg8bit.png", "gtFine/a_{}_gtFine_labelIds.png"),
    ("img/{}.png", "CelebAMask-HQ-mask-anno/0000{}_hair.png"),
    ("images/cat_{}.png", "annotations/trimaps/cat_{}.png"),
    ("training/images/2{}_training.png", "training/1st_manual/2{}_manual1.png"),
    ("a/{}.png", "a/mask_{}.png"),
]


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
@pytest.mark.parametrize(("image", "beside"), PAIRS)
def test_masks_are_left_out_and_said_with_the_flag_that_keeps_them(
    tmp_path: Path, image: str, beside: str, form: str
) -> None:
    given = tree(tmp_path / "in", (image, beside))
    if form != "folder":
        given = Path(shutil.make_archive(str(tmp_path / "a"), form, given))
    source = find(str(given))
    assert taken(source) == {image.format(index) for index in range(6)}
    assert (source.count, source.ignored) == (6, 6)
    assert "6 " in said(source) and "segmentation masks" in said(source) and "--keep-masks" in said(source)
    kept = find(Reading(source=str(given), keep_masks=True))
    assert len(taken(kept)) == 12 and "masks:" not in said(kept)


def test_masks_in_every_class_folder_leave_the_classes(tmp_path: Path) -> None:
    """As in COVID-QU-Ex."""
    pairs = [(f"{name}/images/{{}}.png", f"{name}/lung masks/{{}}.png") for name in ("sick", "well")]
    source = find(str(tree(tmp_path, *pairs)))
    assert list(source.class_names) == ["sick", "well"]
    assert "12 in lung masks/" in said(source)


def test_a_dataset_is_packed_without_the_masks_and_says_so(tmp_path: Path) -> None:
    dataset = prepared(tree(tmp_path / "in", PAIRS[0]), tmp_path / "out")
    assert dataset.description.account.taken == 6 and dataset.description.account.ignored == 6
    assert any(remark.topic == "masks" for remark in dataset.description.remarks)


FORMS = [("1", 2), ("jpeg", 2), *((form, values) for form in ("L", "P", "RGB", "16 bits") for values in (2, 4, 20))]


@pytest.mark.parametrize(("form", "values"), FORMS)
def test_masks_are_known_in_any_form(tmp_path: Path, form: str, values: int) -> None:
    if (form == "jpeg" and values > 2) or (form == "1" and values > 2):
        pytest.skip("not with so many values")
    for index in range(6):
        write(tmp_path / f"images/{index}.jpg", encoded(Image.fromarray(photo(index)), "JPEG"))
        grey = mask(index, values)
        out = io.BytesIO()
        if form == "jpeg":
            Image.fromarray(grey).save(out, "JPEG")
        elif form == "16 bits":
            Image.fromarray(grey.astype(np.uint16) * 257).save(out, "PNG")
        else:
            Image.fromarray(grey).convert(form).save(out, "PNG")
        write(tmp_path / f"masks/{index}.png", out.getvalue())
    assert find(str(tmp_path)).count == 6


@pytest.mark.parametrize("image", ["{}", "{}_mask", "{}_gt", "{}_label", "mask_{}"])
@pytest.mark.parametrize(
    "folders", [("cat", "dog"), ("with_mask", "without_mask"), ("labels", "bottles"), ("gt", "lq")]
)
def test_pictures_with_the_names_of_masks_are_kept(tmp_path: Path, image: str, folders: tuple[str, str]) -> None:
    for seed, folder in enumerate(folders):
        for index in range(5):
            write(tmp_path / folder / f"{image.format(index)}.png", encoded(photo(10 * seed + index)))
    source = find(str(tmp_path))
    assert source.count == 10 and list(source.class_names) == sorted(folders) and not source.remarks


@pytest.mark.parametrize("folders", [("photo", "sketch"), ("day", "night"), ("hr", "lr"), ("3", "8")])
def test_folders_with_equal_numbering_are_classes_even_of_few_values(tmp_path: Path, folders: tuple[str, str]) -> None:
    for index in range(5):
        write(tmp_path / folders[0] / f"{index}.png", encoded(photo(index)))
        write(tmp_path / folders[1] / f"{index}.png", encoded(mask(index)))
    source = find(str(tmp_path))
    assert source.count == 10 and list(source.class_names) == sorted(folders) and not source.remarks


def test_a_png_of_the_same_name_beside_a_photo_is_its_mask_if_it_has_few_values(tmp_path: Path) -> None:
    """As in CMP facades."""
    for index in range(5):
        write(tmp_path / "facades" / f"{index}.jpg", encoded(photo(index), "JPEG"))
        write(tmp_path / "facades" / f"{index}.png", encoded(mask(index, 8)))
        write(tmp_path / "copies" / f"{index}.jpg", encoded(photo(index), "JPEG"))
        write(tmp_path / "copies" / f"{index}.png", encoded(photo(index)))
    source = find(str(tmp_path / "facades"))
    assert taken(source) == {f"{index}.jpg" for index in range(5)} and "5 named .png are left out" in said(source)
    assert find(str(tmp_path / "copies")).count == 10


def test_tiny_pictures_are_not_masks_because_they_have_few_pixels(tmp_path: Path) -> None:
    for folder, start in (("images", 0), ("labels", 10)):
        for index in range(5):
            write(tmp_path / folder / f"{index}.png", encoded(noise(4, 5, 1, start + index)))
    assert find(str(tmp_path)).count == 10


def test_masks_alone_are_images(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path / "masks" / f"{index}_mask.png", encoded(mask(index)))
    assert find(str(tmp_path)).count == 5


def test_masks_of_no_image_are_images(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path / "photos" / f"holiday{index}.png", encoded(photo(index)))
        write(tmp_path / "labels" / f"bottle{index + 100}.png", encoded(mask(index)))
    assert find(str(tmp_path)).count == 10


def test_a_damaged_mask_does_not_matter(tmp_path: Path) -> None:
    tree(tmp_path, PAIRS[0])
    (tmp_path / "masks/0.png").write_bytes(b"nothing")
    assert find(str(tmp_path)).count == 6


def test_thumbnails_beside_originals_are_said(tmp_path: Path) -> None:
    for index in range(5):
        picture = Image.fromarray(noise(6, 6, 3, index)).resize((48, 48))
        write(tmp_path / "originals" / f"IMG_{index}.png", encoded(picture))
        write(tmp_path / "thumbnails" / f"IMG_{index}.JPG", encoded(picture.resize((16, 16)), "JPEG"))
    source = find(str(tmp_path))
    assert source.count == 10
    assert "pairs: originals, thumbnails show the same pictures" in said(source)
