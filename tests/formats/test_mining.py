import numpy as np
import pytest

from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.metrics import load_metric
from xstilts.spec import Example, Sentence


def corpus(seed, pairs=8, alone=6, noise=0.1, language="de"):
    """Sentences of which some translate each other, and vectors that show it, more or less."""
    random = np.random.default_rng(seed)
    meaning = random.normal(size=(pairs + 2 * alone, 16))
    examples, vectors = [], []
    for side, role in enumerate(("query", "candidate")):
        for number in range(pairs + alone):
            place = number if number < pairs else number + side * alone
            gold = ((f"c{number}",) if number < pairs else ()) if role == "query" else None
            fields = Sentence(f"{role} {number}", role)
            examples.append(Example(f"{role[0]}{number}", language, str(place), fields, gold))
            vectors.append((meaning[place] + noise * random.normal(size=16))[None].astype("f"))
    return examples, vectors


def features_of(toys, text, examples):
    return encode(toys.task("mining"), examples, text()).features


def f1(examples, found):
    metric = load_metric("mining")
    rows = [metric.stats(examples[index].gold, pred, "de") for index, pred in found.items()]
    return metric.score([sum(column) for column in zip(*rows, strict=True)])


def run(toys, text, dev, test):
    """Calibrate on one corpus and predict another."""
    form, task = load_format("mining"), toys.task("mining")
    parts = []
    for examples, scores in (dev, test):
        features = features_of(toys, text, examples)
        vectors = np.stack([form.reduce(feature, score) for feature, score in zip(features, scores, strict=True)])
        parts.append((task, examples, features, vectors))
    return form.calibrate(*parts[0])(*parts[1])


def test_pairs_above_the_threshold_of_dev_are_predicted(toys, text, decode):
    dev, test = corpus(1, pairs=30, alone=30), corpus(2, pairs=30, alone=30)
    found = run(toys, text, dev, test)
    assert sorted(found) == [index for index, example in enumerate(test[0]) if example.fields.role == "query"]
    assert f1(test[0], found) > 90 and "" in found.values()
    uncalibrated = decode(toys.task("mining"), test[0], features_of(toys, text, test[0]), test[1])
    assert f1(test[0], uncalibrated) < f1(test[0], found)


def test_no_threshold_would_have_been_better_on_dev(toys, text):
    """Against every threshold there could be, on a corpus that is hard."""
    from xstilts.search import mine

    dev = corpus(3, noise=1.0)
    best = f1(dev[0], run(toys, text, dev, dev))
    sides = [np.concatenate(part) for part in (dev[1][:14], dev[1][14:])]
    pairs = mine(*sides)
    tried = []
    for threshold in [*pairs.scores, np.inf]:
        found = {index: "" for index in range(14)}
        for source, target, score in zip(*pairs, strict=True):
            if score >= threshold:
                found[int(source)] = f"c{target}"
        tried.append(f1(dev[0], found))
    assert best == max(tried) and len(set(tried)) > 5


def test_a_repeated_sentence_is_never_paired(toys, text):
    examples, vectors = corpus(4)
    twin = Example("q99", "de", "99", examples[0].fields, ())
    examples, vectors = [*examples, twin], [*vectors, vectors[0]]
    found = run(toys, text, (examples, vectors), (examples, vectors))
    assert found[0] == found[len(examples) - 1] == ""
    assert found[1] == "c1"


def test_each_language_has_its_own_threshold_and_none_is_made_up(toys, text):
    german, french = corpus(5), corpus(6, noise=1.5, language="fr")
    both = ([*german[0], *french[0]], [*german[1], *french[1]])
    together, alone = run(toys, text, both, both), run(toys, text, german, german)
    assert {index: together[index] for index in alone} == alone
    with pytest.raises(XstiltsError, match="no threshold was chosen for this language; given 'fr'"):
        run(toys, text, german, both)
    with pytest.raises(XstiltsError, match="language de: needs queries and candidates"):
        run(toys, text, (german[0][:14], german[1][:14]), german)


def test_where_nothing_is_right_nothing_is_predicted(toys, text):
    examples, vectors = corpus(7)
    wrong = [
        Example(e.item_id, e.language, e.cluster, e.fields, ("c77",) if e.gold is not None else None) for e in examples
    ]
    assert set(run(toys, text, (wrong, vectors), (examples, vectors)).values()) == {""}
