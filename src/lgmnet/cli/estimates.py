"""Estimates of a classifier's accuracy, for the commands that make, change and inspect it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgmnet.cli.console import print_notice

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.cross_validation import LeaveOneOut
    from lgmnet.classifier.learning_curve import ExpectedAccuracy
    from lgmnet.model.model import Model


def estimate_accuracy(
    fitted: FittedClassifier, model: Model, embedded: Tensor | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Estimate the accuracy of a classifier now, and with twice as many images.

    Images that are in several classes are named on stderr.

    Args:
        fitted: The classifier, with its support samples.
        model: Model that fitted it.
        embedded: Result of `embed_support` for it, if known.

    Returns:
        The estimates for JSON, and as lines.
    """
    from lgmnet.classifier.learning_curve import estimate_accuracies

    estimate, more = estimate_accuracies(fitted, model, embedded=embedded)
    report_conflicts(fitted, estimate)
    data = {
        "leave_one_out": estimate.as_json(fitted.support.sources),
        "with_twice_the_images": more and more.as_json(),
    }
    return data, [*format_estimate(estimate), *format_expected(more, estimate.accuracy)]


def format_expected(more: ExpectedAccuracy | None, accuracy: float | None) -> list[str]:
    """Format the accuracy with twice as many images as one line; none if it is not known.

    Args:
        more: The accuracy with twice as many images.
        accuracy: That of now in percent, which is printed too; None if it is not known. Where all
            images were classified correctly, it is 100 %, and what is expected is less.
    """
    if more is None:
        return []
    low, high = more.interval
    expected = f"{more.accuracy:.0f} % of new images classified correctly"
    if accuracy is not None and round(more.accuracy) <= round(accuracy):
        expected = "about as accurate as now"
    return [
        f"Expected with twice as many images: {expected} (95 % interval {low:.0f} to {high:.0f} %)."
    ]


def format_estimate(estimate: LeaveOneOut) -> list[str]:
    """Format the leave-one-out estimate as lines."""
    lines = []
    if estimate.interval is None:
        lines.append("No estimate of the accuracy: it needs a class with two different images.")
    else:
        low, high = estimate.interval
        lines.append(
            f"Leave-one-out estimate: {estimate.n_correct} of {estimate.n_samples} images are "
            f"classified correctly ({estimate.accuracy:.0f} %; 95 % interval {low:.0f} to "
            f"{high:.0f} %)."
        )
        if estimate.n_single:
            lines.append(
                f"Images that are alone in their class could not be tested: {estimate.n_single}."
            )
    if estimate.n_copies:
        lines.append(f"Copies of other images, which count once: {estimate.n_copies}.")
    return lines


def report_conflicts(fitted: FittedClassifier, estimate: LeaveOneOut) -> None:
    """Print on stderr which images are in several classes."""
    support = fitted.support
    labels = support.labels.tolist()
    for group in estimate.conflicts:
        places = " and ".join(
            f"'{support.sources[i] or f'sample {i}'}' in '{fitted.classes[labels[i]]}'"
            for i in group
        )
        print_notice(f"warning: the same image is in {len(group)} classes: {places}.")
