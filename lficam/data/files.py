"""Images that stay on disk until they are looked at."""

import hashlib
import json
import os
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lficam.data.augmentation import CENTERED, TEST_CROP, evaluation_masks, kept_side
from lficam.data.decoding import UnreadableImageError, open_image, read_image, upright_size
from lficam.data.objects import read_object
from lficam.data.photograph import LONGEST, Photograph, photograph, pixels_of
from lficam.data.samples import ALONE, Part, Samples
from lficam.errors import InputError
from lficam.paths import atomic_file, lock, runs_dir
from lficam.progress import bars_can_be_drawn

CHECKED_AT_ONCE = 5000  # images; fewer are checked in seconds


def _processors() -> int:
    """Those this process may use, where the system says which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass(frozen=True)
class ImageFiles:
    """A `Split` whose images are decoded by worker processes each time they are needed.

    files: where the images are, in the order of the ids.
    workers: processes that decode; what they return does not depend on how many they are.
    objects: for each image its mask or its boxes (`objects.read_object`), or None; empty: of none.
    """

    ids: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Tensor
    workers: int = field(default_factory=_processors)
    objects: tuple[Path | None, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def objects_known(self) -> int:
        return len(self.objects) - self.objects.count(None)

    def masks(self, size: int, augmentation: str) -> Tensor | None:
        if not self.objects_known:
            return None
        shapes = torch.tensor([upright_size(file)[::-1] for file in self.files], dtype=torch.float32)
        return evaluation_masks(self._read_objects(kept_side(size, augmentation)), shapes, size, augmentation)

    def take(self, index: Sequence[int]) -> "ImageFiles":
        index = list(index)
        ids, files = tuple(self.ids[i] for i in index), tuple(self.files[i] for i in index)
        objects = tuple(self.objects[i] for i in index) if self.objects else ()
        return ImageFiles(ids, files, self.labels[index], self.workers, objects)

    def to(self, device: torch.device) -> "ImageFiles":
        """Itself: there is nothing to keep."""
        return self

    def decode(self, side: int) -> Samples:
        """All images in memory, each squashed to a square of `side` pixels. Raises InputError if one cannot be read."""
        images = torch.empty(len(self), 3, side, side, dtype=torch.uint8)
        shapes = torch.empty(len(self), 2)

        def decode(i: int, file: Path) -> None:
            pixels, shape = read_image(file, side)
            images[i] = torch.tensor(pixels).permute(2, 0, 1)
            shapes[i] = torch.tensor(shape)

        with ThreadPoolExecutor() as pool:
            list(pool.map(decode, range(len(self)), self.files))  # a list, so that an error is raised
        return Samples(self.ids, images, self.labels, shapes, self._read_objects(side) if self.objects_known else None)

    def check_objects(self, unreadable: Container[str] = ()) -> None:
        """Read every mask and box, but those of unreadable images (ids). Raises InputError for the first that is wrong."""
        triples = zip(self.ids, self.files, self.objects, strict=False)  # no objects: none to read
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda pair: read_object(*pair, 8), [(o, file) for id, file, o in triples if o and id not in unreadable]))

    def _read_objects(self, side: int) -> Tensor:
        """(N, 1, side, side) bool."""
        found = torch.zeros(len(self), 1, side, side, dtype=torch.bool)
        for i, (image, file) in enumerate(zip(self.files, self.objects, strict=True)):
            if file is not None:
                found[i, 0] = torch.tensor(read_object(file, image, side))
        return found

    def photograph(self, i: int, augmentation: str) -> Photograph:
        image = open_image(self.files[i], least=LONGEST)
        return photograph(pixels_of(image), (image.height, image.width), augmentation)

    def crops(self, size: int, augmentation: str, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        samples = [(i, 0) for i in range(len(self))]
        for images, _ in self._batches(samples, _test_transform(size, augmentation), batch_size, device):
            yield images

    def augmented(
        self, size: int, augmentation: str, batch_size: int, generator: torch.Generator, device: torch.device, part: Part = ALONE
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As for every split. Each sample has a seed of its own, so that the number of workers changes nothing."""
        order = torch.randperm(len(self), generator=generator)
        seeds = torch.randint(2**62, (len(self),), generator=generator)
        samples = list(zip(order.tolist(), seeds.tolist(), strict=True))
        yield from self._batches(samples, _train_transform(size, augmentation), batch_size, device, part)

    def _batches(
        self,
        samples: list[tuple[int, int]],
        transform: torch.nn.Module,
        batch_size: int,
        device: torch.device,
        part: Part = ALONE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        whole = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
        batches = [batch[part.at_least_one(len(batch))] for batch in whole]
        loader = torch.utils.data.DataLoader(
            _Crops(self.files, self.labels, transform),
            batch_sampler=batches,
            collate_fn=_batch,
            num_workers=min(self.workers, len(batches)) if len(batches) > 1 else 0,  # for one alone this process would wait
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # its own, else it draws from the global one
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            images, labels = batch
            yield images.to(device, non_blocking=True) / 255, labels.to(device, non_blocking=True)


class _Crops(torch.utils.data.Dataset):
    """(position, seed) -> crop (3, size, size) uint8 and label, by torchvision's transforms of the original image.

    An error is handed over as a value: raised in a worker it would be buried in a traceback, and the others left waiting.
    """

    def __init__(self, files: Sequence[Path], labels: Tensor, transform: torch.nn.Module):
        self.files, self.labels, self.transform = files, labels, transform

    def __getitem__(self, sample: tuple[int, int]) -> tuple[Tensor, Tensor] | InputError:
        position, seed = sample
        try:
            image = open_image(self.files[position])
        except InputError as error:
            return error
        with torch.random.fork_rng(devices=[]):  # torchvision's transforms draw from the global generator
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPU too
            return self.transform(image), self.labels[position]


def _batch(crops: Sequence[tuple[Tensor, Tensor] | InputError]) -> Sequence[Tensor] | InputError:
    """Images (n, 3, size, size) and labels (n,), or the first error."""
    errors = (crop for crop in crops if isinstance(crop, InputError))
    return next(errors, None) or torch.utils.data.default_collate(crops)


def _train_transform(size: int, augmentation: str) -> torch.nn.Module:
    """torchvision's transforms behind the names in `augmentation.AUGMENTATIONS`."""
    from torchvision.transforms import v2  # late: it costs a second

    steps = [v2.RandomResizedCrop(size) if augmentation == "resized-crop-flip" else v2.Resize((size, size))]
    if augmentation in ("crop", "crop-flip"):
        steps.append(v2.RandomCrop(size, padding=4))
    if augmentation.endswith("flip"):
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose([*steps, v2.PILToTensor()])


def _test_transform(size: int, augmentation: str) -> torch.nn.Module:
    from torchvision.transforms import v2  # late: it costs a second

    border = augmentation in CENTERED
    steps = [v2.Resize(round(size / TEST_CROP)), v2.CenterCrop(size)] if border else [v2.Resize((size, size))]
    return v2.Compose([*steps, v2.PILToTensor()])


def find_unreadable(images: ImageFiles) -> dict[str, str]:
    """The images that cannot be decoded, id -> why. Every image is tried once; the answer is kept in <runs>/.checked/."""
    files = zip(images.ids, map(Path.stat, images.files), strict=True)
    states = [f"{id} {state.st_size} {state.st_mtime_ns}\n" for id, state in files]
    digest = hashlib.sha256("".join(states).encode()).hexdigest()[:16]
    record = runs_dir() / ".checked" / f"{digest}.json"
    with lock(runs_dir(), f"checked-{digest}", busy="waiting for the process that checks the same images", wait=True):
        if not record.is_file():
            found = dict(zip(images.ids, _problems(images.files), strict=True))
            with atomic_file(record) as temporary:
                temporary.write_text(json.dumps({id: problem for id, problem in found.items() if problem}, indent=1))
    return json.loads(record.read_text())


def _problems(files: Sequence[Path]) -> list[str]:
    """For each file why it cannot be decoded, "" if it can."""
    from tqdm.auto import tqdm

    def problem(file: Path) -> str:
        try:
            open_image(file, least=32)  # the whole file is read, but not every pixel computed
        except UnreadableImageError as error:
            return error.why
        return ""

    if len(files) > CHECKED_AT_ONCE:
        print(f"checking {len(files)} images; this is done once", flush=True)
    found = []
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(files), unit="image", disable=len(files) <= CHECKED_AT_ONCE or not bars_can_be_drawn()) as bar,
    ):
        for start in range(0, len(files), CHECKED_AT_ONCE):  # all at once, a million waiting tasks would fill the memory
            chunk = files[start : start + CHECKED_AT_ONCE]
            found += pool.map(problem, chunk)
            bar.update(len(chunk))
    return found
