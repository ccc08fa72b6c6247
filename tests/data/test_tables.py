"""Labels, splits and groups come from a table where there is one reading; otherwise a line says what was not read."""

import codecs
import json
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import labels, pictures, prepared, skipped, write

import ganloom
from ganloom.config import Config, Reading, recipe_values
from ganloom.core.errors import ConfigError, DataError
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.sources import Source, find
from ganloom.data.sources.tabular import MAX_LINE, open_rows
from ganloom.planning.request import placed

NAMES = [f"img{number:02}.png" for number in range(12)]
KINDS = [("cat", "dog")[number % 2] for number in range(12)]


def table(header: str, *columns: Iterable[Any], mark: str = ",") -> bytes:
    rows = [mark.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *rows, ""]).encode()


LABELS = table("file_name,label", NAMES, KINDS)


def opened(folder: Path, files: dict[str, bytes], names: Sequence[str] = NAMES, **reading: Any) -> Source:
    """The source of a folder with images of these names, and other files."""
    pictures(folder, *names)
    for name, content in files.items():
        write(folder / name, content)
    return find(Reading(source=str(folder), **reading))


def found(source: Source) -> dict[str, str | None]:
    """The class of each image."""
    return {
        item.name: source.class_names[item.label] if isinstance(item.label, int) else None for item in source.items()
    }


def said(source: Source) -> str:
    return "\n".join(text for _, text in source.remarks)


# Where the table is, and how it is written


@pytest.mark.parametrize(
    "content",
    [
        LABELS,
        LABELS.replace(b"\n", b"\r\n"),
        LABELS.replace(b"\n", b"\r"),
        LABELS.replace(b",", b";"),
        LABELS.replace(b",", b"\t"),
        LABELS.replace(b"file_name,label", b'"File Name" , "Class"'),
        b"sep=;\n" + LABELS.replace(b",", b";"),
        codecs.BOM_UTF8 + LABELS,
        LABELS.decode().encode("utf-16"),
        LABELS.partition(b"\n")[2],  # without a header
        table("file_name,label", range(12), NAMES, KINDS),  # as R writes row names
        table("Image_ID,DX", [name[:-4] for name in NAMES], KINDS),
        table("path,category", [f"images/{name}" for name in NAMES], KINDS),
        table("path,category", [f"C:\\me\\data\\images\\{name}" for name in NAMES], KINDS),
        table("filename,class", [f"/home/me/{name[:-4]}.dcm" for name in NAMES], KINDS),
        table("id,label", range(12), KINDS),
    ],
    ids=range(16),
)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, content: bytes) -> None:
    names = [f"{number}.png" for number in range(12)] if content.startswith(b"id,") else NAMES
    source = opened(tmp_path, {"labels.csv": content}, [f"images/{name}" for name in names])
    assert list(found(source).values()) == [KINDS[names.index(name[7:])] for name in found(source)]
    assert source.class_names == ["cat", "dog"]
    assert "labels.csv" in said(source) and source.ignored == 0


def test_latin_letters_of_old_files_are_read(tmp_path: Path) -> None:
    content = table("file,label", NAMES, ["Bär", "Löwe"] * 6).decode().encode("latin-1")
    source = opened(tmp_path, {"labels.csv": content})
    assert source.class_names == ["Bär", "Löwe"] and "read as Windows-1252" in said(source)


def test_json_lines_in_the_folder_of_a_split_are_read(tmp_path: Path) -> None:
    """As Hugging Face's ImageFolder writes them: names start from the folder of the file."""
    files = {}
    for split, kinds in (("train", KINDS), ("test", KINDS[::-1])):
        rows = [json.dumps({"file_name": name, "label": kind}) for name, kind in zip(NAMES, kinds, strict=True)]
        files[f"{split}/metadata.jsonl"] = "\n".join(rows).encode()
    source = opened(tmp_path, files, [f"{split}/{name}" for split in ("train", "test") for name in NAMES])
    assert found(source)["train/img00.png"] == "cat" and found(source)["test/img00.png"] == "dog"
    assert source.splits == ("test", "train")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_table_in_an_archive_is_read(tmp_path: Path, kind: str) -> None:
    opened(tmp_path / "in", {"labels.csv": LABELS})
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in [*NAMES, "labels.csv"]:
                archive.write(tmp_path / "in" / name, f"all/{name}")
    else:
        with tarfile.open(path, "w") as tar:
            tar.add(tmp_path / "in", "all")
    source = find(str(path))
    assert [kind for _, kind in sorted(found(source).items())] == KINDS
    assert "all/labels.csv" in said(source)


