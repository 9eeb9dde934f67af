"""Checks of a module's tensors on the backbone itself: do they fit, what do they change, and by how much?

How much a module changes is measured layer by layer, by what its kind changes (``sizes.py``), and once more at the end,
on sentences of several languages. The bounds are ours, and generous: a trained LoRA changes its maps by a few per cent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xstilts.backbone import load_encoder, load_tokenizer
from xstilts.doctor.checks import Check
from xstilts.doctor.sizes import of_states, of_weights
from xstilts.errors import XstiltsError
from xstilts.methods import load_method
from xstilts.spec import Backbone

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import XLMRobertaModel

    from xstilts.published import Published

NAME = "examined"
SILENT = 1e-6  # relative size below which nothing is changed: the rounding of fp32
# Relative sizes above which the module outweighs the backbone, and above which it cannot be meant: of deltas of
# weights, and of what bottlenecks add to the states. Those are normalised next, and language adapters are trained long
# with wide bottlenecks, so that only what is absurd is refused.
BOUNDS = {"weights": (1.0, 10.0), "states": (3.0, 1000.0)}
SENTENCES = (
    "The bridge was closed for repairs, so the children walked home along the river.",
    "Am Montag wird die Bibliothek erst um zehn Uhr geöffnet.",
    "Вчера вечером они долго говорили о новой книге.",
    "昨天他们坐火车去了北京。",
    "يعيش أخي في مدينة صغيرة قرب البحر.",
    "Watoto wanacheza mpira karibu na shule.",
)


def checks(published: Published, backbone: Backbone) -> tuple[Check, ...]:
    """Look at the tensors of a module, alone and on the backbone.

    Args:
        published: the module.
        backbone: that it is to be used with; its weights are loaded.
    """
    encoder = load_encoder(backbone).eval()
    fits = (_layers(published, backbone), _hidden(published, encoder))
    numbers = _numbers(published)
    if any(check.verdict == "unsafe" for check in (*fits, numbers)):
        return (*fits, numbers)
    base = dict(encoder.named_parameters())
    before = _states(encoder, backbone)
    try:
        names = _attach(published, encoder)
    except XstiltsError as error:
        found = "; ".join(str(problem) for problem in error.problems)
        return (*fits, numbers, Check("shapes", "unsafe", found, "it cannot be attached"))
    tensors, shapes = _tensors(published, names), _shapes(published, encoder, names)
    if any(check.verdict == "unsafe" for check in (tensors, shapes)):
        return (*fits, numbers, tensors, shapes)
    sizes, of = of_weights(published, base), "weights"
    _load(published, encoder, names)
    if sizes is None:
        with of_states(encoder, names) as sizes:
            after, of = _states(encoder, backbone), "states"
    else:
        after = _states(encoder, backbone)
    return (*fits, numbers, tensors, shapes, _deltas(sizes, of), _probe(before, after))


# ---------------------------------------------------------------------------------------------------- does it fit?


def _layers(published: Published, backbone: Backbone) -> Check:
    if published.layers == backbone.layers:
        return Check("layers", "ok", str(published.layers))
    found = f"made for {published.layers} layers, the backbone has {backbone.layers}"
    return Check("layers", "unsafe", found, "made for another backbone, or a part of it is missing")


def _hidden(published: Published, encoder: XLMRobertaModel) -> Check:
    size = encoder.config.hidden_size
    declared = published.origin.hidden_size
    if published.hidden != size:
        found = f"made for states of {published.hidden} units, the backbone has {size}"
        return Check("hidden size", "unsafe", found, "made for another backbone")
    if declared not in (None, size):
        found = f"its configuration declares {declared} units, its tensors have {size}"
        return Check("hidden size", "unsafe", found, "the configuration belongs to another module")
    return Check("hidden size", "ok", str(size))


def _numbers(published: Published) -> Check:
    heads = published.head.tensors if published.head else {}
    unsound = [name for name, tensor in {**heads, **published.tensors}.items() if not tensor.isfinite().all()]
    if unsound:
        found = f"NaN or infinity in {len(unsound)} tensors, such as {sorted(unsound)[0]}"
        return Check("numbers", "unsafe", found, "every prediction would be void")
    return Check("numbers", "ok", "all finite")


def _attach(published: Published, encoder: XLMRobertaModel) -> dict[str, str]:
    """Attach an empty module of the method; returns its stored name → parameter name."""
    method = load_method(published.method.kind)
    method.attach(encoder, NAME, method.Options.model_validate(published.method.options))
    return method.names(encoder, NAME)


def _tensors(published: Published, names: dict[str, str]) -> Check:
    missing, over = names.keys() - published.tensors.keys(), published.tensors.keys() - names.keys()
    parts = [
        f"{what} {len(some)}, such as {sorted(some)[0]}"
        for what, some in (("lacks", missing), ("has unexpected", over))
        if some
    ]
    if parts:
        return Check("tensors", "unsafe", "; ".join(parts), "a library would keep random weights in their place")
    return Check("tensors", "ok", f"all {len(names)} that the method has, and no other")


def _shapes(published: Published, encoder: XLMRobertaModel, names: dict[str, str]) -> Check:
    unlike = [
        f"{stored} is {tuple(published.tensors[stored].shape)}, not {tuple(encoder.get_parameter(name).shape)}"
        for stored, name in sorted(names.items())
        if stored in published.tensors and published.tensors[stored].shape != encoder.get_parameter(name).shape
    ]
    if unlike:
        return Check("shapes", "unsafe", f"{len(unlike)} differ: {unlike[0]}", "made for another backbone or method")
    return Check("shapes", "ok", "those of the backbone")


# ------------------------------------------------------------------------------------------------- what does it do?


def _load(published: Published, encoder: XLMRobertaModel, names: dict[str, str]) -> None:
    import torch

    with torch.no_grad():
        for stored, name in names.items():
            encoder.get_parameter(name).copy_(published.tensors[stored])
    load_method(published.method.kind).activate(encoder, ((NAME,),))


def _states(encoder: XLMRobertaModel, backbone: Backbone) -> Tensor:
    """Last hidden states of the probe, all tokens one after the other: (tokens, hidden)."""
    import torch

    tokenizer = load_tokenizer(backbone)
    with torch.no_grad():
        rows = [torch.tensor([tokenizer.encode(text).ids[: backbone.positions]]) for text in SENTENCES]
        return torch.cat([encoder(input_ids=row).last_hidden_state[0] for row in rows])


def _deltas(sizes: dict[str, float], of: str) -> Check:
    """Compare the relative sizes of a module's parts, by the names of those parts, with the bounds."""
    if not sizes:
        return Check("deltas", "ok", "changes nothing of the encoder")
    large, exploded = BOUNDS[of]
    silent = [name for name, size in sizes.items() if size <= SILENT]
    most = max(sizes, key=lambda name: sizes[name])
    found = f"{min(sizes.values()):.2g} to {sizes[most]:.2g} of the {of} it changes; most: {most}"
    if len(silent) == len(sizes):
        return Check("deltas", "warning", "zero everywhere", "it was never trained, or not saved: it changes nothing")
    if not sizes[most] < exploded:
        return Check(
            "deltas", "unsafe", found, f"above {exploded:g} it drowns the backbone: damaged, or wrongly scaled"
        )
    if sizes[most] > large:
        return Check("deltas", "warning", found, f"above {large:g} it outweighs the backbone; check its scaling")
    if silent:
        found = f"{found}; zero in {len(silent)} of {len(sizes)}, such as {silent[0]}"
        return Check("deltas", "note", found, "these parts were not trained")
    return Check("deltas", "ok", found)


def _probe(before: Tensor, after: Tensor) -> Check:
    if not after.isfinite().all():
        return Check("probe", "unsafe", "the last states are not finite", "every prediction would be void")
    change = float((after - before).norm() / before.norm())
    found = f"changes the last states of {len(before)} tokens in {len(SENTENCES)} languages by {change:.1%}"
    return Check("probe", "ok", found)
