"""Masks and boxes beside photographs: planted objects are found where they are, also after the crop; bad ones are named."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import write_image
from PIL import Image

from lficam.data.datasets import data_fingerprint, find_dataset, load_dataset, objects_fingerprint
from lficam.data.decoding import upright_size
from lficam.data.folders import list_folder, load_listing
from lficam.data.objects import read_object
from lficam.errors import InputError


def write_mask(file, rows, columns, size=(60, 40), mode="L", value=1):
    """The object is a rectangle; size: width and height."""
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[rows, columns] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("L")
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([0, 0, 0] * 256)  # its colours say nothing
    elif mode in ("LA", "RGB", "RGBA", "1"):
        image = image.point(lambda level: 255 * (level > 0)).convert(mode)
    image.save(file)


@pytest.fixture
def folder(tmp_path):
    """Images of 60 x 40 pixels: 2 + 2 to train, 2 + 2 to test."""
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            for i in range(2):
                write_image(tmp_path / split / kind / f"{i}.png", Image.new("RGB", (60, 40), (9, 9, 9)))
    return tmp_path


def whole(folder, name="folder"):
    """Listed, not decoded, and decoded."""
    listed = load_listing(name, list_folder, folder).test
    return listed, listed.decode(20)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1"])
def test_a_mask_is_where_it_was_planted_whatever_its_mode(mode, folder):
    write_mask(folder / "masks/test/cat/1.png", slice(0, 10), slice(30, 60), mode=mode)
    for split in whole(folder):
        assert split.objects_known == 1
        masks = split.masks(20, "none")
        assert (masks.shape, masks.dtype) == ((4, 1, 20, 20), torch.bool)
        expected = torch.zeros(20, 20, dtype=torch.bool)
        expected[:5, 10:] = True  # the upper quarter, the right half
        assert torch.equal(masks[split.ids.index("test/cat/1.png"), 0], expected)
        assert masks.flatten(1).any(1).sum() == 1


def test_boxes_are_filled_where_a_pixels_centre_is_inside(folder):
    (folder / "boxes/test/dog").mkdir(parents=True)
    (folder / "boxes/test/dog/0.txt").write_text("0 0 15 20\n\n45.0 30.0 60 40\n")
    for split in whole(folder):
        mask = split.masks(20, "none")[split.ids.index("test/dog/0.png"), 0]
        expected = torch.zeros(20, 20, dtype=torch.bool)
        expected[:10, :5] = expected[15:, 15:] = True
        assert torch.equal(mask, expected)


def test_a_mask_says_more_than_boxes(folder):
    write_mask(folder / "masks/test/cat/0.png", slice(0, 40), slice(0, 30))
    (folder / "boxes/test/cat").mkdir(parents=True)
    (folder / "boxes/test/cat/0.txt").write_text("30 0 60 40")
    _, split = whole(folder)
    assert split.masks(20, "none")[0, 0, :, :10].all()
    assert not split.masks(20, "none")[0, 0, :, 10:].any()


def test_the_crop_takes_the_object_along_and_may_leave_it_out(folder):
    """Of 60 x 40 pixels the test crop keeps a square of 35 in the middle: 12.5 to 47.5 across, 2.5 to 37.5 down."""
    write_mask(folder / "masks/test/cat/0.png", slice(0, 40), slice(30, 60))  # the right half
    write_mask(folder / "masks/test/cat/1.png", slice(0, 40), slice(0, 12))  # a strip at the left
    for split in (whole(folder)[0], load_dataset("folder", str(folder), image_size=20, augmentation="resized-crop-flip").test):
        assert split.objects_known == 2
        masks = split.masks(20, "resized-crop-flip")
        half = masks[split.ids.index("test/cat/0.png"), 0]
        assert half[:, 11:].all()
        assert not half[:, :9].any()
        assert not masks[split.ids.index("test/cat/1.png")].any()


def test_a_photograph_held_upright_has_its_mask_upright(folder):
    image = Image.new("RGB", (60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(folder / "test/cat/0.jpg", exif=exif)
    (folder / "test/cat/0.png").unlink()
    write_mask(folder / "masks/test/cat/0.png", slice(0, 30), slice(0, 40), size=(40, 60))
    split = whole(folder)[0]
    mask = split.masks(20, "none")[split.ids.index("test/cat/0.jpg"), 0]
    assert mask[:10].all()
    assert not mask[10:].any()


def test_taking_some_takes_their_objects(folder):
    write_mask(folder / "masks/test/dog/1.png", slice(0, 40), slice(0, 60))
    for split in whole(folder):
        some = split.take([3, 0])
        assert some.objects_known == 1
        assert some.masks(20, "none").flatten(1).all(1).tolist() == [True, False]
        none = split.take([0, 1])
        assert none.objects_known == 0


def test_without_any_there_are_no_masks(folder):
    for split in whole(folder):
        assert split.objects_known == 0
        assert split.masks(20, "none") is None


def test_images_without_a_split_have_theirs_beside_their_class(folder):
    (folder / "test").rename(folder / "other")
    for kind in ("cat", "dog"):
        for i in range(40):
            write_image(folder / "loose" / kind / f"{i}.png", Image.new("RGB", (60, 40)))
    root = folder / "loose"
    for kind in ("cat", "dog"):
        for i in range(40):
            write_mask(root / "masks" / kind / f"{i}.png", slice(0, 40), slice(0, 60))
    dataset = load_listing("folder", list_folder, root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.objects_known + dataset.test.objects_known == 80


@pytest.mark.parametrize("name", ["masks", "boxes"])
def test_a_class_of_that_name_is_one(name, folder):
    for kind in (name, "faces"):
        for i in range(40):
            write_image(folder / "loose" / kind / f"{i}.jpg")
    dataset = load_listing("folder", list_folder, folder / "loose")
    assert dataset.classes == tuple(sorted((name, "faces")))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("masks/test/cat/7.png", None, r"masks/test/cat/7\.png belongs to no image: expected one image at .*test/cat/7"),
        ("masks/test/cow/0.png", None, r"cow/0\.png belongs to no image, since there is no folder of images .*test/cow"),
        ("boxes/test/dog/9.txt", "0 0 1 1", r"boxes/test/dog/9\.txt belongs to no image"),
    ],
)
def test_an_object_without_an_image_is_named(file, content, said, folder):
    if content:
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text(content)
    else:
        write_mask(folder / file, slice(0, 1), slice(0, 1))
    with pytest.raises(InputError, match=said):
        load_listing("folder", list_folder, folder)


def test_an_object_of_two_images_is_named(folder):
    write_image(folder / "test/cat/0.jpg")
    write_mask(folder / "masks/test/cat/0.png", slice(0, 1), slice(0, 1))
    with pytest.raises(InputError, match=r"0\.png belongs to several images"):
        load_listing("folder", list_folder, folder)


@pytest.mark.parametrize("name", ["masks", "boxes"])
def test_a_folder_of_none_is_named(name, folder):
    (folder / name / "test" / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"{name} holds no \.\w+ file"):
        load_listing("folder", list_folder, folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10 10 10 30", "has a box '10 10 10 30': expected an area inside the image's 60 x 40 pixels"),
        ("0 0 61 40", "inside the image's 60 x 40"),
        ("-1 0 10 10", "inside"),
        ("0 0 nan 10", "inside"),
        ("0 0 10", "has a line '0 0 10': expected x0 y0 x1 y1"),
        ("a b c d", "expected x0 y0 x1 y1"),
        ("", "is empty: expected a box a line"),
    ],
)
def test_a_bad_box_is_one_line(line, said, folder):
    file = folder / "box.txt"
    file.write_text(f"{line}\n")
    with pytest.raises(InputError) as caught:
        read_object(file, folder / "test/cat/0.png", 20)
    assert str(caught.value).startswith(f"{file} ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_named(folder):
    write_mask(folder / "mask.png", slice(0, 1), slice(0, 1), size=(40, 60))
    with pytest.raises(InputError, match=r"mask\.png has 40 x 60 pixels, its image 60 x 40: expected a mask of the image's size"):
        read_object(folder / "mask.png", folder / "test/cat/0.png", 20)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_mask_is_named(content, folder):
    (folder / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match=r"mask\.png is no mask that can be read"):
        read_object(folder / "mask.png", folder / "test/cat/0.png", 20)


def test_masks_change_no_id_of_a_run(folder):
    before = data_fingerprint("folder", str(folder))
    write_mask(folder / "masks/test/cat/0.png", slice(0, 1), slice(0, 1))
    assert data_fingerprint("folder", str(folder)) == before


def test_hidden_files_are_none_of_ours(folder):
    write_mask(folder / "masks/test/cat/0.png", slice(0, 40), slice(0, 60))
    (folder / "masks/test/cat/._0.png").write_bytes(b"a resource fork")
    assert whole(folder)[0].objects_known == 1


def test_a_bad_mask_is_found_when_the_data_is_read_not_after_the_training(folder):
    write_mask(folder / "masks/train/cat/0.png", slice(0, 1), slice(0, 1), size=(5, 5))
    with pytest.raises(InputError, match=r"0\.png has 5 x 5 pixels, its image 60 x 40"):
        find_dataset("folder", str(folder))


@pytest.mark.parametrize("orientation", [1, 3, 9])
def test_an_image_that_is_not_turned_by_a_quarter_keeps_its_sides(orientation, folder):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(folder / "test/cat/0.jpg", exif=exif)
    assert upright_size(folder / "test/cat/0.jpg") == (60, 40)


def test_objects_do_not_change_when_labels_are_replaced(folder):
    write_mask(folder / "masks/test/cat/0.png", slice(0, 40), slice(0, 60))
    split = whole(folder)[1]
    assert replace(split, labels=split.labels + 1).objects_known == 1


def test_masks_that_come_or_change_are_seen_where_figures_depend_on_them(folder):
    seen = [objects_fingerprint("folder", str(folder))]
    write_mask(folder / "masks/test/cat/0.png", slice(0, 1), slice(0, 1))
    seen.append(objects_fingerprint("folder", str(folder)))
    write_mask(folder / "masks/test/cat/1.png", slice(0, 1), slice(0, 1))
    seen.append(objects_fingerprint("folder", str(folder)))
    content = bytearray((folder / "masks/test/cat/1.png").read_bytes())
    content[-1] ^= 1
    (folder / "masks/test/cat/1.png").write_bytes(content)  # of the same size
    seen.append(objects_fingerprint("folder", str(folder)))
    assert seen[0] is None
    assert len(set(seen)) == 4
    assert objects_fingerprint("digits-stl10", None) is None
