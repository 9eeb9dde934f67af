"""The rows that a task is trained on: as published, or the user's translation of them."""

from __future__ import annotations

from xstilts.data.load import load_examples
from xstilts.data.sources import Sources
from xstilts.data.translation import load_translation
from xstilts.spec import Example, Task


def load_training(task: Task, translation: str | None, sources: Sources) -> tuple[Example, ...]:
    """Load the training rows of a task, in all languages that it declares for them.

    Args:
        task: the task.
        translation: language of the user's translation; None = the rows as published.
        sources: where data comes from.

    Raises:
        XstiltsError: see ``load_examples`` and ``load_translation``.
    """
    published = load_examples(task, "train", task.languages("train"), sources)
    return published if translation is None else load_translation(task, "train", translation, sources, published)
