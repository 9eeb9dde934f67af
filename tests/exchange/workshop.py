"""Tiny XLM-R models of the real libraries, modules with random weights in them, and directories made by hand."""

import json
import warnings

import torch
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel

from xstilts.methods import load_method

LAYERS, HIDDEN, WIDE = 3, 32, 48
SIZES = {
    "vocab_size": 100,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": WIDE,
    "max_position_embeddings": 40,
    "type_vocab_size": 1,
}
IDS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 10, 11, 2, 1]])


def make_encoder(**changes):
    """A bare encoder with the same random weights each time."""
    torch.manual_seed(0)
    encoder = XLMRobertaModel(XLMRobertaConfig(**(SIZES | changes)), add_pooling_layer=False)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    return encoder.eval()


def make_classifier(labels=3, **changes):
    """A model with a sentence head over the same encoder."""
    torch.manual_seed(1)
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**(SIZES | changes), num_labels=labels)).eval()
    model.roberta.load_state_dict(make_encoder(**changes).state_dict())
    return model


def randomise(model, mark, seed=5):
    """Give the parameters of a module values of a trained size, so that none is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if mark in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (1.0 if "ia3" in name else 0))


def outputs(model):
    model.eval()
    with torch.no_grad():
        return model(IDS)[0]


def attached(published):
    """The encoder with the module in it, through our own methods."""
    method = load_method(published.method.kind)
    encoder = make_encoder()
    method.attach(encoder, "m", method.Options.model_validate(published.method.options))
    names = method.names(encoder, "m")
    assert names.keys() == published.tensors.keys()
    with torch.no_grad():
        for stored, name in names.items():
            encoder.get_parameter(name).copy_(published.tensors[stored])
    method.activate(encoder, (("m",),))
    return encoder.eval()


def save_adapter(directory, config, *, pickled=False, name="en", model=None, seed=5, head=False):
    """A directory saved by the adapters library, and what its model gives."""
    import adapters

    model = model or make_encoder()
    adapters.init(model)
    model.add_adapter(name, config=config)
    randomise(model, f".{name}.", seed)
    model.set_active_adapters(name)
    model.save_adapter(str(directory), name, use_safetensors=not pickled, with_head=head)
    return model


def save_peft(directory, config, model=None, safe=True):
    """A directory saved by PEFT, and its model."""
    import peft

    model = peft.get_peft_model(model or make_encoder(), config)
    for mark in ("lora_", "ia3_l", "modules_to_save"):
        randomise(model, mark)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a base model without a name
        model.save_pretrained(str(directory), safe_serialization=safe)
    return model


def edit(path, **changes):
    """Change settings of a JSON file; dots lead into objects, ``...`` deletes."""
    value = json.loads(path.read_text())
    for name, new in changes.items():
        *parents, last = name.split("__")
        here = value
        for parent in parents:
            here = here[parent]
        if new is ...:
            here.pop(last, None)
        else:
            here[last] = new
    path.write_text(json.dumps(value))


def rewrite(path, change):
    """Change the tensors of a file: ``change`` gets a dictionary and gives one."""
    from safetensors.torch import load_file, save_file

    if path.suffix == ".bin":
        torch.save(change(torch.load(path, weights_only=True)), path)
    else:
        save_file(change(load_file(path)), path)
