"""The frozen pre-trained encoder: find it, identify it, load it.

Safe on files from anywhere: the configuration is read through an allow-list of plain fields (``from_pretrained`` runs
code named by a crafted ``config.json``, CVE-2026-4372, fixed only in transformers 5), the classes are the concrete
XLM-R ones, weights are safetensors and never pickles, and the tokenizer is data only.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xstilts import hub
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.spec import Backbone

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import XLMRobertaModel

FILES = ("config.json", "model.safetensors", "tokenizer.json")
MINI = Path(__file__).parent / "mini" / "backbone"
SHAPES = {"FacebookAI/xlm-roberta-base": (12, 512), "FacebookAI/xlm-roberta-large": (24, 512)}  # layers, positions
KNOWN = ("mini", *SHAPES)
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
# Tensors a checkpoint may hold beyond the encoder: the language-model head, the pooler, and a constant of old versions.
LM_HEAD = "lm_head."
BEYOND = (LM_HEAD, "pooler.", "embeddings.position_ids")
FIRST_POSITION = 2  # XLM-R counts positions from the padding token's id + 1
LARGE = 100_000_000  # bytes of weights

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Config(BaseModel):
    """The fields of ``config.json`` that are read; all others are ignored, so none can name code or kernels."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model_type: Literal["xlm-roberta"]
    vocab_size: Size
    hidden_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    intermediate_size: Size
    max_position_embeddings: Size
    type_vocab_size: Size = 1
    hidden_act: Literal["gelu", "gelu_new", "relu"] = "gelu"
    hidden_dropout_prob: Share = 0.1
    attention_probs_dropout_prob: Share = 0.1
    classifier_dropout: Share | None = None
    layer_norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    initializer_range: Annotated[float, Field(gt=0)] = 0.02
    position_embedding_type: Literal["absolute"] = "absolute"
    bos_token_id: Literal[0] = 0
    pad_token_id: Literal[1] = 1
    eos_token_id: Literal[2] = 2


def resolve(name: str) -> Backbone:
    """Find a backbone and take its fingerprint.

    Args:
        name: ``mini`` (shipped), a directory, or a hub id ``org/name`` or ``org/name@revision``, which is downloaded
            (configuration, safetensors and tokenizer only) or taken from the hub's cache.

    Raises:
        XstiltsError: not found, not reachable, a file is missing, not an XLM-R, only pickled weights.
    """
    directory = _locate(name)
    missing = [file for file in FILES if not (directory / file).is_file()]
    if missing:
        pickled = sorted(path.name for path in directory.glob("*.bin"))
        hint = f"; pickled weights ({pickled[0]}) are never read" if pickled else ""
        raise fail(f"backbone {name}", f"lacks {', '.join(missing)}{hint}")
    config, fingerprint = _config(directory), _fingerprint(directory)
    positions = config.max_position_embeddings - FIRST_POSITION
    # however a directory is written, it is one backbone: its report is found under one name
    shown = f"{directory.resolve().name}-{fingerprint[:8]}" if Path(name).is_dir() else name
    return Backbone(fingerprint, config.num_hidden_layers, positions, shown, str(directory))


def announced(name: str) -> Backbone | None:
    """A well-known backbone as it will be, without its files: enough to show a plan, not to run it.

    Its fingerprint is empty. None for any other name.
    """
    shape = SHAPES.get(name.partition("@")[0])
    return None if shape is None else Backbone("", *shape, name, "")


def load_encoder(backbone: Backbone) -> XLMRobertaModel:
    """Build the encoder in fp32 on the CPU, without a pooler; every parameter comes from the file.

    Raises:
        XstiltsError: the files changed since ``resolve``, or do not hold exactly an XLM-R encoder.
    """
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    directory = Path(backbone.path)
    if (directory / FILES[1]).stat().st_size > LARGE:
        gc.collect()  # models hold reference cycles; drop the previous step's before this one takes its memory
        tensors = _read_encoder(backbone.path, backbone.fingerprint)
    else:
        kept = _encoder_tensors(backbone.path, backbone.fingerprint)
        tensors = {name: tensor.clone() for name, tensor in kept.items()}
    settings = _config(directory).model_dump(exclude={"model_type"})
    with torch.device("meta"):
        encoder = XLMRobertaModel(XLMRobertaConfig(**settings, use_cache=False), add_pooling_layer=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    wrong = sorted({name for name in wanted.keys() | tensors.keys() if wanted.get(name) != _shape(tensors, name)})
    if wrong:
        raise fail(str(directory / FILES[1]), f"does not fit its config.json at {len(wrong)} tensors", wrong[0])
    encoder.load_state_dict(tensors, assign=True)
    # Two constants are not part of the file; the meta device left them empty.
    constant = torch.arange(settings["max_position_embeddings"]).expand((1, -1))
    encoder.embeddings.register_buffer("position_ids", constant, persistent=False)
    encoder.embeddings.register_buffer("token_type_ids", torch.zeros_like(constant), persistent=False)
    return encoder


def load_language_model_head(backbone: Backbone) -> dict[str, Tensor] | None:
    """Load the head that the encoder was pre-trained with, without its decoder, which is the word embeddings.

    Returns:
        Name below ``lm_head.`` → tensor in fp32 (dense, layer norm, and the bias of the vocabulary), or None where the
        file holds no such head.

    Raises:
        XstiltsError: parts of it are missing, or of another shape than the configuration says.
    """
    directory = Path(backbone.path)
    config = _config(directory)
    size = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"dense.weight": (size, size), "bias": (config.vocab_size,)}
    shapes |= {name: (size,) for name in ("dense.bias", "layer_norm.weight", "layer_norm.bias")}
    found = _read_tensors(directory / FILES[1], lambda name: name in {f"{LM_HEAD}{part}" for part in shapes})
    tensors = {name.removeprefix(LM_HEAD): tensor for name, tensor in found.items()}
    wrong = sorted(name for name, shape in shapes.items() if _shape(tensors, name) != shape)
    if tensors and wrong:
        what = "holds a language-model head that does not fit its config.json"
        raise fail(str(directory / FILES[1]), what, f"{LM_HEAD}{wrong[0]}")
    return tensors or None


