"""Bottlenecks: what the library is told, which layers they leave out, and which of them go together."""

import adapters
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xstilts import fusion
from xstilts.backbone import load_encoder
from xstilts.errors import XstiltsError
from xstilts.methods import bottleneck
from xstilts.methods.bottleneck import left_out, void


def shape(**changes):
    return bottleneck.Options(**{"where": "output", **changes})


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({"where": "output"}, "seq_bn"),
        ({"where": "both", "non_linearity": "swish"}, "double_seq_bn"),
        ({"where": "output", "inverse": True}, "seq_bn_inv"),
        ({"where": "both", "non_linearity": "swish", "inverse": True}, "double_seq_bn_inv"),
    ],
)
def test_bottlenecks_are_the_published_ones(backbone, options, published):
    """But for the initial weights, which are ours."""
    encoder = load_encoder(backbone)
    bottleneck.attach(encoder, "target", bottleneck.Options(reduction=16, **options))
    ours = encoder.adapters_config.get("target").to_dict()
    theirs = adapters.AdapterConfig.load(published).to_dict()
    differing = {name for name in theirs if ours[name] != theirs[name]}
    assert differing <= {"architecture"}, {name: (ours[name], theirs[name]) for name in differing}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": (2,)}, r"the encoder has layers 0 to 1, or -1 to -2 from the top; given '2'"),
        ({"leave_out": (-3,)}, r"the encoder has layers 0 to 1"),
        ({"leave_out": (0, -1)}, r"no layer is left; given '\[-1, 0\]'"),
        ({"reduction": 33}, r"reduction: must be at most 32; given '33'"),
        ({"inverse": True, "inverse_reduction": 17}, r"inverse_reduction: must be at most 16; given '17'"),
    ],
)
def test_options_that_do_not_fit_the_encoder_are_refused(backbone, options, message):
    encoder = load_encoder(backbone)
    with pytest.raises(XstiltsError, match=message):
        bottleneck.attach(encoder, "target", bottleneck.Options(where="output", **options))
    assert not hasattr(encoder, "adapters_config")


@given(st.integers(1, 24), st.sets(st.integers(0, 23)), st.data())
def test_layers_are_counted_from_both_ends(layers, left, data):
    left = {layer for layer in left if layer < layers}
    given_as = tuple(layer - layers if data.draw(st.booleans()) else layer for layer in left)
    options = bottleneck.Options(where="output", leave_out=given_as)
    if len(left) < layers:
        assert left_out(options, layers) == left
    else:
        with pytest.raises(XstiltsError, match="no layer is left"):
            left_out(options, layers)


def test_left_out_layers_have_nothing(backbone):
    encoder = load_encoder(backbone)
    bottleneck.attach(encoder, "target", bottleneck.Options(where="both", leave_out=(-1,)))
    assert {name.split(".")[2] for name in bottleneck.names(encoder, "target")} == {"0"}


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([[shape()]], None),
        ([[shape(inverse=True)], [shape()]], None),
        ([[shape()], [shape(inverse=True)]], "inverse"),
        ([[shape(inverse=True)], [shape(inverse=True)]], "inverse"),
        ([[shape(inverse=True), shape()]], "inverse"),
        ([[shape(inverse=True)], [shape(), shape(reduction=2)], [shape()]], None),
        ([[shape(leave_out=(-1,))], [shape(where="both")]], None),
        ([[shape(leave_out=(-1,)), shape(leave_out=(11,))]], None),
        ([[shape(leave_out=(-1,)), shape()]], "same places"),
        ([[shape(where="both"), shape()]], "same places"),
        ([[shape(where="attention"), shape()]], "same places"),
        ([[shape(reads="raw"), shape()]], "read the same"),
        ([[shape(reads="raw"), shape(reads="raw")]], None),
        ([[shape(leave_out=(-1,)), shape(leave_out=(-1,))], [shape()]], "have no adapter"),
        ([[shape(), shape()], [shape(where="both")]], "have no adapter"),
        ([[shape()], [shape(leave_out=(-1,)), shape(leave_out=(-1,))]], "have no adapter"),
        ([[shape(), shape()], [shape(leave_out=(-1,))]], None),
        ([[shape(where="both"), shape(where="both")], [shape()]], None),
    ],
)
def test_chains_that_the_library_would_not_compute_are_refused(chain, reason):
    found = void(chain, layers=12)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize("chain", [[[shape(leave_out=(12,)), shape()]], [[shape()], [shape(leave_out=(12,))]]])
def test_a_void_chain_of_layers_that_are_not_there_is_an_error(chain):
    with pytest.raises(XstiltsError, match="the encoder has layers 0 to 11"):
        void(chain, layers=12)


def test_a_fusion_over_one_module_is_a_fusion():
    inverse, gap = shape(inverse=True), shape(leave_out=(11,))
    assert void([[inverse], [shape()]], 12) is None and "fused" in void([[inverse], [shape()]], 12, alone=[0])
    assert void([[gap], [shape()]], 12) is None and "no adapter" in void([[gap], [shape()]], 12, alone=[0])
    assert void([[shape()], [shape()]], 12, alone=[1]) is None


@pytest.mark.parametrize("chain", [[("plain",), ("inverse",)], [("inverse",), ("other",)], [("inverse", "other")]])
def test_an_inverse_block_that_would_be_left_out_is_refused(backbone, chain):
    """The library applies that of the first module only, and says nothing of the others."""
    encoder = load_encoder(backbone)
    for name in ("plain", "inverse", "other"):
        bottleneck.attach(encoder, name, shape(inverse=name != "plain"))
    with pytest.raises(XstiltsError, match="only the lowest module can have one"):
        bottleneck.activate(encoder, chain)


def test_the_inverse_block_is_stored_with_its_module(backbone):
    encoder = load_encoder(backbone)
    bottleneck.attach(encoder, "target", bottleneck.Options(where="output", inverse=True))
    inverse = {name for name in bottleneck.names(encoder, "target") if name.startswith("inverse.")}
    maps = ("F.0", "F.2", "G.0", "G.2")
    assert inverse == {f"inverse.{each}.{part}" for each in maps for part in ("weight", "bias")}


def test_what_the_refusal_of_gaps_in_a_fusion_prevents(backbone):
    """If this fails, the library has mended it."""
    encoder = load_encoder(backbone)
    for name in ("a", "b"):
        bottleneck.attach(encoder, name, shape(leave_out=(-1,)))
    bottleneck.attach(encoder, "target", shape())
    fusion.attach(encoder, ("a", "b"))
    bottleneck.activate(encoder, [("a", "b"), ("target",)])
    with pytest.raises(KeyError, match="b"):
        encoder(torch.tensor([[0, 5, 2]]))


def test_no_output_embeddings_undo_an_inverse_block(backbone):
    """The library would register that on a model's own output embeddings."""
    encoder = load_encoder(backbone)
    bottleneck.attach(encoder, "target", shape(inverse=True))
    assert encoder.get_output_embeddings() is None
