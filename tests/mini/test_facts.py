"""Every form of every fact exists in every language, says what it says, and does not depend on babel's load order."""

import hashlib
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from xstilts.mini.draw import is_held_out
from xstilts.mini.fact import FINE_TYPES, pieces_of
from xstilts.mini.facts import CURRENCIES, FACT_TYPES, UNITS, ZONES, Day, Money, Place, Quantity
from xstilts.mini.languages import CODES, LANGUAGES, SEEN, UNSEEN, shares

EVERY_VALUE = {
    Place: [Place(zone) for zone in ZONES],
    Quantity: [Quantity(amount, unit) for unit in UNITS for amount in (2, 12, 21, 60)],
    Money: [Money(amount, currency) for currency in CURRENCIES for amount in (61, 350)],
}


def facts_of(kind, count=24):
    rng = np.random.default_rng(5)
    return EVERY_VALUE.get(kind) or [kind.draw(rng) for _ in range(count)]


def digest(codes):
    lines = [
        fact.text(form, code)
        for code in sorted(codes)
        for kind in FACT_TYPES
        for fact in facts_of(kind)[:12]
        for form in kind.exact + kind.implied
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("kind", FACT_TYPES, ids=lambda kind: kind.kind)
def test_every_form_exists(kind, language):
    for fact in facts_of(kind):
        for form in kind.exact + kind.implied:
            text = fact.text(form, language)
            assert text and text == text.strip() and "  " not in text
            assert text == unicodedata.normalize("NFC", text)
            assert not any(unicodedata.category(char) in ("Cc", "Cf", "Co") for char in text)
            assert {piece.type for piece in fact.pieces(form, language)} <= set(FINE_TYPES) - {"JOIN"}
            if kind is Quantity:
                assert not any(unit in text for unit in UNITS)
            elif kind is not Day:
                assert not any(zone in text for zone in ZONES)


@pytest.mark.parametrize("language", CODES)
def test_exact_forms_tell_values_apart(language):
    """Different values look different; places do in all forms, since no country has two cities here."""
    for form in ("city", "country"):
        names = [Place(zone).text(form, language) for zone in ZONES]
        assert len(set(names)) == len(ZONES)
    assert len(set(ZONES.values())) == len(ZONES)
    for form in ("long", "short"):
        assert len({Quantity(12, unit).text(form, language) for unit in UNITS}) == len(UNITS)
    for form in ("name", "symbol", "currency"):
        assert len({Money(350, currency).text(form, language) for currency in CURRENCIES}) == len(CURRENCIES)


@pytest.mark.parametrize("language", CODES)
def test_numbers_are_written_in_western_digits_and_nothing_is_lost(language):
    assert re.findall(r"\d+", Quantity(37, "mass-kilogram").text("long", language)) == ["37"]
    assert re.findall(r"\d+", Money(350, "JPY").text("symbol", language)) == ["350"]
    assert re.findall(r"\d+", Money(350, "JPY").text("name", language)) == ["350"]


def test_rendering_does_not_depend_on_load_order():
    """babel shares resolved aliases between locales; a fresh process that loads them backwards must agree."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_facts as t\n"
        "for code in reversed(t.CODES): t.Day.draw(t.np.random.default_rng(1)).text('full', code)\n"
        "for code in reversed(t.CODES):\n"
        "    for form in t.Day.implied: t.Day.draw(t.np.random.default_rng(1)).text(form, code)\n"
        "print(t.digest(t.CODES))"
    )
    here = __file__.rpartition("/")[0]
    result = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest(CODES)


@pytest.mark.parametrize("kind", FACT_TYPES, ids=lambda kind: kind.kind)
def test_near_values_are_others_of_the_same_type(kind):
    rng = np.random.default_rng(3)
    for _ in range(200):
        fact = kind.draw(rng)
        other = fact.near(rng)
        assert type(other) is kind and other != fact
        assert fact.meaning(kind.exact[0]) != other.meaning(kind.exact[0])
        assert fact.key.startswith(kind.kind)


@pytest.mark.parametrize("kind", FACT_TYPES, ids=lambda kind: kind.kind)
def test_both_sides_of_the_split_have_values(kind):
    rng = np.random.default_rng(4)
    keys = {kind.draw(rng).key for _ in range(2000)}
    held = sum(map(is_held_out, keys)) / len(keys)
    assert 0.15 < held < 0.45


def test_pieces_are_cached_by_value():
    assert pieces_of(Place("Europe/Berlin"), "city", "ru") is pieces_of(Place("Europe/Berlin"), "city", "ru")


def test_languages():
    assert len(LANGUAGES) == 19 and len(set(CODES)) == 19
    assert UNSEEN == ("bg", "et", "af") and set(SEEN) | set(UNSEEN) == set(CODES)
    given = shares()
    assert sum(given.values()) == pytest.approx(1)
    assert given["en"] > given["tr"] > given["sw"] > given["bg"] == 0
