"""Loading labelled data sets: every layout, and mistakes named by file and line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.model.classes import CODES
from mernet.model.errors import DataSetError, NoClassListError
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.loading import load_data_set

MARS_BENCH_IDS = [
    "rah",
    "cla",
    "dur",
    "soi",
    "roc",
    "clr",
    "rab",
    "div",
    "rod",
    "bso",
    "flr",
    "art",
    "pct",
    "arh",
    "rrf",
    "sph",
    "ohw",
    "ast",
    "nbs",
    "rmi",
    "rtr",
    "sky",
    "rpa",
    "rlf",
    "sot",
]
ONE_HOT_OF_ROD_AND_SKY = ["1" if code in ("rod", "sky") else "0" for code in CODES]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def draw_pictures(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(path.name)).save(path)


def shown(data: DataSet) -> dict[str, set[str]]:
    """For each image the codes of its classes."""
    return {
        name: {code for code, is_shown in zip(data.classes, row, strict=True) if is_shown}
        for name, row in zip(data.names, data.labels, strict=True)
    }


def problems_of(path: Path) -> str:
    with pytest.raises(DataSetError) as caught:
        load_data_set(path)
    return str(caught.value)


def test_mars_bench_ids_become_mernet_codes_in_chain_order(tmp_path: Path):
    mapping = {str(number): [code, f"The {code}"] for number, code in enumerate(MARS_BENCH_IDS)}
    write(tmp_path / "mapping.json", json.dumps(mapping))
    write(
        tmp_path / "annotation.csv",
        "file_id,label,feature_name,split\n"
        "a.jpg,\"[0, 21]\",\"['RAT hole', 'Sky']\",train\n"
        'b.jpg,"[8]",Rover deck,val\n'
        "c.jpg,[],,test\n",
    )
    draw_pictures(
        *(tmp_path / "data" / name for name in ("train/a.jpg", "val/b.jpg", "test/c.jpg"))
    )
    data = load_data_set(tmp_path)
    assert data.classes == CODES
    assert shown(data) == {"a.jpg": {"rah", "sky"}, "b.jpg": {"rod"}, "c.jpg": set()}
    assert data.parts == (Part.TRAIN, Part.VALIDATION, Part.TEST)
    assert data.paths[0] == tmp_path / "data" / "train" / "a.jpg"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "filename,sky,rod,cla\na.jpg,1,1,0\n"),
        ("labels.csv", "Image;Rover deck;SKY\na.jpg;1.0;True\n"),
        ("labels.csv", "product_id,rod,sky,rod_share,sky_share,volunteers\na,1,1,1,1,1\n"),
        ("labels.csv", "sol,file,labels\n12,a.jpg,rod sky\n"),
        ("any.tsv", "file\tclasses\na.jpg\tRover deck, Sky\n"),
        ("labels.csv", "file,label\na.jpg,\"['sky', 'rod']\"\n"),
        ("labels.csv", "\ufefffile,label\na.jpg,rod|sky\n"),
        ("labels.txt", f"a.jpg {' '.join(ONE_HOT_OF_ROD_AND_SKY)}\n"),
        ("labels.csv", f"a.jpg,{','.join(ONE_HOT_OF_ROD_AND_SKY)}\n"),
        ("labels.txt", "a.jpg   rod sky\n"),
        ("labels.txt", "a.jpg rod,sky\n"),
        ("labels.csv", "a.jpg,sky,rod\n"),
    ],
)
def test_the_same_labels_are_read_from_each_layout(tmp_path: Path, name: str, text: str):
    write(tmp_path / name, text)
    draw_pictures(tmp_path / "a.jpg")
    data = load_data_set(tmp_path)
    assert data.classes == CODES
    assert shown(data) == {"a.jpg": {"rod", "sky"}}
    assert data.parts == (None,)


NUMBERS = [
    ("annotation.csv", 'file_id,label,split\na.jpg,"[0, 20]",train\n'),
    ("labels.csv", 'file,label\na.jpg,"[0, 20]"\n'),
    ("labels.csv", "file,label\na.jpg,0 sky\n"),
    ("some.txt", "a.jpg 0 20\n"),
    ("some.txt", "a.jpg [0, 20]\n"),
]


@pytest.mark.parametrize(("name", "text"), NUMBERS)
def test_class_numbers_without_a_list_of_classes_are_refused_with_both_remedies(
    tmp_path: Path, name: str, text: str
):
    write(tmp_path / name, text)
    draw_pictures(tmp_path / "a.jpg")
    with pytest.raises(NoClassListError, match=r"\(mapping\.json.*--class-order chain"):
        load_data_set(tmp_path)


@pytest.mark.parametrize(("name", "text"), NUMBERS)
def test_class_numbers_are_in_chain_order_if_that_is_said(tmp_path: Path, name: str, text: str):
    write(tmp_path / name, text)
    draw_pictures(tmp_path / "a.jpg")
    assert shown(load_data_set(tmp_path, "chain")) == {"a.jpg": {"rod", "sky"}}


def test_files_named_after_parts_contain_them_and_a_table_names_their_classes(tmp_path: Path):
    write(tmp_path / "classes.tsv", "0\twheel\n7\tapxs cal target\n")
    write(tmp_path / "train.txt", "a.jpg 7\nb.jpg 0\n")
    write(tmp_path / "val.txt", "c.jpg 7\n")
    draw_pictures(*(tmp_path / "images" / f"{name}.jpg" for name in "abc"))
    data = load_data_set(tmp_path)
    assert data.classes == ("wheel", "apxs_cal_target")
    assert data.class_names == ("wheel", "apxs cal target")
    assert shown(data) == {
        "a.jpg": {"apxs_cal_target"},
        "b.jpg": {"wheel"},
        "c.jpg": {data.classes[1]},
    }
    assert data.parts == (Part.TRAIN, Part.TRAIN, Part.VALIDATION)
    assert data.is_single_label


def test_files_of_parts_may_have_longer_names(tmp_path: Path):
    write(tmp_path / "train-calibrated-shuffled.txt", "a.jpg sky\n")
    write(tmp_path / "test-set-v2.1.txt", "b.jpg rod sky\n")
    draw_pictures(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert set(load_data_set(tmp_path).parts) == {Part.TRAIN, Part.TEST}


def test_one_number_an_image_without_a_list_of_classes_gives_classes_of_their_own(tmp_path: Path):
    write(tmp_path / "anything.txt", "a.jpg 30\nb.jpg 4\nc.jpg 30.0\n")
    draw_pictures(*(tmp_path / f"{name}.jpg" for name in "abc"))
    data = load_data_set(tmp_path)
    assert data.classes == ("4", "30")
    assert shown(data) == {"a.jpg": {"30"}, "b.jpg": {"4"}, "c.jpg": {"30"}}


def test_columns_of_zeros_and_ones_that_are_not_mernets_are_the_sets_own_classes(tmp_path: Path):
    write(
        tmp_path / "labels.csv", "file,sol,wheel,sun,split\na.jpg,7,1,1,train\nb.jpg,9,1,0,test\n"
    )
    draw_pictures(tmp_path / "a.jpg", tmp_path / "b.jpg")
    data = load_data_set(tmp_path)
    assert data.classes == ("wheel", "sun")
    assert data.labels.tolist() == [[True, True], [True, False]]
    assert data.parts == (Part.TRAIN, Part.TEST)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("2P1.JPG", "images/2p1.jpg"),
        ("2P1", "data/2p1.png"),
        ("2p1.img", "browse/sol1/2p1.img.jpg"),
        ("elsewhere/2p1.jpg", "2p1.jpg"),
    ],
)
def test_pictures_are_found_in_any_case_with_any_extension(tmp_path: Path, written, place):
    write(tmp_path / "labels.csv", f"file,label\n{written},sky\n")
    draw_pictures(tmp_path / place)
    assert load_data_set(tmp_path).paths == (tmp_path / place,)


def test_a_picture_in_a_usual_folder_is_preferred(tmp_path: Path):
    write(tmp_path / "labels.csv", "file,label\na.jpg,sky\n")
    draw_pictures(tmp_path / "thumbnails" / "a.jpg", tmp_path / "images" / "a.jpg")
    assert load_data_set(tmp_path).paths == (tmp_path / "images" / "a.jpg",)


def test_two_pictures_in_unusual_folders_leave_the_choice_open(tmp_path: Path):
    write(tmp_path / "labels.csv", "file,label\na.jpg,sky\n")
    draw_pictures(tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg")
    assert "keep one of them" in problems_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,label\na.jpg,sky\nlost.jpg,sky\n", ":3: no picture called 'lost.jpg'"),
        ("file,label\na.jpg,skye\n", ":2: 'skye' is not a class"),
        ("file,label\na.jpg,-1\n", ":2: '-1' is not a class"),
        ("file,sky,rod\na.jpg,1,-1\n", ":2: '-1' is not 0 or 1"),
        ("file,sky,sky\na.jpg,1,1\n", ":2: the list sky sky names a class twice"),
        ("file,label\na.jpg,wheels sky\n", ":2: 'wheels' is not a class"),
        ("file,label\na.jpg,sky Sky\n", ":2: the list sky Sky names a class twice"),
        ("file,label\na.jpg,[sky\n", ":2: '[sky' is not a list"),
        ("file,label\na.jpg,sky\nA.JPG,rod\n", ":3: 'A.JPG' has another path, part or labels in"),
        ("file,label,split\na.jpg,sky,holdout\n", ":2: 'holdout' is not a part"),
        ("file,sky,rod\na.jpg,1\n", ":2: 2 cells, 3 expected"),
        ("file,sky,rod\na.jpg,1,2\n", ":2: '2' is not 0 or 1"),
        ("file,sky,skye\na.jpg,1,0\n", ":1: the column 'skye' is not a class"),
        ("file,sol\na.jpg,12\n", ":1: no column contains classes"),
        ("a.jpg,1,0,1,0\n", ":1: 4 values, 25 expected"),
        ("a.jpg\n", ":1: no class follows the file name"),
        ('file,label\na.jpg,"sky" 1\n', ":2: "),
        ("file,label\n", ": lists no image"),
        ("", "is empty"),
        (",,\n", "is empty"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, text: str, expected: str):
    write(tmp_path / "labels.csv", text)
    draw_pictures(tmp_path / "a.jpg")
    message = problems_of(tmp_path)
    assert str(tmp_path / "labels.csv") in message
    assert expected in message


def test_the_first_five_problems_are_named_and_all_are_counted(tmp_path: Path):
    write(tmp_path / "labels.csv", "file,label\n" + "".join(f"{n}.jpg,sky\n" for n in range(8)))
    message = problems_of(tmp_path)
    assert message.count("no picture called") == 5
    assert "3 more, 8 in all" in message


def test_the_same_row_twice_is_one_image(tmp_path: Path):
    write(tmp_path / "labels.csv", "file,label\na.jpg,sky\na.jpg,sky\n")
    draw_pictures(tmp_path / "a.jpg")
    assert len(load_data_set(tmp_path)) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"a": ["rah"]}', '{"0": 3}', '{"0": []}'])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str):
    write(tmp_path / "mapping.json", text)
    write(tmp_path / "annotation.csv", "file_id,label\na.jpg,[0]\n")
    assert "mapping.json" in problems_of(tmp_path)


def test_a_folder_without_a_clear_label_file_is_refused(tmp_path: Path):
    assert "contains no possible label files (.csv, .tsv, .txt)" in problems_of(tmp_path)
    write(tmp_path / "one.csv", "a.jpg,sky\n")
    write(tmp_path / "two.csv", "a.jpg,rod\n")
    assert "give the label file itself" in problems_of(tmp_path)
    draw_pictures(tmp_path / "a.jpg")
    assert shown(load_data_set(tmp_path / "two.csv")) == {"a.jpg": {"rod"}}


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path):
    assert "does not exist" in problems_of(tmp_path / "nowhere")


@pytest.mark.real
def test_the_sister_data_set_loads_with_its_parts(real_files: Path):
    data = load_data_set(real_files / "msl")
    assert data.parts.count(Part.TRAIN) == 3746
    assert data.parts.count(Part.VALIDATION) == 1640
    assert len(data.classes) == 25
    assert data.is_single_label
    train = np.array([part is Part.TRAIN for part in data.parts])
    assert data.labels[train, data.classes.index("ground")].sum() == 2343
