"""The data sets by name: the embedded digits, the supplement's data sets, and anyone's own images."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lficam.data import digits, torchvision_sets
from lficam.data.augmentation import kept_side
from lficam.data.catdog import get_catdog
from lficam.data.files import ImageFiles, find_unreadable
from lficam.data.folders import (
    IMAGENETTE,
    Listing,
    fingerprint,
    imagenette_folder,
    list_catdog,
    list_folder,
    list_imagenette,
    load_listing,
)
from lficam.data.objects import FOLDERS, object_files, object_folders
from lficam.data.samples import Dataset
from lficam.errors import InputError, MissingDataError
from lficam.paths import data_dir

# Decoded images of both splits that are kept in memory, in bytes; what needs more is decoded anew in every epoch.
MEMORY_LIMIT = 8 * 2**30

# The release normalises CIFAR and STL10 with these. The deviations are those of single images, averaged.
RELEASE_MEAN, RELEASE_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class DatasetInfo(NamedTuple):
    """What is known about a data set before it is read.

    title: how pictures and tables name it.
    about, source, licence: for `lficam data`: what it is, how to get it, what one may do with it.
    image_size: side of the network's input in pixels, unless a config says otherwise.
    augmentation: one of `augmentation.AUGMENTATIONS`, unless a config says otherwise.
    fingerprint: folder -> what identifies the data in a run's id.
    load: folder -> Dataset, with images of their own size or not yet decoded.
    prepare: folder -> None, downloads it or unpacks the archives that lie there; None if there is nothing to do.
    fixed_size: whether the images exist at `image_size` only.
    listed: whether `load` lists files only, and so is quick.
    listing: of the image files, where they may be a part of what the title names (`title_of`).
    from_imagenet: whether its images were taken from ImageNet, so that networks with ImageNet weights may have seen them.
    """

    title: str
    about: str
    source: str
    licence: str
    image_size: int
    augmentation: str
    fingerprint: Callable[[Path], str]
    load: Callable[[Path], Dataset]
    prepare: Callable[[Path], None] | None = None
    fixed_size: bool = False
    listed: bool = False
    listing: Callable[[Path], Listing] | None = None
    from_imagenet: bool = False


def _embedded(name: str, stands_in_for: str) -> DatasetInfo:
    recipe = digits.RECIPES[name]
    return DatasetInfo(
        title=f"cluttered digits (stand-in for {stands_in_for})",
        about=f"{recipe.train} training and {recipe.test} test images of {recipe.size} pixels: one of {len(recipe.digits)} "
        "handwritten digits among fragments of others, with its mask",
        source="made from the digits that scikit-learn carries; always there",
        licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
        image_size=recipe.size,
        augmentation="none",  # the digits lie at random places already, and a mirrored one is none
        fingerprint=lambda folder: digits.fingerprint(name),
        load=lambda folder: digits.make_digits(name),
        fixed_size=True,
    )


def _arrays(
    name: str, title: str, about: str, size: str, image_size: int, augmentation: str, from_imagenet: bool = False
) -> DatasetInfo:
    return DatasetInfo(
        title=title,
        about=about,
        source=f"`lficam data {name} --download` ({size}); train/<class>/* and test/<class>/* work as well",
        licence="none stated by its authors; for research, cite them",
        image_size=image_size,
        augmentation=augmentation,
        fingerprint=_files_or(partial(fingerprint, list_folder), partial(torchvision_sets.arrays_fingerprint, name)),
        load=_files_or(partial(load_listing, name, list_folder), partial(torchvision_sets.load_arrays, name)),
        listing=list_folder,
        prepare=partial(torchvision_sets.download_arrays, name),
        from_imagenet=from_imagenet,
    )


def _files_or(of_files: Callable[[Path], Any], of_arrays: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """The arrays that torchvision reads are also passed on as image folders."""
    return lambda folder: (of_files if (folder / "train").is_dir() else of_arrays)(folder)


def _load_imagenette(folder: Path) -> Dataset:
    dataset = load_listing("imagenette", list_imagenette, imagenette_folder(folder))
    return replace(dataset, classes=tuple(IMAGENETTE[wnid] for wnid in dataset.classes))


DATASETS = {
    "digits-cifar100": _embedded("digits-cifar100", "CIFAR100"),
    "digits-stl10": _embedded("digits-stl10", "STL10"),
    "digits-imagenet": _embedded("digits-imagenet", "ImageNet"),
    "digits-catdog": _embedded("digits-catdog", "Cat&Dog"),
    "cifar10": _arrays(
        "cifar10",
        "CIFAR10",
        "60,000 photographs of 32 pixels, 10 classes, 10,000 of them test; for the published stability",
        "170 MB",
        32,
        "crop-flip",
    ),
    "cifar100": _arrays(
        "cifar100",
        "CIFAR100",
        "60,000 photographs of 32 pixels, 100 classes, 10,000 of them test; Figure 2",
        "169 MB",
        32,
        "crop-flip",
    ),
    "stl10": _arrays(
        "stl10",
        "STL10",
        "5,000 training and 8,000 test photographs of 96 pixels, 10 classes (the unlabelled ones are not used); Figures 3 and 5",
        "2.6 GB",
        224,
        "resized-crop-flip",
        from_imagenet=True,
    ),
    "imagenet": DatasetInfo(
        title="ImageNet",
        about="1,281,167 training and 50,000 validation photographs (these test), 1,000 classes; Figures 1 and 4",
        source="register at image-net.org, put ILSVRC2012_devkit_t12.tar.gz (2.6 MB), ILSVRC2012_img_train.tar (138 GB) and "
        "ILSVRC2012_img_val.tar (6.3 GB) into the folder, then `lficam data imagenet --download` unpacks them",
        licence="non-commercial research and education, see image-net.org",
        image_size=224,
        augmentation="resized-crop-flip",
        fingerprint=torchvision_sets.imagenet_fingerprint,
        load=torchvision_sets.load_imagenet,
        listed=True,
        prepare=torchvision_sets.unpack_imagenet,
        from_imagenet=True,
    ),
    "catdog": DatasetInfo(
        title="Cat&Dog",
        about="about 25,000 photographs of cats and dogs, a fifth of which test, chosen by name; Figure 6",
        source="`lficam data catdog --download` fetches Microsoft's kagglecatsanddogs_5340.zip (825 MB), or unpacks it or Kaggle's "
        "dogs-vs-cats.zip where one lies in the folder; train/cat/*.jpg, test/cat/*.jpg, train/dog/*.jpg, ... works as well",
        licence="see the archive",
        image_size=224,
        augmentation="resized-crop-flip",
        fingerprint=partial(fingerprint, list_catdog),
        load=partial(load_listing, "catdog", list_catdog),
        listed=True,
        listing=list_catdog,
        prepare=get_catdog,
    ),
    "imagenette": DatasetInfo(
        title="Imagenette, ten classes of ImageNet",
        about="9,469 training and 3,925 validation photographs (these test) of ten classes of ImageNet that are easy to tell apart",
        source="`lficam data imagenette --download` (340 MB); train/<wnid>/* and val/<wnid>/* work as well",
        licence="that of ImageNet: non-commercial research and education",
        image_size=224,
        augmentation="resized-crop-flip",
        fingerprint=partial(fingerprint, list_imagenette),
        load=_load_imagenette,
        listed=True,
        listing=list_imagenette,
        prepare=torchvision_sets.download_imagenette,
        from_imagenet=True,
    ),
    "folder": DatasetInfo(
        title="image folder",
        about="your own images of two or more classes",
        source="train/<class>/* and test/<class>/* (or val/<class>/*); or <class>/*, and a fifth of them test, chosen by name",
        licence="yours",
        image_size=224,
        augmentation="resized-crop-flip",
        fingerprint=partial(fingerprint, list_folder),
        load=partial(load_listing, "folder", list_folder),
        listed=True,
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """Raises InputError for a name that is not in `DATASETS`."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}, or one given to register_dataset")
    return DATASETS[name]


