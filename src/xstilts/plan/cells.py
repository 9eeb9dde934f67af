"""One number of the result table: how a system, an intermediate, a target and a seed become steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from xstilts.config import Loaded, resolve_recipe, tried, validated
from xstilts.data.translation import translatable
from xstilts.errors import fail
from xstilts.key import key
from xstilts.lineage import lineage
from xstilts.merges import load_merge
from xstilts.metrics import load_metric
from xstilts.spec import (
    SOURCE_LANGUAGE,
    AdapterConfig,
    Backbone,
    Cold,
    Combine,
    Fuse,
    Import,
    Mixture,
    Predict,
    Recipe,
    Role,
    Source,
    Split,
    Stack,
    Start,
    Swap,
    TaskData,
    Train,
    Warm,
)
from xstilts.study import OTHER, POOLED, System
from xstilts.tasks import load_task

Precision = Literal["fp32", "bf16"]
Languages = tuple[str, ...]
Fingerprint = Callable[[str, tuple[Split, ...], Languages, str | None], str]
TRAINING_SPLITS: tuple[Split, ...] = ("train", "dev")

# Layer that sentence retrieval pools: of XLM-R Large's 24 what the code of XTREME and of arXiv 2005.13013 pools, of
# other depths the same share; but of 12 what XTREME's code pools of mBERT, and word aligners, too (arXiv 2101.08231).
RETRIEVAL_LAYERS = {12: 8}
RETRIEVAL_DEPTH = (14, 24)


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the result table and the steps behind it.

    Attributes:
        intermediate: None for a system that starts cold.
        train: what was predicted with; None for the bare backbone.
        preliminary_train: the training of the preliminary task, if the target has one.
        intermediates: the intermediate modules: none, one, or several that are fused or merged.
    """

    system: str
    intermediate: str | None
    target: str
    seed: int
    predict: Predict
    train: Source | None
    preliminary_train: Train | None
    intermediates: tuple[Source, ...]

    @property
    def intermediate_train(self) -> Source | None:
        """The intermediate module, where there is one and no more."""
        return self.intermediates[0] if len(self.intermediates) == 1 else None


