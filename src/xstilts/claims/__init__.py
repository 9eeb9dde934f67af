"""Claims that are stated before the runs, and what becomes of them.

    analysis/claims.toml ─ load ─► claims ─┐
                  store ─ results ─────────┴ evaluate ─► judged hypotheses, with everything a report says of them

A claim is a sentence, two sides (systems, intermediates), the scores it speaks of, and hypotheses with effects that
were set in advance. ``verdicts`` holds the rules; ``registration`` tells whether the claims were there before the
results.
"""

from xstilts.claims.evaluation import evaluate
from xstilts.claims.judged import Best, Count, Judged, Part
from xstilts.claims.load import Claims, load_claims
from xstilts.claims.model import Claim, Hypothesis, Side
from xstilts.claims.registration import Registration, Status, registration
from xstilts.claims.verdicts import Reason, Verdict

__all__ = [
    "Best",
    "Claim",
    "Claims",
    "Count",
    "Hypothesis",
    "Judged",
    "Part",
    "Reason",
    "Registration",
    "Side",
    "Status",
    "Verdict",
    "evaluate",
    "load_claims",
    "registration",
]
