"""The vocabulary of the small backbone, trained on the miniature's own text.

As XLM-R's it is a unigram model (Kudo 2018, arXiv 1804.10959) with fairseq's special ids. Unlike XLM-R's it never joins
a number, a punctuation mark or a list word with its neighbours, so spans of facts are spans of tokens in every script.
"""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from xstilts.mini.languages import CODES, SEEN
from xstilts.mini.pairs import draw_language, draw_record, every_form
from xstilts.mini.record import write

VOCABULARY = 10_000  # pieces at most; the text yields fewer
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq order, ids 0-3; <mask> is the last id


def train_tokenizer(seed: int) -> Tokenizer:
    """A unigram tokenizer: numbers and punctuation are pieces of their own, ``▁`` marks the start of a word.

    sentencepiece learns the pieces and their scores; the ids are XLM-R's (``<s> <pad> </s> <unk>`` … ``<mask>``).
    """
    rng = np.random.default_rng(seed)
    records = [write(draw_record(rng), draw_language(rng)) for _ in range(60_000)]
    forms = [text for _ in range(15_000) for text in every_form(rng, SEEN)]
    alphabet = {char for _ in range(6_000) for text in every_form(rng, CODES) for char in text if char != " "}
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"▁?\d+"), "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    lines = [_parts(split, record.text, {edge for span in record.spans for edge in span}) for record in records]
    lines += [_parts(split, text, set()) for text in forms]
    pieces = _learn_pieces(lines, sorted(alphabet))
    tokenizer = Tokenizer(Unigram([*((special, 0.0) for special in SPECIALS), *pieces], unk_id=3))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens([*SPECIALS, "<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _parts(split: pre_tokenizers.PreTokenizer, text: str, edges: set[int]) -> list[str]:
    """A text cut where the tokenizer cuts, and also at the edges of its facts.

    The second cut is for learning only: it keeps pieces from growing across the end of a fact in scripts without spaces
    («升和»), and without such pieces the tokenizer never joins what belongs to different facts.
    """
    parts = []
    for part, (start, end) in split.pre_tokenize_str(text):
        marker = len(part) - (end - start)  # 1 where «▁» stands for no character of the text
        cuts = [0, *sorted(marker + edge - start for edge in edges if start < edge < end), len(part)]
        parts += [part[a:b] for a, b in pairwise(cuts)]
    return parts


def _learn_pieces(lines: list[list[str]], alphabet: list[str]) -> list[tuple[str, float]]:
    """Unigram pieces with log probabilities, learned within the given parts of the lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=("\t".join(part.replace("▁", " ") for part in line).strip() for line in lines),
        model_writer=written,
        model_type="unigram",
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars="".join(alphabet),
        normalization_rule_name="identity",
        pretokenization_delimiter="\t",
        split_by_unicode_script=False,
        num_threads=1,
        minloglevel=2,
    )
    learned = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    return [(learned.id_to_piece(i), learned.get_score(i)) for i in range(3, learned.get_piece_size())]