def test_a_table_elsewhere_is_named_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", table("name,kind of thing", NAMES, KINDS))
    source = opened(tmp_path / "in", {}, label_file=str(path), label_column="Kind of Thing")
    assert list(found(source).values()) == KINDS
    before = list(source.fingerprint())
    write(path, table("name,kind of thing", NAMES, KINDS[::-1]))
    again = find(Reading(source=str(tmp_path / "in"), label_file=str(path), label_column="kind of thing"))
    assert list(again.fingerprint()) != before  # prepared again when the table changes


def test_the_packed_dataset_has_labels_splits_and_what_was_said(tmp_path: Path) -> None:
    content = table("image,label,split", NAMES, KINDS, ["train"] * 8 + ["valid"] * 2 + ["test"] * 2)
    source = opened(tmp_path / "in", {"meta.csv": content})
    dataset = prepare(source, Preprocessing(), Selection(), tmp_path / "out")
    assert dataset.description.splits == {"train": 8, "val": 2, "test": 2}
    assert labels(dataset) == [0, 1] * 4 and labels(dataset, "test") == [0, 1]
    assert any("splits by 'split'" in text for _, text in dataset.description.remarks)


# Known datasets


def test_ham10000_is_read_as_it_comes(tmp_path: Path) -> None:
    names = [f"HAM10000_images_part_{1 + number // 6}/ISIC_{number:07}.jpg" for number in range(12)]
    content = table(
        "lesion_id,image_id,dx,dx_type,age,sex",
        [f"HAM_{number // 2}" for number in range(12)],
        [f"ISIC_{number:07}" for number in range(12)],
        ["nv", "mel", "bkl"] * 4,
        ["histo"] * 12,
        range(30, 42),
        ["male"] * 12,
    )
    source = opened(tmp_path, {"HAM10000_metadata.csv": content}, names)
    assert source.class_names == ["bkl", "mel", "nv"]
    assert len({item.group for item in source.items()}) == 6
    assert "labels by 'dx'" in said(source) and "6 groups by 'lesion_id'" in said(source)


