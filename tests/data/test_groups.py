"""Groups of images are found in names and in tables, kept together, and named where a split tears them apart."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from making import encoded, entries, noise, pictures, prepared, write

from ganloom.data.groups import find_pattern, hold_out_remarks
from ganloom.data.inspect import inspect
from ganloom.data.prepare import Preprocessing, Selection, prepare
from ganloom.data.selection import share_of
from ganloom.data.sources import find

RANDOM = Random(0)
GROUPED = {
    "chest": (
        [f"test/P/person{n // 2}_virus_{n}.jpeg" for n in range(60)] + [f"train/N/{n}.jpeg" for n in range(9)],
        30,
    ),
    "nih": ([f"images_{n // 20:03}/{n // 4:08}_{n % 4:03}.png" for n in range(80)], 20),
    "slices": ([f"patient-{n // 5:03}_slice{n % 5:04}.png" for n in range(60)], 12),
    "folders": ([f"train/patient{n // 3:05}/study1/view{n % 3}_frontal.jpg" for n in range(90)], 30),
    "frames": ([f"video{n // 30}_frame{n % 30:04}.jpg" for n in range(120)], 4),
    "two words": ([f"Patient {n // 10} image {n % 10}.png" for n in range(100)], 10),
    "copies": ([f"IMG_{n // 3}_jpg.rf.{RANDOM.getrandbits(128):032x}.jpg" for n in range(90)], 30),
    "tumours": ([f"SOB_B_A-14-{n // 10}CD-40-{n % 10:03}.png" for n in range(50)], 5),
}
NUMBERED = {
    "plain": [f"img{n:04}.png" for n in range(60)],
    "underscore": [f"img_{n:04}.png" for n in range(60)],
    "numbers": [f"{n}.png" for n in range(60)],
    "cats and dogs": [f"{kind}.{n}.jpg" for kind in ("cat", "dog") for n in range(60)],
    "isic": [f"ISIC_{24306 + n:07}.jpg" for n in range(60)],
    "synsets": [f"n0144{k}/n0144{k}_{n}.JPEG" for k in range(5) for n in range(40)],
    "dates": [f"IMG_202301{n % 28 + 1:02}_{n:06}.jpg" for n in range(100)],
    "digits": [f"{n % 10}_{n:05}.png" for n in range(300)],
    "brackets": [f"benign ({n}).png" for n in range(60)],
    "shards": [f"{n // 1000:05}/img{n:08}.png" for n in range(2000)],
    "scans": [f"scan_{n:04}.jpg" for n in range(60)],
    "few": [f"person{n // 2}_{n}.jpeg" for n in range(6)],
}


@pytest.mark.parametrize("case", GROUPED)
def test_groups_that_repeat_in_names_are_found(case: str) -> None:
    names, groups = GROUPED[case]
    pattern = find_pattern(names)
    assert pattern and pattern.groups == groups
    keys = [Selection(group_by=pattern.regex).group(name, None) for name in names]
    assert len(set(keys) - {None}) == groups  # the proposed setting finds the same groups


@pytest.mark.parametrize("case", NUMBERED)
def test_names_that_are_merely_numbered_have_no_groups(case: str) -> None:
    assert find_pattern(NUMBERED[case]) is None


def test_a_pattern_in_names_is_proposed_with_the_setting(tmp_path: Path) -> None:
    pictures(tmp_path / "in", *(f"patient-{n // 5}_slice{n % 5}.png" for n in range(20)))
    line = "--group-by 'patient-\\d+' (data.group_by='patient-\\d+')"
    assert any(line in text for _, text in inspect(find(str(tmp_path / "in"))).remarks)
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=Selection())
    assert any(line in text for _, text in dataset.description.remarks)
    chosen = prepared(tmp_path / "in", tmp_path / "chosen", selection=Selection(0.5, r"patient-\d+"))
    assert not any(line in text for _, text in chosen.description.remarks)


def test_groups_on_both_sides_of_a_split_are_named(tmp_path: Path) -> None:
    names = [f"train/person{n // 2}_{n}.png" for n in range(20)] + ["test/person3_a.png", "test/person99_a.png"]
    found = inspect(find(str(pictures(tmp_path, *names))))
    assert found.overlap == ["person3: 1 in test, 2 in train"]
    assert any("1 group (" in text or ("1 group in" in text and "person3" in text) for _, text in found.remarks)


def test_groups_of_a_table_on_both_sides_of_a_split_are_named(tmp_path: Path) -> None:
    rows = ["image,patient_id,split", *(f"{n}.png,p{n % 7},{'test' if n > 10 else 'train'}" for n in range(14))]
    pictures(tmp_path / "in", *(f"{n}.png" for n in range(14)))
    write(tmp_path / "in" / "a.csv", "\n".join(rows).encode())
    assert len(inspect(find(str(tmp_path / "in"))).overlap) == 3
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert any("3 groups" in text for _, text in dataset.description.remarks)
    assert inspect(find(str(tmp_path / "out"))).overlap  # the packed dataset still knows the groups


def test_a_group_of_a_table_stays_on_one_side_of_the_hold_out(tmp_path: Path) -> None:
    rows = ["image,subject", *(f"{n}.png,s{n // 3}" for n in range(60))]
    pictures(tmp_path / "in", *(f"{n}.png" for n in range(60)))
    write(tmp_path / "in" / "a.csv", "\n".join(rows).encode())
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=Selection(holdout=0.3))
    sides: dict[str, set[str]] = {}
    for entry in entries(dataset):
        sides.setdefault(entry["group"], set()).add(entry["split"])
    assert len(sides) == 20 and all(len(each) == 1 for each in sides.values())
    assert set.union(*sides.values()) == {"train", "val"}


def test_a_hold_out_of_nothing_is_said_with_a_share_that_holds_something_out(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / "in" / f"patient-{number // 5:03}_slice{number}.png", encoded(noise(4, 5, 1, number)))
    grouped = Selection(holdout=0.05, group_by=r"patient-\d+")
    lowest = min(share_of(f"patient-{number:03}") for number in range(12))
    assert lowest > 0.05
    dataset = prepared(tmp_path / "in", tmp_path / "out", selection=grouped)
    (line,) = [text for topic, text in dataset.description.remarks if topic == "hold-out"]
    assert "no image is held out" in line and "12 groups" in line
    setting = line.partition("data.holdout=")[2].partition("%")[0]
    again = Selection(holdout=int(setting) / 100, group_by=r"patient-\d+")
    assert prepared(tmp_path / "in", tmp_path / "again", selection=again).count("val") == 5


def test_few_images_of_which_none_is_held_out_are_said(tmp_path: Path) -> None:
    source = find(str(pictures(tmp_path / "in", "a.png", "b.png", "c.png")))
    remarks = prepare(source, Preprocessing(), Selection(0.0001), tmp_path / "out").description.remarks
    assert ["no image is held out" in text for _, text in remarks] == [True]
    remarks = prepare(source, Preprocessing(), Selection(0), tmp_path / "all").description.remarks
    assert not remarks  # nothing was to be held out


def test_large_groups_that_make_the_hold_out_much_larger_are_said() -> None:
    shares = [0.01] * 40 + [0.03] * 10 + [0.5] * 50
    (remark,) = hold_out_remarks(shares, 0.05, grouped=True)
    assert "50% of the images instead of 5%" in remark.text
    assert "(--holdout 2%) holds out 40%" in remark.text
    assert not hold_out_remarks(np.linspace(0, 0.999, 100).tolist(), 0.05, grouped=True)
    (remark,) = hold_out_remarks([0.4] * 9, 0.05, grouped=True)
    assert "all images are of one group" in remark.text


def test_a_class_whose_images_are_all_held_out_is_said(tmp_path: Path) -> None:
    names = [f"{kind}/{n}.png" for kind in ("cat", "dog") for n in range(4)]
    selection = Selection(holdout=0.5, group_by="cat|dog")
    assert share_of("cat") > 0.5 > share_of("dog") or share_of("dog") > 0.5 > share_of("cat")
    dataset = prepared(pictures(tmp_path / "in", *names), tmp_path / "out", selection=selection)
    assert any("no training image is left of" in text for _, text in dataset.description.remarks)
