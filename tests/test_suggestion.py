"""An unknown word is answered with the nearest known one."""

from gensynth.suggestion import did_you_mean


def test_one_wrong_letter_names_the_word_meant() -> None:
    assert did_you_mean("cycle", ["images", "cycles", "seed"]) == "did you mean 'cycles'?"


def test_case_does_not_hide_the_word_meant_and_its_spelling_is_kept() -> None:
    assert did_you_mean("resnet20", ["ResNet20", "vgg"]) == "did you mean 'ResNet20'?"


def test_a_word_near_nothing_gets_the_list() -> None:
    assert did_you_mean("flops", ["top1", "macs"]) == "known are top1, macs"
