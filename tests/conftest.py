"""A tiny random XLM-R with its own tokenizer, toy tasks of every format, and a bench to run steps on."""

import json
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from xstilts.key import key
from xstilts.spec import (
    AdapterConfig,
    Answers,
    Backbone,
    Choices,
    Cold,
    Example,
    GeneratedData,
    Passage,
    Predict,
    Recipe,
    Sentence,
    Task,
    TaskData,
    TextPair,
    Train,
    Words,
)

SENTENCES = (
    "the red dog runs to the blue house",
    "a green cat sleeps near the old river",
    "Mary went home after dark , John stayed",
    "北京大学 在 北京 市 海淀区 。",
    "สวัสดีครับ ประเทศไทย ภาษาไทย",
    "مرحبا بالعالم في ٢٠٢٠ وَلَد",
    "हिन्दी में लिखा हुआ पाठ",
    "café naïve Zürich 12 kg ½",
)
CONFIG = {
    "model_type": "xlm-roberta",
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}


def make_backbone(directory: Path, seed: int = 0) -> Path:
    """Write a random XLM-R: config.json, model.safetensors, tokenizer.json."""
    import torch
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig, XLMRobertaModel

    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(seed)
    model = XLMRobertaModel(XLMRobertaConfig(**CONFIG), add_pooling_layer=False)
    with torch.no_grad():  # the usual 0.02 would leave a tiny model almost blind to its input
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, directory / "model.safetensors"
    )
    make_tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def make_tokenizer():
    """Unigrams in fairseq's order: whole words, their halves, single characters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    text = unicodedata.normalize("NFKC", " ".join(SENTENCES))
    words = dict.fromkeys(f"▁{word}" for word in text.split())
    halves = dict.fromkeys(word[len(word) // 2 :] for word in words)
    pieces = {piece: -5.0 for piece in words} | {piece: -8.0 for piece in halves} | {char: -12.0 for char in "▁" + text}
    vocabulary = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary += [(piece, score) for piece, score in pieces.items() if piece != " "]
    assert len(vocabulary) <= CONFIG["vocab_size"]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    # as XLM-R's: zero-width spaces become white space, and white space alone no token
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\u200b", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    return tokenizer


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> Backbone:
    from xstilts.backbone import resolve

    return resolve(str(make_backbone(tmp_path_factory.mktemp("backbone") / "tiny")))


@pytest.fixture(scope="session")
def encoder_config():
    """The tiny encoder's configuration, as heads are built with it."""
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(**CONFIG)


@pytest.fixture(scope="session")
def other_backbone(tmp_path_factory) -> Backbone:
    from xstilts.backbone import resolve

    return resolve(str(make_backbone(tmp_path_factory.mktemp("backbone") / "other", seed=1)))


# ---------------------------------------------------------------------------------------------------------- tasks

COLOURS = ("red", "green", "blue")
NOUNS = ("dog", "cat", "house", "river")


def _words(number: int) -> list[str]:
    """3 to 14 words, different for every number."""
    pool = [*COLOURS, *NOUNS, "the", "old", "runs", "near", "sleeps"]
    return [pool[(number * 7 + place * (number % 5 + 1)) % len(pool)] for place in range(3 + number % 12)]