def test_nih_chest_x_rays_are_read_as_they_come(tmp_path: Path) -> None:
    """Several findings per image, patients as groups, lists of the splits, and a second table of few images."""
    names = [f"{number // 3:08}_{number % 3:03}.png" for number in range(12)]
    findings = ["No Finding", "Edema|Effusion", "Effusion"] * 4
    files = {
        "Data_Entry_2017.csv": table(
            "Image Index,Finding Labels,Follow-up #,Patient ID,Size[a,b],",
            names, findings, [0] * 12, [number // 3 for number in range(12)], [1] * 12, [2] * 12,
        ),
        "BBox_List_2017.csv": table("Image Index,Finding Label", names[:2], ["Edema", "Edema"]),
        "train_val_list.txt": "\n".join(names[:9]).encode(),
        "test_list.txt": "\n".join(names[9:]).encode(),
    }  # fmt: skip
    source = opened(tmp_path, files, [f"images_{1 + index // 6:03}/images/{name}" for index, name in enumerate(names)])
    assert source.class_names == ["Edema", "Effusion", "No Finding"]
    items = list(source.items())
    assert [np.asarray(item.label).tolist() for item in items[:3]] == [[0, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert [item.split for item in items] == ["train"] * 9 + ["test"] * 3
    assert items[0].group == items[2].group != items[3].group
    assert "not read: BBox_List_2017.csv" in said(source)


def test_one_column_per_class_gives_class_numbers(tmp_path: Path) -> None:
    """As in ISIC's ground truth; a class without an image is none."""
    columns = [[float(number % 2 == place) for number in range(12)] for place in range(3)]
    content = table("image,MEL,NV,UNK", [name[:-4] for name in NAMES], *columns)
    source = opened(tmp_path, {"truth/GroundTruth.csv": content}, [f"input/{name}" for name in NAMES])
    assert source.class_names == ["MEL", "NV"]
    assert [item.label for item in source.items()] == [0, 1] * 6


def test_attributes_of_minus_one_and_one_are_several_classes_per_image(tmp_path: Path) -> None:
    """As in CelebA, whose splits are in a second table."""
    attributes = table("image_id,Male,Young", NAMES, [1, -1] * 6, [1, 1, -1] * 4)
    splits = table("image_id,partition", NAMES, [0] * 8 + [1, 1, 2, 2])
    source = opened(tmp_path, {"list_attr_celeba.csv": attributes, "list_eval_partition.csv": splits})
    assert source.class_names == ["Male", "Young"] and source.splits == ("test", "train", "val")
    assert [np.asarray(item.label).tolist() for item in source.items()][:3] == [[1, 1], [0, 1], [1, 0]]


def test_findings_that_are_left_open_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """As in CheXpert: empty for not mentioned, -1 for uncertain."""
    content = table("Path,Edema,Fracture", NAMES, ["1.0", "", "-1.0"] * 4, ["0.0"] * 12)
    assert "Write 0 or 1, or take one column: --label-column 'Edema'" in said(opened(tmp_path, {"train.csv": content}))
    with pytest.raises(DataError, match="not mentioned"):
        find(Reading(source=str(tmp_path), label_file="train.csv"))
    source = find(Reading(source=str(tmp_path), label_column="Edema"))
    assert source.class_names == ["-1", "1"] and list(found(source).values())[:3] == ["1", None, "-1"]


def test_kaggles_submission_gives_no_labels_to_test_images(tmp_path: Path) -> None:
    files = {
        "train.csv": table("id,label", range(8), KINDS[:8]),
        "test.csv": table("id", range(8, 12)),
        "sample_submission.csv": table("id,label", range(8, 12), ["cat"] * 4),
    }
    names = [f"train/{number}.jpg" for number in range(8)] + [f"test/{number}.jpg" for number in range(8, 12)]
    source = opened(tmp_path, files, names)
    assert [kind for name, kind in found(source).items() if name.startswith("train")] == KINDS[:8]
    assert {kind for name, kind in found(source).items() if name.startswith("test")} == {None}


def test_a_table_for_each_split_gives_the_splits(tmp_path: Path) -> None:
    files = {
        "notes/train.csv": table("image,label", NAMES[:8], KINDS[:8]),
        "notes/valid.csv": table("image,label", NAMES[8:], KINDS[8:]),
    }
    source = opened(tmp_path, files, [f"images/{name}" for name in NAMES])
    assert [item.split for item in source.items()] == ["train"] * 8 + ["val"] * 4
    assert list(found(source).values()) == KINDS


def test_classes_that_differ_in_case_alone_are_said(tmp_path: Path) -> None:
    source = opened(tmp_path, {"a.csv": table("image,label", NAMES, ["Benign", "benign ", "other"] * 4)})
    assert "'Benign' and 'benign' are nearly the same" in said(source)


def test_tags_with_spaces_between_them_are_several_classes(tmp_path: Path) -> None:
    kinds = ["clear", "haze", "road", "clear haze", "clear road", "haze road", "clear haze road"]
    names = [f"{number:02}.png" for number in range(28)]
    source = opened(tmp_path, {"train.csv": table("image_name,tags", names, kinds * 4)}, names)
    assert source.class_names == ["clear", "haze", "road"]
    breeds = ["golden retriever", "labrador retriever", "pug", "great dane"]
    source = opened(tmp_path / "dogs", {"l.csv": table("id,breed", names, breeds * 7)}, names)
    assert source.class_names == sorted(breeds)


# What is not guessed


AMBIGUOUS = {
    "two tables": (
        {"a.csv": LABELS, "b.csv": table("image,label", NAMES, KINDS[::-1])},
        "a.csv, b.csv. Choose with --labels a.csv or --labels b.csv",
    ),
    "two columns": (
        {"a.csv": table("image,diagnosis,target", NAMES, KINDS, ["x", "y", "z"] * 4)},
        "choose --label-column 'diagnosis' or --label-column 'target'",
    ),
    "two labels": ({"a.csv": LABELS + b"img00.png,dog\n"}, "'cat' in line 2 and 'dog' in line 14"),
    "other names": ({"a.csv": LABELS.replace(b"img", b"x")}, "names the images, such as 'img00.png'"),
    "few images": ({"a.csv": table("image,label", NAMES[:3], KINDS[:3])}, "names 3 of 12 training images"),
    "no usual name": ({"a.csv": table("image,age,height", NAMES, range(12), range(12))}, "'age', 'height'"),
    "a comma": ({"a.csv": LABELS + b"img00.png,a, b\n"}, "line 14 of a.csv has 3 cells"),
    "a sheet": ({"a.xlsx": b"PK"}, "save it as CSV"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_named_and_not_read(tmp_path: Path, case: str) -> None:
    files, line = AMBIGUOUS[case]
    source = opened(tmp_path, files)
    assert source.class_names == []
    assert line in said(source)


def test_columns_that_say_the_same_are_not_ambiguous(tmp_path: Path) -> None:
    numbers = [number % 2 for number in range(12)]
    source = opened(tmp_path, {"a.csv": table("image,label,class_name", NAMES, numbers, KINDS)})
    assert source.class_names == ["cat", "dog"]  # words rather than numbers


def test_folders_that_are_classes_win_over_a_table_unless_it_is_named(tmp_path: Path) -> None:
    content = table("file,label,patient", NAMES, ["x", "y", "z"] * 4, [number // 4 for number in range(12)])
    names = [f"{kind}/{name}" for kind, name in zip(KINDS, NAMES, strict=True)]
    source = opened(tmp_path, {"meta.csv": content}, names)
    assert source.class_names == ["cat", "dog"]
    assert "--labels meta.csv" in said(source) and "--group-column 'patient'" in said(source)
    assert find(Reading(source=str(tmp_path), label_file="meta.csv")).class_names == ["x", "y", "z"]
    only_groups = find(Reading(source=str(tmp_path), group_column="patient"))
    assert only_groups.class_names == ["cat", "dog"]
    assert {item.group for item in only_groups.items()} == {"0", "1", "2"}


def test_none_leaves_tables_unread(tmp_path: Path) -> None:
    source = opened(tmp_path, {"labels.csv": LABELS}, label_file="none")
    assert source.class_names == [] and not source.remarks
    with pytest.raises(ConfigError, match="contradict each other"):
        find(Reading(source=str(tmp_path), label_file="none", label_column="label"))


@pytest.mark.parametrize(
    "values", [[f"{number}.37" for number in range(60)], [f"a dog, no. {number}" for number in range(60)]]
)
def test_a_column_of_numbers_or_free_text_is_no_column_of_labels(tmp_path: Path, values: list[str]) -> None:
    names = [f"{number:03}.png" for number in range(60)]
    rows = table("image;label", names, values, mark=";")
    with pytest.raises(
        DataError, match=r"60 different values for 60 images.*choose another column with --label-column"
    ):
        opened(tmp_path, {"a.csv": rows}, names, label_file="a.csv")


def test_a_column_that_does_not_exist_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column 'lable'.*Did you mean 'label'"):
        opened(tmp_path, {"a.csv": LABELS}, label_file="a.csv", label_column="lable")
    with pytest.raises(DataError, match="need one table"):
        opened(tmp_path / "in", {}, label_column="label")
    with pytest.raises(DataError, match=r"cannot read other\.csv .*a\.csv"):
        find(Reading(source=str(tmp_path), label_file="other.csv"))


def test_rows_and_images_without_a_partner_are_counted(tmp_path: Path) -> None:
    content = table("image,label", [*NAMES[:8], "gone.png"], [*KINDS[:8], "cat"])
    source = opened(tmp_path, {"a.csv": content})
    assert "1 of 9 rows name no image" in said(source) and "4 of 12 images have no row" in said(source)
    assert "4 training images have no label, so training with labels is off" in said(source)


def test_a_few_images_without_a_label_are_left_out(tmp_path: Path) -> None:
    names = [f"{number:03}.png" for number in range(40)]
    content = table("image,label", names[1:], (KINDS * 4)[1:40])
    opened(tmp_path / "in", {"a.csv": content}, names)
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert skipped(dataset) == {"000.png": "has no label in a.csv"}
    assert dataset.labelled


def test_a_class_that_only_test_images_have_is_not_a_class(tmp_path: Path) -> None:
    content = table("image,label,split", NAMES, [*KINDS[:11], "owl"], ["train"] * 10 + ["test"] * 2)
    source = opened(tmp_path, {"a.csv": content})
    assert source.class_names == ["cat", "dog"] and found(source)[NAMES[11]] is None
    assert "owl" in said(source)


def test_numbers_keep_their_names(tmp_path: Path) -> None:
    source = opened(tmp_path, {"a.csv": table("image,grade", NAMES, ["1.0", "10", "2"] * 4)})
    assert source.class_names == ["1", "2", "10"]


# Hostile files


HOSTILE = {
    "nul": b"image,label\n\0\0,a\n",
    "long": b"image,label\n" + b"x" * (MAX_LINE + 10),
    "wide": b"image" + b",a" * 10_000,
    "quote": b'image,label\n"' + b"y\n" * 100_000,
    "empty": b"",
    "blank": b"\n\n,,\n",
    "half of UTF-16": b"\xff\xfea",
    "twice": b"image,label,label\n",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_table_is_refused_with_a_line(tmp_path: Path, case: str) -> None:
    source = opened(tmp_path, {"a.csv": HOSTILE[case]})
    assert source.class_names == [] and "a.csv" in said(source)
    with pytest.raises(DataError, match=r"a\.csv"):
        find(Reading(source=str(tmp_path), label_file="a.csv"))


def test_a_line_is_read_up_to_a_limit() -> None:
    with pytest.raises(DataError, match=r"line 2 of a\.csv is longer than"):
        list(open_rows("a.csv", b"image,label\n" + b"a," * MAX_LINE))


@pytest.mark.parametrize("line", [b"[" * 50_000, b"[1]", b'{"a": ', b"1", b'{"image": ' + b"9" * 5000 + b"}"])
def test_hostile_json_lines_are_refused(line: bytes) -> None:
    with pytest.raises(DataError, match=r"line 1 of a.jsonl"):
        list(open_rows("a.jsonl", line))


def test_text_that_is_not_unicode_does_not_reach_the_dataset(tmp_path: Path) -> None:
    rows = "\n".join(json.dumps({"image": name, "label": "\ud800"}) for name in NAMES)
    opened(tmp_path / "in", {"a.jsonl": rows.encode()})
    assert prepared(tmp_path / "in", tmp_path / "out").class_names == ["?"]


def test_the_plan_of_a_training_says_how_the_table_was_read(tmp_path: Path) -> None:
    opened(tmp_path, {"a.csv": LABELS})
    assert "labels       from a.csv: images by 'file_name'" in str(ganloom.plan(tmp_path, size=16, device="cpu"))


def test_a_relative_path_of_a_table_holds_in_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path / "in", {"a.csv": LABELS})
    write(tmp_path / "b.csv", LABELS)
    monkeypatch.chdir(tmp_path)
    assert ganloom.plan("in", labels="b.csv", size=16, device="cpu").config.data.label_file == str(tmp_path / "b.csv")
    inside = str(tmp_path / "in" / "a.csv")
    assert ganloom.plan("in", labels="a.csv", size=16, device="cpu").config.data.label_file == inside


def test_one_table_is_found_by_a_name_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "in", {"lab.csv": LABELS})
    write(tmp_path / "lab.csv", table("file_name,label", NAMES, reversed(KINDS)))
    monkeypatch.chdir(tmp_path)
    config = placed(Config.build(recipe_values("digits"), {"data.source": "in", "data.label_file": "lab.csv"}))
    first = find(Reading(source="in", label_file="lab.csv"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert found(find(config.data)) == found(first) == dict(zip(NAMES, KINDS, strict=True))
    elsewhere = find(Reading(source=str(tmp_path / "in"), label_file="../lab.csv"))
    assert found(elsewhere) == dict(zip(NAMES, reversed(KINDS), strict=True))


@pytest.mark.parametrize("place", ["in", "."])
def test_ways_to_write_the_path_of_a_table_are_one_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    opened(tmp_path / "in", {})
    path = write(tmp_path / place / "lab.csv", LABELS)
    monkeypatch.chdir(path.parent)
    names = ("lab.csv", "./lab.csv", str(path))
    ways = {"\n".join(find(Reading(source=str(tmp_path / "in"), label_file=name)).fingerprint()) for name in names}
    assert len(ways) == 1
    write(path, LABELS + b"\n")
    assert "\n".join(find(Reading(source=str(tmp_path / "in"), label_file="lab.csv")).fingerprint()) not in ways
