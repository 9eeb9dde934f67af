"""Many modules, finished or published, on one test set: predictions, scores with intervals, and what was computed how.

A study trains and compares ways of training; here single modules are measured as they are. Intervals speak of the very
modules (``significance.two_way.one_sample`` with one replicate), and of two of them not whether they differ.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xstilts.backbone import load_encoder, load_tokenizer, resolve
from xstilts.data import Sources, fingerprint, load_examples
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.evaluation.assembly import Candidate, Lengths, assemble
from xstilts.evaluation.heads import Chosen, check_labels, choose
from xstilts.evaluation.records import Evaluated, Evaluation, Request
from xstilts.metrics import load_metric
from xstilts.plan import declared_layer
from xstilts.spec import Backbone, Example, Recipe, Split, Task, unique
from xstilts.tasks import load_task

if TYPE_CHECKING:
    from xstilts.engine.many import Encoded

DEFAULT = Lengths(Recipe.model_fields["max_length"].default, Recipe.model_fields["doc_stride"].default)
SHORT = 8  # digits of a digest in a name
LONGEST = 80  # characters of a name


def evaluate(request: Request) -> Evaluation:
    """Evaluate modules, and write what came of it where the request names a directory.

    Raises:
        XstiltsError: bad input, before anything is computed: rows, modules, heads, labels, lengths, directory.
    """
    from xstilts.evaluation.written import write, writing

    with contextlib.nullcontext(None) if request.out is None else writing(request.out) as folder:
        found = _evaluate(request)
        if folder is not None:
            write(found, folder)
    return found


def _evaluate(request: Request) -> Evaluation:
    from xstilts.engine import inference, many
    from xstilts.engine.carrier import Setting, Whole
    from xstilts.engine.device import choose as choose_device
    from xstilts.engine.device import environment

    began = time.perf_counter()
    task = _task(request)
    check_labels(request.labels, task)
    device, precision = choose_device(request.device)
    backbone = resolve(request.backbone)
    examples = _examples(request, task, request.split)
    candidates, heads = _candidates(request, task, backbone)
    names = _names(candidates)
    lengths = _lengths(request, candidates, names, backbone)
    layer = _layer(request, task, backbone)
    rows, truncated = _encode(task, examples, backbone, lengths)
    dev = None
    if task.format == "mining":
        dev, _ = _encode(task, _examples(request, task, "dev"), backbone, lengths)
    models = [
        Whole(name, candidate.levels, head.tensors)
        for name, candidate, head in zip(names, candidates, heads, strict=True)
    ]
    base = load_encoder(backbone).eval().to(device)
    setting = Setting(task, precision, layer, request.pooling)
    served = many.predict(models, base, setting, rows, dev)
    metric = load_metric(task.metric)
    return Evaluation(
        request=request,
        task=task,
        metric=metric,
        backbone=backbone,
        languages=unique(examples[index].language for index in served[0].predictions),
        examples=examples,
        fingerprint=fingerprint(examples),
        lengths=lengths,
        precision=precision,
        layer=layer,
        truncated=truncated,
        modules=tuple(
            Evaluated(
                name=name,
                candidate=candidate,
                together=tuple(names[number] for number in one.together),
                seconds=one.seconds,
                remarks=tuple(remark for remark in (head.remark, one.remark) if remark),
                predictions=one.predictions,
                stats=inference.statistics(metric, examples, one.predictions),
            )
            for name, candidate, head, one in zip(names, candidates, heads, served, strict=True)
        ),
        seconds=time.perf_counter() - began,
        environment=environment(next(base.parameters()).device),
    )


# ------------------------------------------------------------------------------------------------------------ input


def _task(request: Request) -> Task:
    task = load_task(request.task, "task")
    if task.format == "mlm":
        raise fail(f"task {task.name}", "masked language modelling is trained, and not predicted")
    if task.format == "mining" and request.split == "dev":
        raise fail("--split", f"{task.name} chooses its threshold on dev, so dev cannot be what it is scored on", "dev")
    if not task.retrieves and (request.layer is not None or request.pooling is not None):
        raise fail("--layer, --pooling", f"belong to retrieval, and {task.name} is of the format {task.format}")
    if not task.languages(request.split):
        splits = [split for split in ("train", "dev", "test") if task.languages(split)]
        raise fail("--split", f"{task.name} has no such split", request.split, splits)
    return task


def _examples(request: Request, task: Task, split: Split) -> tuple[Example, ...]:
    languages = request.languages or task.languages(request.split)
    return load_examples(task, split, languages, Sources(request.data, request.files))


def _encode(task: Task, examples: Sequence[Example], backbone: Backbone, lengths: Lengths) -> tuple[Encoded, int]:
    from xstilts.engine.many import Encoded
    from xstilts.formats import Text, encode

    found = encode(task, examples, Text(load_tokenizer(backbone), lengths.max_length, lengths.doc_stride))
    return Encoded(examples, found.features), found.truncated


def _candidates(request: Request, task: Task, backbone: Backbone) -> tuple[list[Candidate], list[Chosen]]:
    """The modules with their heads; what is wrong with any of them is told in one error."""
    candidates, heads, problems = list[Candidate](), list[Chosen](), list[Problem]()
    for source in request.modules:
        try:
            candidate = assemble(source, backbone)
            heads.append(choose(source, candidate.heads, task, request.labels))
            candidates.append(candidate)
        except XstiltsError as error:
            problems += error.problems
    if problems:
        raise XstiltsError(*problems)
    return candidates, heads


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """What each module calls itself, as a file name, with a part of its digest where several do the same."""
    plain = [
        "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in each.name) for each in candidates
    ]
    counts = Counter(plain)
    names = [
        name if counts[name] == 1 else f"{name}-{candidate.digest[:SHORT]}"
        for name, candidate in zip(plain, candidates, strict=True)
    ]
    for name, count in Counter(names).items():
        if count > 1:
            given = ", ".join(each.source for each, own in zip(candidates, names, strict=True) if own == name)
            raise fail("modules", "the same module is named more than once", given)
    return names


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:LONGEST] or "module"


def _lengths(request: Request, candidates: Sequence[Candidate], names: Sequence[str], backbone: Backbone) -> Lengths:
    """How rows are cut, which is the same for all: as asked, or as the modules were trained, if they agree."""
    trained = {name: each.lengths for name, each in zip(names, candidates, strict=True) if each.lengths is not None}
    found = []
    for number, (option, asked) in enumerate(
        (("--max-length", request.max_length), ("--doc-stride", request.doc_stride))
    ):
        known = {name: lengths[number] for name, lengths in trained.items()}
        if asked is None and len(set(known.values())) > 1:
            given = ", ".join(f"{name} {value}" for name, value in known.items())
            raise fail(option, "the modules were trained with different ones; say which one all are read with", given)
        found.append(asked if asked is not None else next(iter(known.values()), DEFAULT[number]))
    lengths = Lengths(*found)
    if not 8 <= lengths.max_length <= backbone.positions:
        what = f"the encoder has positions for 8 to {backbone.positions} tokens"
        raise fail("--max-length", what, str(lengths.max_length))
    if lengths.doc_stride < 1:
        raise fail("--doc-stride", "must be at least 1", str(lengths.doc_stride))
    return lengths


def _layer(request: Request, task: Task, backbone: Backbone) -> int | None:
    """The layer that is pooled; as in a study, a trained dual encoder is asked at its last one."""
    if request.layer is not None and not 0 <= request.layer <= backbone.layers:
        raise fail("--layer", f"the encoder has layers 0 to {backbone.layers}", str(request.layer))
    if request.layer is not None or not task.retrieves or task.trained:
        return request.layer
    return declared_layer(backbone.layers)