def title_of(name: str, folder: str | None = None, images: tuple[int, int] | None = None) -> str:
    """How pictures and tables name a data set; with how many images there are, where they may be a part of it.

    images: to train and to test, if that is known already; else they are counted where they lie.
    """
    info, root = dataset_info(name), data_folder(name, folder)
    if info.listing is None or not (images or (root / "train").is_dir()):
        return info.title
    if images is None:
        ids = info.listing(root)
        train = sum(id.startswith("train/") for id in ids)
        images = train, len(ids) - train
    return f"{info.title} ({images[0]:,} + {images[1]:,} photographs)"


def data_folder(name: str, folder: str | None = None) -> Path:
    """Where a data set is looked for: `folder`, or <data folder>/<name>."""
    return Path(folder).expanduser().absolute() if folder else data_dir() / name


def data_fingerprint(name: str, folder: str | None) -> str:
    """What identifies the data in a run's id; reads file names and sizes only.

    Raises MissingDataError, with how to get it, if it is not there, InputError if it cannot be used.
    """
    info = dataset_info(name)
    try:
        return info.fingerprint(data_folder(name, folder))
    except MissingDataError as error:
        raise MissingDataError(f"{error}. To get it: {info.source}") from None


def objects_fingerprint(name: str, folder: str | None) -> str | None:
    """What identifies the masks and boxes beside a data set's files, None without any: figures depend on them, no training does."""
    root = imagenette_folder(data_folder(name, folder))
    files = [file for beside in object_folders(root) for file in object_files(root / beside, FOLDERS[beside])]
    digest = hashlib.sha256()
    for file in files:  # their content: a box can be moved without another size
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest() if files else None


