"""Which images become stimuli: classes alike, and half of them hard."""

import numpy as np

from gensynth.probing import stimuli


def test_stimuli_are_balanced_and_half_of_them_hard() -> None:
    # 30 images a class of which the last ten have the smallest margins; 24 chosen are eight a
    # class: the four that stand first, and the four smallest margins.
    labels = np.repeat([0, 1, 2], 30)
    margin = np.tile(np.concatenate([np.arange(20) + 100, np.arange(10)[::-1]]), 3).astype(float)
    chosen = stimuli.choose(labels, margin, 24, seed=0)
    wanted = [*range(4), *range(26, 30)]
    assert sorted(chosen) == [30 * label + place for label in range(3) for place in wanted]
    assert sorted(chosen) != list(chosen)  # so that no part of them is one class


def test_classes_that_have_too_few_images_are_made_up_for_by_the_others() -> None:
    labels = np.array([0] * 20 + [1])
    chosen = stimuli.choose(labels, np.arange(21.0), 10, seed=0)
    assert len(set(chosen)) == 10
    assert 20 in chosen
