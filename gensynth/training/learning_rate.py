"""The learning rate that suits a network, found by a range test.

    rates     first, 0.3 first, 0.1 first, 0.03 first, ...
    trial     the network trained on a few images at one of them, and the loss that it ends at
    chosen    the largest that no smaller one beats clearly, for long trainings
    brief     the largest that no smaller one beats at all, for trainings as short as a trial
    below     what a longer training falls back to that is destroyed at it all the same

A rate that a network with norms thrives on destroys many a one without them within tens of steps,
which a short training shows (Smith, arXiv:1506.01186, raises the rate within one training; here
every trial is a training of its own, so that what is compared is where it ends). A trial is a
number of images, so a test gives the same rate however fast the machine is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FIRST = 0.1
"""Of networks that have learned something already; with norms nearly all bear it."""

LADDER = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Rates, as shares of the first."""

USUAL_TRIALS = 3
"""Of a search whose networks bear the first rate."""

LEAST_GAIN = 0.1
"""Share of the loss of guessing by which a smaller rate must be better for long trainings.

In thousands of steps a large rate makes up for what it has destroyed in the first tens.
"""

BRIEF_GAIN = 0.005
"""The same for short ones, which have to live with it: all trials see the same images."""

NEAR = 0.02
"""Share of the loss of guessing within which a whole training has ended at guessing."""


@dataclass(frozen=True)
class Trial:
    """One rate, tried.

    Attributes:
        rate: peak of the learning rate.
        loss: that the training ended at, with the targets; infinite if it is no number.
    """

    rate: float
    loss: float


@dataclass(frozen=True)
class RangeTest:
    """What the trials of one network have shown.

    Attributes:
        trials: from the largest rate downward.
        guess: loss of who guesses; None where the task does not know it.
    """

    trials: tuple[Trial, ...]
    guess: float | None

    @property
    def chosen(self) -> Trial:
        """The trial with the largest rate that no smaller one beats clearly."""
        return self.largest(LEAST_GAIN)

    @property
    def brief(self) -> Trial:
        """The trial whose rate suits a training that is as short as the trials."""
        return self.largest(BRIEF_GAIN)

    def largest(self, gain: float) -> Trial:
        """Return the trial with the largest rate that no smaller one beats by this share."""
        unit = self.guess or min((t.loss for t in self.trials), default=0.0)
        best = self.trials[0]
        for trial in self.trials[1:]:
            if not math.isfinite(best.loss) or trial.loss < best.loss - gain * unit:
                best = trial
        return best

    @property
    def learns(self) -> bool:
        """Whether the network ended below the loss of guessing at the chosen rate."""
        return is_learning(self.chosen.loss, self.guess)

    @property
    def has_learned(self) -> bool:
        """Whether it ended clearly below."""
        return is_learning(self.chosen.loss + LEAST_GAIN * (self.guess or 0.0), self.guess)

    def told(self) -> str:
        """Return one sentence for people."""
        tried = ", ".join(f"{trial.loss:.2f} at {trial.rate:g}" for trial in self.trials)
        against = "" if self.guess is None else f"; guessing loses {self.guess:.2f}"
        rate = f"learning rate {self.chosen.rate:g}"
        if self.brief != self.chosen:
            rate += f", {self.brief.rate:g} while the generator learns"
        return f"{rate}: short trainings end at a loss of {tried}{against}"

    def to_document(self) -> dict[str, Any]:
        """Return the test as JSON values; a loss that is no number is null."""
        return {
            "peak_lr": self.chosen.rate,
            "trials": [
                {"peak_lr": t.rate, "loss": t.loss if math.isfinite(t.loss) else None}
                for t in self.trials
            ],
            "guess": self.guess,
        }


def range_test(
    train: Callable[[float], float | None],
    first: float,
    guess: float | None,
    *,
    gain: float = LEAST_GAIN,
) -> RangeTest:
    """Try rates from the first downward until the next is no better.

    Where little is learned yet, all of them are tried.

    Args:
        train: trains a fresh copy of the network at a rate, and returns the loss that it ends at.
        first: the largest rate.
        guess: loss of who guesses; None where nobody knows.
        gain: share of it by which the next must be better.
    """
    trials: list[Trial] = []
    for share in LADDER:
        rate = float(f"{share * first:.3g}")
        loss = train(rate)
        trials.append(Trial(rate, math.inf if loss is None or not math.isfinite(loss) else loss))
        test = RangeTest(tuple(trials), guess)
        if test.has_learned and test.largest(gain) != trials[-1]:
            break
    return RangeTest(tuple(trials), guess)


def below(rate: float, first: float) -> tuple[float, ...]:
    """Return the rates of the ladder from the first that are smaller than one of them."""
    rates = (float(f"{share * first:.3g}") for share in LADDER)
    return tuple(smaller for smaller in rates if smaller < rate)


def is_learning(loss: float | None, guess: float | None) -> bool:
    """Return whether a training has ended at a number, and at a smaller one than guessing does.

    One whose loss nobody knows (None) gets the benefit of the doubt.
    """
    if loss is None:
        return True
    return math.isfinite(loss) and (guess is None or loss < guess)


def is_guessing(loss: float | None, guess: float | None) -> bool:
    """Return whether a training has ended as a destroyed network's: at no number or at guessing.

    A network that was cut a moment ago may lose more than that and be right more often; a destroyed
    one answers the same to every image, and loses hardly more.
    """
    if is_learning(loss, guess) or loss is None:
        return False
    return not math.isfinite(loss) or guess is None or loss <= (1 + LEAST_GAIN) * guess


def outcome(loss: float | None, guess: float | None) -> str:
    """Return how a training has ended, in words."""
    ended = "ends at no number" if loss is None else f"ends at a loss of {loss:.2f}"
    return ended if guess is None else f"{ended}, and guessing loses {guess:.2f}"
