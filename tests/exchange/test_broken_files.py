"""Files broken at random: read, or refused in a sentence; never anything else."""

import json
import random

import adapters
import peft
import pytest

from tests.exchange.workshop import make_classifier, make_encoder, save_adapter, save_peft
from xstilts.errors import XstiltsError
from xstilts.exchange import read

ODD = (None, True, -1, 3.5, 10**30, "", "x", [], ["x"], [[]], {}, {"default": {}}, [None])
ROUNDS = 150


def with_head(directory):
    model = adapters.XLMRobertaAdapterModel(make_encoder().config)
    model.add_adapter("en", config=adapters.SeqBnInvConfig(reduction_factor=2))
    model.add_classification_head("en", num_labels=2, id2label={0: "no", 1: "yes"})
    model.save_adapter(str(directory), "en")


def dora(directory):
    shape = peft.LoraConfig(r=4, target_modules=["query"], use_dora=True, task_type="SEQ_CLS")
    save_peft(directory, shape, model=make_classifier())


MAKERS = {
    "bottleneck": with_head,
    "LoRA": lambda directory: save_adapter(directory, adapters.LoRAConfig(r=4), pickled=False),
    "DoRA": dora,
    "IA3": lambda directory: save_peft(
        directory, peft.IA3Config(target_modules=["key"], feedforward_modules=[]), safe=False
    ),
}


def places(value, above=()):
    for name, inner in value.items():
        yield (*above, name)
        if isinstance(inner, dict):
            yield from places(inner, (*above, name))


def other_value(draw, content):
    settings = json.loads(content)
    *above, last = draw.choice(list(places(settings)))
    here = settings
    for name in above:
        here = here[name]
    here[last] = draw.choice(ODD)
    return json.dumps(settings).encode()


def other_bytes(draw, content):
    if draw.random() < 0.3:
        return content[: draw.randrange(len(content))]
    broken = bytearray(content)
    for _ in range(draw.choice((1, 2, 5))):
        broken[draw.randrange(min(len(broken), 3000))] = draw.randrange(256)
    return bytes(broken)


@pytest.mark.parametrize("name", MAKERS)
def test_whatever_is_broken_gives_a_module_or_a_sentence(tmp_path, name):
    MAKERS[name](tmp_path / "m")
    draw, refused = random.Random(name), 0
    for number in range(ROUNDS):
        path = draw.choice(sorted((tmp_path / "m").iterdir()))
        whole = path.read_bytes()
        settings = path.suffix == ".json" and number % 4
        path.write_bytes((other_value if settings else other_bytes)(draw, whole))
        try:
            read(tmp_path / "m")
        except XstiltsError as error:
            assert str(error)
            refused += 1
        path.write_bytes(whole)
    assert refused > ROUNDS // 10
    read(tmp_path / "m")
