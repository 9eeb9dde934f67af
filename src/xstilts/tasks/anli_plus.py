"""ANLI+: SNLI, MNLI and the three rounds of ANLI as one NLI task; the paper's largest intermediate task.

The paper (Phang et al. 2020, arXiv 2005.13013) trains the five jointly, sampled in proportion to their sizes, with one
head (its released code). That is the same as shuffling all 1,104,934 labelled training rows together, as is done here.

Traps:
    * SNLI has pairs whose annotators did not agree, with label -1 (785 of its 550,152 training rows): dropped.
    * The order of the classes differs between copies; the files' own names are used, never their numbers.
    * Dev joins the dev sets of all five (SNLI, MNLI matched, ANLI R1-R3), so selection is mostly on SNLI and MNLI: the
      adversarial rounds are 3,200 of 22,857 rows. Test likewise: SNLI, MNLI mismatched, ANLI R1-R3.
    * ANLI was written to fool models trained on SNLI and MNLI, and its rounds share contexts: cluster = premise,
      whatever the corpus. SNLI's captions of one photo are not linked in this copy, so they stay apart.
    * Row names tell the corpus and the row number (``snli-0``), because only some copies carry ids.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Split, Task
from xstilts.tasks import mnli
from xstilts.tasks._readers import NLI_COLUMNS, NLI_LABELS, entailment

SNLI = "stanfordnlp/snli"
SNLI_REVISION = "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b"
ANLI = "facebook/anli"
ANLI_REVISION = "8e4813d81f46d313dac7892e1c28076917cfcdf9"
CORPUS = {SNLI: "snli", mnli.REPO: "mnli", ANLI: "anli"}
UNLABELLED = -1


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair with its label; none for a pair of SNLI's without one."""
    if part.repo == SNLI and row["label"] == UNLABELLED:
        return ()
    name = "-".join((CORPUS[part.repo], *part.hub_split.split("_")[1:], str(number)))
    return (entailment(row, part.language, name),)


def _rounds(split: Split, rows: tuple[int, int, int]) -> tuple[Part, ...]:
    named = enumerate(rows, 1)
    return tuple(Part(split, "en", ANLI, "plain_text", f"{split}_r{n}", ANLI_REVISION, count) for n, count in named)


TASK = Task(
    name="anli_plus",
    version=1,
    format="classification",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", SNLI, "plain_text", "train", SNLI_REVISION, rows=550_152),
            Part("dev", "en", SNLI, "plain_text", "validation", SNLI_REVISION, rows=10_000),
            Part("test", "en", SNLI, "plain_text", "test", SNLI_REVISION, rows=10_000),
            *mnli.DATA.parts,
            *_rounds("train", (16_946, 45_460, 100_459)),
            *_rounds("dev", (1_000, 1_000, 1_200)),
            *_rounds("test", (1_000, 1_000, 1_200)),
        ),
        columns=NLI_COLUMNS,
        read=read,
    ),
    labels=NLI_LABELS,
    overlaps={
        "mnli": "its dev holds the MNLI rows of this dev",
        "mnli_offline": "its train and dev are the MNLI rows of this dev",
    },
    cluster="premise",
    licence="SNLI CC BY-SA 4.0; MNLI OANC, CC BY 3.0 and CC BY-SA 3.0, by genre; ANLI CC BY-NC 4.0",
    citation=(
        "Bowman et al. 2015, arXiv 1508.05326 (SNLI); Williams et al. 2018, arXiv 1704.05426 (MNLI); "
        "Nie et al. 2020, Adversarial NLI, arXiv 1910.14599"
    ),
)