def sources_of(name: str, ids: Sequence[str]) -> list[str]:
    """What each image of a data set was made from: images of one source are not independent of each other.

    Several embedded images show the same handwritten digit; photographs are each their own source.
    """
    return [digits.source_of(id) for id in ids] if name in digits.RECIPES else list(ids)


def load_dataset(
    name: str,
    folder: str | None = None,
    *,
    image_size: int | None = None,
    augmentation: str | None = None,
    normalization: Literal["own", "release"] = "own",
    max_classes: int = 0,
    max_per_class: int = 0,
) -> Dataset:
    """A data set, in memory if it is not too large; the last few are kept, so that ten runs read one once.

    folder: where its files are; `<data folder>/<name>` when left out. The embedded digits need none.
    image_size: side of the network's input in pixels; the data set's own when left out.
    augmentation: that of the training, since random resized crops are cut from larger images; the data set's own when left out.
    normalization: "release" takes the mean and deviation that the authors' release uses for CIFAR and STL10.
    max_classes, max_per_class: keep a part only, see `Dataset.subset`.
    Images that cannot be decoded are left out, and listed in `unreadable`.
    Raises InputError if the data is missing, damaged, or nothing of a class is readable.
    """
    info = dataset_info(name)
    if info.fixed_size and image_size not in (None, info.image_size):
        raise InputError(f"{name} is made at {info.image_size} pixels, got image_size={image_size}: leave image_size out")
    side = kept_side(image_size or info.image_size, augmentation or info.augmentation)
    dataset = _load(name, data_folder(name, folder), side, max_classes, max_per_class, data_fingerprint(name, folder))
    return replace(dataset, mean=RELEASE_MEAN, std=RELEASE_STD) if normalization == "release" else dataset


def find_dataset(name: str, folder: str | None = None) -> Dataset:
    """As `load_dataset`, but image files are tried and listed, not kept in memory."""
    return _find(name, data_folder(name, folder), 0, 0)


@lru_cache(maxsize=2)
def _load(name: str, root: Path, side: int, max_classes: int, max_per_class: int, fingerprint: str) -> Dataset:
    dataset = _find(name, root, max_classes, max_per_class)
    too_large = 3 * side**2 * (len(dataset.train) + len(dataset.test)) > MEMORY_LIMIT
    if not isinstance(dataset.train, ImageFiles) or too_large:
        return dataset
    return replace(dataset, train=dataset.train.decode(side), test=dataset.test.decode(side))


def _find(name: str, root: Path, max_classes: int, max_per_class: int) -> Dataset:
    dataset = dataset_info(name).load(root)
    if max_classes or max_per_class:
        dataset = dataset.subset(max_classes, max_per_class)
    return _readable(dataset) if isinstance(dataset.train, ImageFiles) else dataset


def _readable(dataset: Dataset) -> Dataset:
    """Leave out, name and list what cannot be decoded. Raises InputError for a mask or a box that says nothing."""
    unreadable = find_unreadable(dataset.train) | find_unreadable(dataset.test)
    for images in (dataset.train, dataset.test):
        images.check_objects(unreadable)
    if not unreadable:
        return dataset
    total = len(dataset.train) + len(dataset.test)
    names = ", ".join(list(unreadable)[:5]) + (", ..." if len(unreadable) > 5 else "")
    print(f"{len(unreadable)} of {total} images of {dataset.name} cannot be read and are left out: {names}", flush=True)
    splits = {}
    for split in ("train", "test"):
        images = getattr(dataset, split)
        splits[split] = images.take([i for i, id in enumerate(images.ids) if id not in unreadable])
        if empty := set(range(len(dataset.classes))) - set(splits[split].labels.tolist()):
            raise InputError(f"no readable {split} image of class {dataset.classes[min(empty)]!r} in {dataset.name}: replace them")
    return replace(dataset, **splits, unreadable=tuple(unreadable.items()))