@lru_cache(maxsize=2)
def load_tokenizer(backbone: Backbone) -> Tokenizer:
    """Load the tokenizer.

    Token ids equal those of ``XLMRobertaTokenizerFast``, except that special tokens are not read out of texts.

    Raises:
        XstiltsError: unreadable, or a vocabulary that is not XLM-R's or does not fit the embeddings.
    """
    from tokenizers import Tokenizer

    path = Path(backbone.path) / FILES[2]
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise fail(str(path), f"cannot be read ({error})") from error
    tokenizer.encode_special_tokens = True  # "<pad>" in a text is text; ours are put in by ``formats``
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    if ids != [0, 1, 2, 3]:
        raise fail(str(path), f"{' '.join(SPECIAL_TOKENS)} must be the tokens 0 1 2 3", str(ids))
    size, room = tokenizer.get_vocab_size(), _config(path.parent).vocab_size
    if size > room:
        raise fail(str(path), f"has {size} tokens, but the encoder has embeddings for {room}")
    return tokenizer


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 over names and bytes of tensors, sorted by name; equal before and after if nothing changed."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------- finding


def _locate(name: str) -> Path:
    if name == "mini":
        return MINI
    if name and Path(name).is_dir():
        return Path(name).resolve()
    repo, _, revision = name.partition("@")
    if repo.count("/") != 1 or repo.startswith((".", "/")):
        raise fail("backbone", "neither a directory nor a hub id 'org/name'", name, KNOWN)
    return hub.snapshot("model", repo, revision or None, FILES, instead="--backbone also reads a directory")


def _fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        with (directory / name).open("rb") as stream:
            digest.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------- reading


def _config(directory: Path) -> _Config:
    path = directory / FILES[0]
    try:
        config = _Config.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise _not_xlmr(path, error) from error
    if config.hidden_size % config.num_attention_heads:
        raise fail(str(path), "hidden_size must be a multiple of num_attention_heads", str(config.hidden_size))
    return config


def _not_xlmr(path: Path, error: ValueError) -> XstiltsError:
    if not isinstance(error, ValidationError):
        return fail(str(path), f"is not JSON ({error})")
    return XstiltsError(
        *(
            Problem(f"{path}: {'.'.join(map(str, item['loc']))}", item["msg"].lower(), str(item["input"])[:80])
            for item in error.errors()
        )
    )


def _read_encoder(path: str, fingerprint: str) -> dict[str, Tensor]:
    """The encoder's tensors in fp32, by the names of ``XLMRobertaModel``, in memory of their own."""
    if _fingerprint(Path(path)) != fingerprint:
        raise fail(f"backbone {path}", "its files changed since the study was planned")
    return _read_tensors(Path(path) / FILES[1], lambda name: not name.startswith(BEYOND))


_encoder_tensors = lru_cache(maxsize=1)(_read_encoder)  # kept for the next step of this process


def _read_tensors(file: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Those tensors of a file whose names, without ``roberta.``, are wanted, in fp32 and one after the other."""
    import torch
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    unsound: list[str] = []
    try:
        with safe_open(file, "pt") as opened:
            for stored in opened.keys():  # noqa: SIM118 (not a dictionary)
                name = stored.removeprefix("roberta.")
                if wanted(name):
                    tensor = opened.get_tensor(stored)
                    if not (tensor.is_floating_point() and tensor.isfinite().all()):
                        unsound.append(name)
                    found[name] = tensor.to(torch.float32, copy=True)
    except SafetensorError as error:
        raise fail(str(file), f"is not a readable safetensors file ({error})") from error
    if unsound:
        raise fail(str(file), f"{len(unsound)} tensors are not finite floating point numbers", unsound[0])
    return found


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
