"""An epoch is a function of (seed, number): the same images again, whoever asks."""

import numpy as np
import pytest
import torch

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.views import Views, normaliser


def dataset(count: int = 40, pad: int = 2, flip: bool = True, side: int = 6) -> Dataset:
    draws = np.random.default_rng(0)
    images = draws.integers(1, 256, (count, 2, side, side), dtype=np.uint8)
    split = Split("train", images, (np.arange(count) % 4).astype(np.int64))
    return Dataset(
        name="toy",
        classes=("a", "b", "c", "d"),
        train=split,
        search=split,
        test=split,
        mean=(0.25, 0.5),
        std=(0.5, 0.25),
        augmentation=Augmentation(pad=pad, flip=flip),
    )


def epoch(data: Dataset, seed: int, number: int, batch: int = 8) -> list[torch.Tensor]:
    return [b.images for b in Views(data, data.train, seed).epoch(number, batch)]


def test_the_same_seed_and_epoch_give_the_same_images() -> None:
    data = dataset()
    for one, other in zip(epoch(data, 3, 5), epoch(data, 3, 5), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("seed", "number"), [(4, 5), (3, 6)])
def test_another_seed_or_epoch_gives_other_images(seed: int, number: int) -> None:
    data = dataset()
    assert not torch.equal(torch.cat(epoch(data, 3, 5)), torch.cat(epoch(data, seed, number)))


def test_an_epoch_asked_for_alone_is_the_one_that_follows_others() -> None:
    # What resuming rests on: a training that stops after two epochs goes on with the third.
    data = dataset()
    views = Views(data, data.train, 0)
    through = [[b.images for b in views.epoch(number, 8)] for number in range(3)][2]
    for one, other in zip(through, epoch(data, 0, 2), strict=True):
        assert torch.equal(one, other)


def test_an_epoch_shows_each_image_once_with_its_label() -> None:
    data = dataset(pad=0, flip=False)
    views = Views(data, data.train, 0)
    read = normaliser(data)
    seen = []
    for batch in views.epoch(0, 8):
        for image, label in zip(batch.images, batch.targets, strict=True):
            places = [
                place
                for place, original in enumerate(data.train.images)
                if torch.equal(read(torch.from_numpy(original)[None])[0], image)
            ]
            assert len(places) == 1
            assert data.train.labels[places[0]] == label
            seen += places
    assert sorted(seen) == list(range(40))


def test_every_view_is_a_crop_of_the_padded_image_or_its_mirror() -> None:
    # Built by hand with numpy: pad with zeros, cut out, mirror; pixels are never 0 themselves.
    data = dataset(count=8, pad=2)
    padded = np.pad(data.train.images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    possible = set()
    for image in padded:
        for top in range(5):
            for left in range(5):
                crop = image[:, top : top + 6, left : left + 6]
                possible |= {crop.tobytes(), crop[:, :, ::-1].tobytes()}
    mean, std = np.array([0.25, 0.5]), np.array([0.5, 0.25])
    for number in range(20):
        (images,) = epoch(data, 1, number)
        pixels = images.numpy() * std[:, None, None] + mean[:, None, None]
        for view in np.rint(255 * pixels).astype(np.uint8):
            assert view.tobytes() in possible


def test_about_half_of_the_views_are_mirrored_and_every_offset_occurs() -> None:
    data = dataset(count=2000, pad=1, side=3)
    offsets: set[tuple[int, int]] = set()
    (images,) = epoch(data, 0, 0, batch=2000)
    pixels = np.rint(255 * (images.numpy() * [[[0.5]], [[0.25]]] + [[[0.25]], [[0.5]]]))
    black = pixels == 0  # only padding is
    for view in black.all(axis=1):
        rows, columns = view.all(axis=1), view.all(axis=0)
        offsets.add((int(rows[2]) - int(rows[0]), int(columns[2]) - int(columns[0])))
    assert len(offsets) == 9
    unmoved = ~black.any(axis=(1, 2, 3))
    assert unmoved.mean() == pytest.approx(1 / 9, abs=0.03)
    originals = {image.tobytes() for image in data.train.images}
    upright = [view.astype(np.uint8).tobytes() in originals for view in pixels[unmoved]]
    assert np.mean(upright) == pytest.approx(0.5, abs=0.15)


def test_a_limit_stops_after_that_many_batches_of_the_same_epoch() -> None:
    data = dataset()
    views = Views(data, data.train, 0)
    short = [b.images for b in views.epoch(1, 8, limit=2)]
    assert len(short) == 2
    for one, other in zip(short, epoch(data, 0, 1), strict=False):
        assert torch.equal(one, other)


def test_an_incomplete_last_batch_is_left_out_and_places_are_consecutive() -> None:
    data = dataset(count=40)
    places = [b.places for b in Views(data, data.train, 0).epoch(0, 12)]
    assert places == [slice(0, 12), slice(12, 24), slice(24, 36)]


def test_normalised_is_image_over_255_minus_mean_over_std() -> None:
    data = dataset()
    images = torch.full((1, 2, 6, 6), 51, dtype=torch.uint8)  # 0.2
    read = normaliser(data)(images)
    assert read[0, 0, 0, 0].item() == pytest.approx((0.2 - 0.25) / 0.5, abs=1e-6)
    assert read[0, 1, 0, 0].item() == pytest.approx((0.2 - 0.5) / 0.25, abs=1e-6)
    assert read.is_contiguous(memory_format=torch.channels_last)
