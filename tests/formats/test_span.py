import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.batches import IGNORED, collate
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.formats.span import MAX_ANSWER
from xstilts.spec import Answers, Example, Passage

LONG = "the red dog runs to the blue house and " * 6 + "Mary went home"


def decode(task, examples, features, scores):
    form = load_format("span")
    best = [form.reduce(feature, score) for feature, score in zip(features, scores, strict=True)]
    return form.join(task, examples, features, best)


def example(context, answer=None, question="which ?", start=None):
    gold = Answers()
    if answer is not None:
        gold = Answers((answer,), (context.index(answer) if start is None else start,))
    return Example("7", "zh", "c", Passage(question, context), gold)


def perfect(features):
    """Scores that name the target of each window with certainty."""
    scores = []
    for feature in features:
        score = np.zeros((2, feature.length + 2), np.float32)
        score[[0, 1], feature.targets] = 10.0
        scores.append(score)
    return scores


ANSWERS = [
    ("the red dog runs to the blue house", "red dog"),
    ("the red dog runs to the blue house", "the"),
    ("the red dog runs to the blue house", "house"),
    ("北京大学 在 北京 市 海淀区 。", "北京大学"),
    ("北京大学 在 北京 市 海淀区 。", "海淀区"),
    ("สวัสดีครับ ประเทศไทย ภาษาไทย", "ประเทศไทย"),
    ("مرحبا بالعالم في ٢٠٢٠ وَلَد", "٢٠٢٠"),
    ("مرحبا بالعالم في ٢٠٢٠ وَلَد", "وَلَد"),
    ("हिन्दी में लिखा हुआ पाठ", "लिखा हुआ"),
    ("the cafe\u0301 in Zu\u0308rich", "cafe\u0301"),  # decomposed: the tokenizer composes them
    ("the cafe\u0301 in Zu\u0308rich", "Zu\u0308rich"),
    ("12 kg ½ …", "12 kg"),
    ("12 kg ½ …", "½"),
    ("a\u200b red dog", "red"),
]


@pytest.mark.parametrize(("context", "answer"), ANSWERS)
def test_answers_are_cut_from_the_context_exactly(toys, text, context, answer):
    """Words here are in the vocabulary or fall into characters, so no token covers more than the answer."""
    examples = [example(context, answer)]
    encoded = encode(toys.task("span"), examples, text())
    assert encoded.truncated == 0
    assert decode(toys.task("span"), examples, encoded.features, perfect(encoded.features)) == {0: answer}


scripts = st.text(st.sampled_from("ab é北京ไทยสวัดีَلمرن्दीe\u0301u\u0308½ﬁ\u200b ٢"), min_size=1, max_size=60)


@given(context=scripts, ends=st.tuples(st.integers(0, 59), st.integers(1, 12)))
@settings(deadline=None, max_examples=200)
def test_predicted_text_holds_every_visible_character_of_the_answer(text, toys, context, ends):
    """For any text in any script; tokens may reach beyond the answer, never fall short of it."""
    start = min(ends[0], len(context) - 1)
    answer = context[start : start + ends[1]]
    if not answer.strip():
        return
    examples = [example(context, answer, start=start)]
    encoded = encode(toys.task("span"), examples, text(60))
    found = decode(toys.task("span"), examples, encoded.features, perfect(encoded.features))[0]
    assert found in context
    visible = [char for char in answer if not char.isspace() and unicodedata.category(char)[0] not in "MC"]
    if encoded.truncated == 0 and visible:
        assert all(char in found for char in visible)


def test_anchors_cover_the_context_in_order_and_no_white_space(toys, text):
    context = "  the cafe\u0301  in 北京 ½ "
    (feature,) = encode(toys.task("span"), [example(context)], text()).features
    covered = [context[start:end] for _, start, end in feature.anchors]
    assert all(piece == piece.strip() and piece for piece in covered)
    assert (np.diff(feature.anchors[:, 1]) >= 0).all()
    assert {char for char in context if not char.isspace()} <= set("".join(covered))


