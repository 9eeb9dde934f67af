"""What a model is made of: which modules it carries, in what order, and so whose weights a step reads.

A model is a chain of blocks, the lowest first. A block is one module, or several side by side that are fused by learned
attention. Each module is the work of one step and stored by that step alone:

    Cold         own
    Import       own
    Warm(a)      the chain of a, with own in the place of a's: own begins as a copy
    Stack(a, b)  chain of a, chain of b, then own; a block that both need lies at its first place only
    Fuse(a, b)   what lies below a and b, the two fused, then own if it is trained on top
    Combine(a…)  what lies below the sources, then the module that was made of them
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xstilts.errors import fail
from xstilts.key import key
from xstilts.spec import Combine, Fuse, Import, Predict, Source, Stack, Step, Swap, Train, Warm


@dataclass(frozen=True, slots=True)
class Block:
    """Modules at one place of a chain.

    Attributes:
        modules: one, or those that are fused.
        fused_by: the training that the attention over them belongs to; None for a single module.
    """

    modules: tuple[Source, ...]
    fused_by: Train | None = None

    @property
    def owners(self) -> tuple[Source, ...]:
        """The steps whose weights the block holds."""
        return self.modules if self.fused_by is None else (*self.modules, self.fused_by)


def inputs(step: Step) -> tuple[Source, ...]:
    """The steps that a step names."""
    if isinstance(step, Predict):
        model = () if not isinstance(step.model, Train | Import | Combine) else (step.model,)
        return (*model, *(module for _, module in step.swap.by)) if step.swap else model
    if isinstance(step, Combine):
        return (*step.sources, *(step.proxies or ()))
    if isinstance(step, Import):
        return ()
    if isinstance(step.start, Warm):
        return (step.start.source,)
    return step.start.sources if isinstance(step.start, Stack | Fuse) else ()


def chain(source: Source) -> tuple[Block, ...]:
    """The blocks of a model, lowest first.

    Raises:
        XstiltsError: what is to be fused or combined does not lie on the same modules.
    """
    own = Block((source,))
    if isinstance(source, Combine):
        return (*_below(source.sources), own)
    if isinstance(source, Import):
        return (own,)
    start = source.start
    if isinstance(start, Warm):
        return tuple(_replaced(block, start.source, source) for block in chain(start.source))
    if isinstance(start, Stack):
        return (*_once(block for each in start.sources for block in chain(each)), own)
    if isinstance(start, Fuse):
        fused = Block(start.sources, fused_by=source)
        return (*_below(start.sources), fused, *((own,) if start.on_top else ()))
    return (own,)


def swapped(blocks: Sequence[Block], swap: Swap, language: str) -> tuple[Block, ...]:
    """The chain of a model in one language; in one without a module of its own it is that of the training."""
    return tuple(_replaced(block, swap.out, dict(swap.by).get(language, swap.out)) for block in blocks)


def lineage(source: Source) -> tuple[Source, ...]:
    """The steps whose weights make up a model, each once, lowest first; the last one is the step itself."""
    return tuple({key(owner): owner for block in chain(source) for owner in block.owners}.values())


def reads(step: Step) -> tuple[Source, ...]:
    """The steps whose results have to be there when a step runs, each once."""
    return tuple({key(each): each for source in inputs(step) for each in lineage(source)}.values())


def head_of(source: Source) -> Train | None:
    """The training whose task a model has a head for; None = it has no head."""
    if isinstance(source, Combine):
        return head_of(source.sources[0])
    return source if isinstance(source, Train) else None


def _below(sources: tuple[Source, ...]) -> tuple[Block, ...]:
    """The blocks under the topmost modules of several models, which have to be the same ones."""
    chains = [chain(source) for source in sources]
    for source, blocks in zip(sources, chains, strict=True):
        if blocks[-1].modules != (source,) or any(block.fused_by == source for block in blocks):
            raise fail("start", "a model that ends in a fusion has no topmost module that could be used alone")
        if _names(blocks[:-1]) != _names(chains[0][:-1]):
            what = "modules can be fused or merged only where they were trained on the same modules below them"
            raise fail("start", what)
    return chains[0][:-1]


def _replaced(block: Block, out: Source, by: Source) -> Block:
    fused_by = block.fused_by
    if fused_by is not None and key(fused_by) == key(out):
        assert isinstance(by, Train), "a fusion is continued by a training"
        fused_by = by
    return Block(tuple(by if key(each) == key(out) else each for each in block.modules), fused_by)


def _once(blocks: Iterable[Block]) -> tuple[Block, ...]:
    found: dict[tuple[str, ...], Block] = {}
    for block in blocks:
        found.setdefault(_name(block), block)
    return tuple(found.values())


def _names(blocks: Iterable[Block]) -> list[tuple[str, ...]]:
    return [_name(block) for block in blocks]


def _name(block: Block) -> tuple[str, ...]:
    return tuple(key(owner) for owner in block.owners)