@dataclass(frozen=True)
class Builder:
    """Turns one (system, intermediate, target, seed) into steps."""

    loaded: Loaded
    backbone: Backbone
    fingerprint: Fingerprint
    auto_precision: Precision
    modules: Mapping[str, Import]

    def cell(self, system: System, intermediate: str | None, target: str, seed: int) -> Cell:
        """Find the steps of a cell.

        Raises:
            XstiltsError: a target without the rows or the languages that the system needs, a merge that is refused.
        """
        names = () if intermediate is None else tuple(intermediate.split(POOLED))
        sources = tuple(self._intermediate(system, name, self._source_seed(seed)) for name in names)
        if system.start == "merge" and system.merging.into == "direct":
            return self._merged_cell(system, intermediate, target, seed, sources)
        start = self._start(system, sources, target, seed)
        model, before = self._untrained(system, sources, start), None
        preliminary = self.loaded.study.preliminary.get(target)
        if preliminary is not None:
            before = model = self._train(system, "target", preliminary, seed, start)
            start = Warm(before)
        if load_task(target).trained:
            model = self._train(system, "target", target, seed, start)
        elif system.start == "fuse" and before is None:
            raise fail("start", f"{target} has no training rows, on which a fusion could be learned", "fuse")
        predict = self._predict(system, target, model)
        return Cell(system.name, intermediate, target, seed, predict, model, before, sources)

    def _merged_cell(
        self, system: System, intermediate: str | None, target: str, seed: int, sources: tuple[Source, ...]
    ) -> Cell:
        """The target is predicted with its own module and the intermediates, merged into one."""
        if target in self.loaded.study.preliminary:
            raise fail("start", f"a direct merge does without the preliminary task that {target} has", "merge")
        own: tuple[Source, ...] = ()
        if load_task(target).trained:
            own = (self._train(system, "target", target, seed, self._ground(system)),)
        model = self._combine(system, (*own, *sources), target, seed, own=bool(own))
        predict = self._predict(system, target, model)
        return Cell(system.name, intermediate, target, seed, predict, model, None, (*own, *sources))

    def _ground(self, system: System) -> Cold | Stack:
        """What the first training of a system starts from: the backbone, or the English language adapter on it."""
        name = system.language_modules.get(SOURCE_LANGUAGE)
        return Cold() if name is None else Stack((self.modules[name],))

    def _untrained(self, system: System, sources: tuple[Source, ...], start: Start) -> Source | None:
        """What a target without training rows is predicted with, if nothing is trained for it."""
        if system.start == "merge" and not isinstance(start, Cold):
            return start.source if isinstance(start, Warm) else start.sources[-1]
        name = system.language_modules.get(SOURCE_LANGUAGE)
        return sources[0] if sources else None if name is None else self.modules[name]

    def _intermediate(self, system: System, name: str, seed: int) -> Source:
        """The module behind the name of an intermediate."""
        if name in self.modules:
            return self.modules[name]
        first, *rest = self.loaded.study.trained_for(name)
        source = self._train(system, "intermediate", first, seed, self._ground(system))
        for task in rest:
            continues = system.start == "warm" or source.method.kind == "full"  # which has nothing to stack
            start = Warm(source) if continues else Stack((source,))
            source = self._train(system, "intermediate", task, seed, start)
        return source

    def _start(self, system: System, sources: tuple[Source, ...], target: str, seed: int) -> Start:
        if not sources:
            return self._ground(system)
        if system.start == "fuse":
            return Fuse(sources, system.fusing.on_top, system.fusing.regularisation)
        if system.start == "merge":
            merged = self._combine(system, sources, target, seed)
            return Warm(merged) if system.merging.into == "warm" else self._on(system, merged)
        return Warm(sources[0]) if system.start == "warm" else self._on(system, sources[0])

    def _on(self, system: System, source: Source) -> Stack:
        """A stack on a module; one that was published does not lie on the system's language adapter yet."""
        ground = self._ground(system)
        if isinstance(ground, Stack) and key(ground.sources[0]) not in map(key, lineage(source)):
            return Stack((*ground.sources, source))
        return Stack((source,))

    def _combine(
        self, system: System, sources: tuple[Source, ...], target: str, seed: int, own: bool = False
    ) -> Combine:
        """The module that a system makes of several; ``own``: whether the first one is the target's."""
        table, decided = system.merging, system.merging.decide
        merge = load_merge(table.kind, f"system {system.name}: merge.kind")
        options = validated(merge.Options, table.options, f"system {system.name}: merge.options")
        count = len(sources) - own
        if table.weights is not None and len(table.weights) != count:
            given = f"{len(table.weights)} weights"
            raise fail(f"system {system.name}: merge.weights", f"needs one for each of {count} intermediates", given)
        weights = (
            None
            if decided
            else (*([1.0 if table.own is None else table.own] if own else []), *(table.weights or [1 / count] * count))
        )
        if decided and not load_task(target).trained:
            raise fail("start", f"{target} has no training rows, by which a module could be chosen", "merge")
        if decided == "text" and any(isinstance(source, Import) for source in sources):
            raise fail("start", "what a published module was trained on is not known; decide by few_shot", "merge")
        if decided == "learned" and load_task(target).retrieves:
            raise fail("start", f"{target} has no loss on its dev rows, by which weights could be learned", "merge")
        recipe = self._recipe(system, "target", target) if decided in ("text", "learned") else None
        methods = [source.method for source in sources]
        # weights that are learned may take any sign and size
        possible = tuple(0.5 - number for number in range(len(sources))) if decided == "learned" else weights
        reason = merge.refuse(methods, possible, options)
        if reason:
            raise fail(f"merge {table.kind}", f"refused: {reason}")
        return Combine(
            backbone=self.backbone,
            sources=sources,
            merge=AdapterConfig(kind=table.kind, options=options.model_dump(exclude_defaults=True)),
            method=merge.method(methods, options),
            seed=seed,
            weights=weights,
            decided=decided,
            task=None if recipe is None else self._training_data("target", target),
            recipe=recipe,
            proxies=self._proxies(system, sources, target, seed) if decided == "few_shot" else None,
        )

    def _proxies(self, system: System, sources: tuple[Source, ...], target: str, seed: int) -> tuple[Train, ...]:
        """A short training of the target from each source."""
        short = tried(system)
        into_warm = system.merging.into == "warm"
        starts = (Warm(source) if into_warm else self._on(system, source) for source in sources)
        return tuple(self._train(short, "target", target, seed, start) for start in starts)

    def _train(self, system: System, role: Role, name: str, seed: int, start: Start) -> Train:
        study = self.loaded.study
        tasks = study.members(name) if role == "intermediate" else (name,)
        data = [self._training_data(role, task) for task in tasks]
        sampling = next((each.sampling for each in study.mixture if each.name == name), None)
        return Train(
            backbone=self.backbone,
            task=data[0],
            method=self.loaded.adapters[system.adapter],
            start=start,
            recipe=self._recipe(system, role, name),
            seed=seed,
            mixture=None if sampling is None else Mixture(tuple(data[1:]), sampling),
        )

    def _training_data(self, role: Role, task: str) -> TaskData:
        """The rows of a training; an intermediate task's may be the user's translation, where its format has one."""
        language = self.loaded.study.intermediate_language
        translated = role == "intermediate" and language != SOURCE_LANGUAGE and translatable(load_task(task))
        return self._data(task, TRAINING_SPLITS, (), language if translated else None)

    def _predict(self, system: System, target: str, model: Source | None) -> Predict:
        study, declared = self.loaded.study, load_task(target)
        shown = declared.languages("test")
        languages = tuple(lang for lang in shown if not study.languages or lang in study.languages)
        if not languages:
            raise fail(f"{study.name}: languages", f"none is tested by {target}", None, shown)
        recipe = self._recipe(system, "target", target)
        assert recipe.precision != "auto"
        # a trained dual encoder is asked at the layer and with the pooling that it was trained with
        free = declared.retrieves and not declared.trained
        mines = declared.format == "mining"
        return Predict(
            model=model or self.backbone,
            task=self._data(target, ("dev", "test") if mines else ("test",), languages),
            split="test",
            languages=languages,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
            precision=recipe.precision,
            layer=self._layer() if free else None,
            pooling=study.pooling if free else None,
            calibration="dev" if mines else None,
            threads=recipe.threads,
            swap=self._swap(system, languages),
        )

    def _swap(self, system: System, languages: Languages) -> Swap | None:
        named = system.language_modules
        if not named:
            return None
        without = [language for language in languages if language not in named and OTHER not in named]
        if without:
            what = f"none for {', '.join(without)}; {OTHER!r} stands for all that are not named"
            raise fail("language_modules", what)
        by = tuple((language, self.modules[named.get(language, named.get(OTHER, ""))]) for language in languages)
        return Swap(self.modules[named[SOURCE_LANGUAGE]], by)

    def _recipe(self, system: System, role: Role, task: str) -> Recipe:
        recipe = resolve_recipe(self.loaded.study, system, role, task)
        return recipe.model_copy(update={"precision": self.auto_precision}) if recipe.precision == "auto" else recipe

    def _data(
        self, task: str, splits: tuple[Split, ...], languages: Languages, translation: str | None = None
    ) -> TaskData:
        declared = load_task(task)
        metric = load_metric(declared.metric)
        rows = self.fingerprint(task, splits, languages, translation)
        return TaskData(task, declared.version, f"{metric.name} {metric.version}", rows, translation)

    def _source_seed(self, seed: int) -> int:
        study = self.loaded.study
        return seed if study.source_seeds == "paired" else study.seeds[0]

    def _layer(self) -> int:
        asked = self.loaded.study.retrieval_layer
        return declared_layer(self.backbone.layers) if asked is None else asked


def declared_layer(layers: int) -> int:
    """The layer that sentence retrieval pools in an encoder of so many layers, if the study names none."""
    part, whole = RETRIEVAL_DEPTH
    return RETRIEVAL_LAYERS.get(layers, -(-layers * part // whole))
