from xstilts.metrics.accuracy import METRIC


def test_labels_indices_and_item_ids():
    assert METRIC.stats("entailment", "entailment", "en") == (1.0, 1.0)
    assert METRIC.stats("entailment", "neutral", "en") == (0.0, 1.0)
    assert METRIC.stats(0, 0, "en") == (1.0, 1.0)
    assert METRIC.stats("q-17", "q-3", "en") == (0.0, 1.0)


def test_an_index_never_equals_its_text():
    assert METRIC.stats(1, "1", "en") == (0.0, 1.0)
