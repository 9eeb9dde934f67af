"""A miniature of XTREME-R that needs no network: sampled facts, written in 19 languages by Unicode CLDR.

The text comes from the ``babel`` package (CLDR data, Unicode licence), so spelling, inflection, word order and digits
are those of each language; the facts are sampled, so gold labels are exact. The miniature shows mechanics and gives
tests an exact ground truth. It says nothing about XLM-R on XTREME.

    languages.py   which languages, and their share of the pre-training text
    fact.py        what a fact is
    facts.py       the fact types: values, surface forms, what each form says; a new fact type is one class there
    record.py      a record = facts in chosen forms, written as one list, with the span and the words of every fact
    draw.py        seeding, held-out values, sampling of records
    nli.py paraphrase.py qa.py choice.py tagging.py retrieval.py    the generators that ``tasks/mini_*.py`` use
    task.py        what all tasks declare alike
    pairs.py tokenizer.py embeddings.py masking.py    what the small backbone is pre-trained on
    backbone/      a small XLM-R, pre-trained by ``experiments/pretrain_mini.py`` on this world only
"""
