"""Records: spans, words and joins in every language."""

import pytest

from xstilts.mini.draw import draw_fact, draw_kinds, draw_other, generator, show_exactly
from xstilts.mini.facts import FACT_TYPES, Day
from xstilts.mini.languages import CODES
from xstilts.mini.record import split_words, write


def records(count=12, facts=4):
    for number in range(count):
        rng = generator("test", number)
        yield [show_exactly(rng, draw_fact(rng, kind, "train")) for kind in draw_kinds(rng, facts)]


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("facts", [1, 2, 3, 4])
def test_spans_are_exact(language, facts):
    for record in records(facts=facts):
        text = write(record, language)
        assert text.text == "".join(piece.text for piece in text.pieces)
        assert [text.text[a:b] for a, b in text.spans] == [shown.fact.text(shown.form, language) for shown in record]
        assert text.text == text.text.strip()


@pytest.mark.parametrize("language", CODES)
def test_words_cover_the_text(language):
    for record in records():
        text = write(record, language)
        words = text.words()
        assert "".join(word.text for word in words) == "".join(text.text.split())
        assert all(word.text and not any(char.isspace() for char in word.text) for word in words)
        assert [word.fact for word in words if word.fact is not None] == sorted(
            word.fact for word in words if word.fact is not None
        )
        assert {word.fact for word in words} - {None} == set(range(len(record)))


def test_split_words():
    assert split_words(" 5. März,") == ["5", ".", "März", ","]
    assert split_words("Kenia-Schilling") == ["Kenia-Schilling"]
    assert split_words("€") == ["€"]


def test_generators_are_named_not_shared():
    assert generator("a", 1).integers(10**9) == generator("a", 1).integers(10**9)
    assert generator("a", 1).integers(10**9) != generator("a", 2).integers(10**9)


@pytest.mark.parametrize("kind", FACT_TYPES, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("split", ["train", "test"])
def test_other_facts_say_something_else(kind, split):
    rng = generator("other", kind.kind)
    for form in kind.exact + kind.implied:
        for _ in range(30):
            fact = draw_fact(rng, kind, split)
            assert draw_other(rng, fact, form, split).meaning(form) != fact.meaning(form)


def test_weekdays_are_only_asked_of_texts_that_show_them():
    rng = generator("weekday")
    shown = [show_exactly(rng, draw_fact(rng, Day, "train"), so_that="weekday") for _ in range(50)]
    assert {each.form for each in shown} == {"full"}
