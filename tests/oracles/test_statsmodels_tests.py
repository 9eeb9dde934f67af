import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from xstilts.significance.equivalence import equivalence, independent_samples, paired_samples
from xstilts.significance.multiplicity import benjamini_hochberg, holm
from xstilts.significance.sign_flip import mcnemar


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_p_values(ours, theirs):
    rng = np.random.default_rng(0)
    for count in rng.integers(1, 60, 100):
        p = rng.random(count) ** 3
        assert ours(p) == pytest.approx(multipletests(p, method=theirs)[1])


def test_equivalence():
    rng = np.random.default_rng(1)
    for count in rng.integers(3, 12, 100):
        candidate, reference = rng.normal(0, 1, (2, count))
        margin = rng.uniform(0.1, 2)
        paired = equivalence(*paired_samples(candidate, reference), margin)
        assert paired.p == pytest.approx(ttost_paired(candidate, reference, -margin, margin)[0])
        independent = equivalence(*independent_samples(candidate, reference), margin)
        assert independent.p == pytest.approx(ttost_ind(candidate, reference, -margin, margin)[0])


def test_mcnemar():
    rng = np.random.default_rng(2)
    for better, worse in rng.integers(1, 300, (100, 2)):
        table, ours = [[500, worse], [better, 400]], mcnemar(int(better), int(worse))
        assert ours.p == pytest.approx(their_mcnemar(table, exact=True).pvalue)
        corrected, plain = (their_mcnemar(table, exact=False, correction=each) for each in (True, False))
        if better != worse:  # where they are equal, the correction of statsmodels overshoots zero
            assert (ours.chi2, ours.p_chi2) == pytest.approx((corrected.statistic, corrected.pvalue))
        assert ours.p_uncorrected == pytest.approx(plain.pvalue)