@pytest.mark.parametrize(("max_length", "doc_stride"), [(24, 8), (24, 0 + 1), (32, 16), (16, 60), (60, 8)])
def test_windows_overlap_and_lose_nothing(toys, text, max_length, doc_stride):
    examples = [example(LONG, "Mary went home"), example("red dog")]
    encoded = encode(toys.task("span"), examples, text(max_length, doc_stride))
    windows = [feature for feature in encoded.features if feature.example == 0]
    assert len(windows) > 1 and all(feature.length <= max_length for feature in encoded.features)
    first = windows[0].anchors[:, 1].tolist()
    shared = len(set(first) & set(windows[1].anchors[:, 1].tolist()))
    room = max_length - 4 - (windows[0].length - 4 - len(first))
    assert shared == min(doc_stride, room // 2)
    starts = {start for window in windows for start in window.anchors[:, 1].tolist()}
    whole = encode(toys.task("span"), examples, text(64, 1)).features
    assert starts == {start for window in whole if window.example == 0 for start in window.anchors[:, 1].tolist()}
    held = [feature for feature in windows if feature.targets.any()]
    assert (
        held and decode(toys.task("span"), examples, encoded.features, perfect(encoded.features))[0] == "Mary went home"
    )


def test_an_answer_longer_than_a_window_is_counted(toys, text):
    encoded = encode(toys.task("span"), [example(LONG, LONG), example(LONG, "Mary")], text(24, 8))
    assert encoded.truncated == 1
    assert not any(feature.targets.any() for feature in encoded.features if feature.example == 0)


def test_a_long_question_is_cut_to_half_a_row_and_counted(toys, text):
    encoded = encode(toys.task("span"), [example("red dog", "dog", question="which " * 40)], text(24, 8))
    (feature,) = encoded.features
    assert encoded.truncated == 1 and feature.length <= 24 and feature.targets.all()


def test_no_answer_wins_only_if_it_wins_in_every_window(toys, text):
    task, examples = toys.task("span"), [example(LONG)]
    encoded = encode(task, examples, text(24, 8))
    assert all(feature.targets.tolist() == [0, 0] for feature in encoded.features)
    scores = perfect(encoded.features)
    assert decode(task, examples, encoded.features, scores) == {0: ""}
    position = encoded.features[1].anchors[2, 0]
    scores[1][:, 0] = 0.0
    scores[1][:, position] = 3.0
    start, end = encoded.features[1].anchors[2, 1:]
    assert decode(task, examples, encoded.features, scores) == {0: LONG[start:end]}


def test_a_task_without_unanswerable_questions_is_always_answered(toys, text):
    task, examples = replace(toys.task("span"), no_answer=False), [example(LONG)]
    encoded = encode(task, examples, text(24, 8))
    answer = decode(task, examples, encoded.features, perfect(encoded.features))[0]
    assert answer and answer in LONG


def test_the_best_span_is_the_best_valid_one(toys, text):
    """Against all pairs: start before end, not too long, never the question or a special token."""
    task, examples = toys.task("span"), [example(LONG)]
    (feature,) = encode(task, examples, text(64, 8)).features[:1]
    random = np.random.default_rng(0)
    for _ in range(20):
        score = random.normal(size=(2, feature.length)).astype(np.float32)
        score[:, 0] = -99
        score[:, 1] = 99  # the question
        places = feature.anchors.tolist()
        pairs = [(score[0, a[0]] + score[1, b[0]], a[1], b[2]) for i, a in enumerate(places)
                 for b in places[i : i + MAX_ANSWER]]  # fmt: skip
        _, start, end = max(pairs)
        assert decode(task, examples, [feature], [score]) == {0: LONG[start:end]}


def test_without_gold_there_are_no_targets(toys, text):
    unknown = Example("7", "zh", "c", Passage("which ?", "red dog"), None)
    assert encode(toys.task("span"), [unknown], text()).features[0].targets.tolist() == [IGNORED, IGNORED]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (example("red dog", "dog", start=2), "answer is not in the context at character 2; given 'dog'"),
        (example("red dog", " ", start=3), "answer is not in the context"),
        (example("red dog", question=" "), "empty question or context"),
        (example("  "), "empty question or context"),
        (Example("7", "zh", "c", Passage("which ?", "red"), "red"), "gold must be answers"),
    ],
)
def test_bad_examples_are_refused(toys, text, bad, message):
    with pytest.raises(XstiltsError, match=message):
        encode(toys.task("span"), [bad], text())


def test_padding_cannot_be_chosen(encoder_config, toys, text):
    head = load_format("span").head(toys.task("span"), encoder_config)
    examples = [example("red dog"), example("red dog runs to the house")]
    batch = collate(encode(toys.task("span"), examples, text()).features)
    scores = head(torch.randn(*batch.ids.shape, 32), batch)
    assert scores.shape == (2, 2, batch.ids.shape[1])
    assert torch.equal(torch.isinf(scores[:, 0]), batch.mask == 0)