def _fields_and_gold(format_name: str, number: int, language: str):
    words = _words(number)
    if format_name == "classification":
        return TextPair(" ".join(words), words[0]), "yes" if "red" in words else "no"
    if format_name == "tagging":
        tags = tuple("COLOUR" if word in COLOURS else "NOUN" if word in NOUNS else "X" for word in words)
        return Words(tuple(words)), tags
    if format_name == "span":
        context = " ".join(words)
        colour = next((word for word in words if word in COLOURS), None)
        return Passage("which ?", context), Answers((colour,), (context.index(colour),)) if colour else Answers()
    if format_name == "choice":
        options = (COLOURS[number % 3], NOUNS[number % 4])
        gold = number // 2 % 2
        return Choices(words[0], options[:: -1 if gold else 1]), gold
    role = "query" if number % 2 else "candidate"
    return Sentence(" ".join(_words(number // 2)), role), str(number // 2) if role == "query" else None


def toy_task(format_name: str) -> Task:
    labels = {"classification": ("no", "yes"), "tagging": ("X", "COLOUR", "NOUN")}.get(format_name, ())
    metric = {"tagging": "tagging", "span": "squad"}.get(format_name, "accuracy")
    data = GeneratedData({"train": ("en",), "dev": ("en",), "test": ("en",)}, lambda split, language: ())
    return Task(f"toy_{format_name}", 1, format_name, metric, data, labels, no_answer=format_name == "span")


def toy_examples(format_name: str, count: int, first: int = 0, language: str = "en") -> tuple[Example, ...]:
    numbers = range(first, first + count)
    rows = [(number, *_fields_and_gold(format_name, number, language)) for number in numbers]
    retrieval = format_name == "retrieval"
    ids = {number: str(number // 2 if retrieval else number) for number in numbers}
    return tuple(Example(ids[number], language, ids[number], fields, gold) for number, fields, gold in rows)


# ---------------------------------------------------------------------------------------------------------- bench

METHODS = {
    "full": AdapterConfig(kind="full"),
    "head": AdapterConfig(kind="head"),
    "pfeiffer": AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4}),
    "houlsby": AdapterConfig(kind="bottleneck", options={"where": "both", "reduction": 4, "non_linearity": "swish"}),
    "lora": AdapterConfig(kind="lora", options={"rank": 4, "alpha": 8.0}),
}


@dataclass
class Bench:
    """Builds steps on the tiny backbone, and runs them in directories of its own."""

    root: Path
    backbone: Backbone
    done: dict[str, Path] = field(default_factory=dict)

    def step(self, method="pfeiffer", start=None, seed=0, format_name="classification", **recipe) -> Train:
        settings = {"epochs": 1, "lr": 5e-3, "batch": 8, "max_length": 48, "doc_stride": 8, **recipe}
        data = TaskData(f"toy_{format_name}", 1, "m 1", "0")
        config = METHODS[method] if isinstance(method, str) else method
        return Train(self.backbone, data, config, start or Cold(), Recipe(**settings), seed)

    def data(self, format_name="classification", train=40, dev=16):
        from xstilts.engine.train import TrainingData

        return TrainingData(toy_examples(format_name, train), toy_examples(format_name, dev, first=1000))

    def runtime(self, **changes):
        from xstilts.engine.compose import Runtime

        return replace(Runtime("cpu", lambda step: self.done[key(step)]), **changes)

    def directory(self, step) -> Path:
        directory = self.root / key(step)
        directory.mkdir(exist_ok=True)
        return directory

    def train(self, step: Train, data=None, **runtime) -> Path:
        """Run a training once; further calls return its directory."""
        from xstilts.engine import train

        if key(step) not in self.done:
            names = [task.name.removeprefix("toy_") for task in step.tasks]
            members = [(toy_task(name), data or self.data(name)) for name in names]
            directory = self.directory(step)
            train.run(step, members, directory, self.runtime(**runtime))
            self.done[key(step)] = directory
        return self.done[key(step)]

    @staticmethod
    def weights(directory: Path):
        """Stored tensors of a training, by file and name."""
        from safetensors.torch import load_file

        return {file: load_file(directory / file) for file in ("encoder.safetensors", "head.safetensors")}

    def same(self, one: Path, two: Path) -> bool:
        """Whether two trainings ended with the same weights, bit for bit."""
        first, second = self.weights(one), self.weights(two)
        return all(
            tensors.keys() == second[file].keys() and all(tensors[name].equal(second[file][name]) for name in tensors)
            for file, tensors in first.items()
        )

    @staticmethod
    def result(directory: Path):
        return json.loads((directory / "result.json").read_text())

    @staticmethod
    def curve(directory: Path):
        """Lines of the curve without what the clock says."""
        lines = [json.loads(line) for line in (directory / "curve.jsonl").read_text().splitlines()]
        return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]

    def forget(self, root: Path) -> None:
        """Go on in another directory, where nothing is done."""
        root.mkdir()
        self.root, self.done = root, {}

    def predict(self, model, examples, format_name="classification", layer=None) -> Path:
        from xstilts.engine import predict

        data = TaskData(f"toy_{format_name}", 1, "m 1", "0")
        step = Predict(model, data, "test", ("en",), 48, 8, "fp32", layer)
        directory = self.directory(step)
        predict.run(step, toy_task(format_name), examples, directory, self.runtime())
        return directory


@pytest.fixture
def bench(tmp_path, backbone) -> Bench:
    return Bench(tmp_path, backbone)


@pytest.fixture(scope="session")
def toys():
    """``task(format)`` and ``examples(format, count, first, language)``."""

    class Toys:
        task = staticmethod(toy_task)
        examples = staticmethod(toy_examples)

    return Toys


@pytest.fixture(scope="session")
def text(backbone):
    """Build the tokenizer with a length and a stride."""
    from xstilts.backbone import load_tokenizer
    from xstilts.formats import Text

    return lambda max_length=48, doc_stride=8: Text(load_tokenizer(backbone), max_length, doc_stride)
