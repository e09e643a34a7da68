"""A model before training, and what of it is saved and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from transformers import BertModel

from ctxpack.errors import ModelError
from ctxpack.scoring.segments import Segment
from ctxpack.train.device import fast_bfloat16
from ctxpack.train.joint import JointEncoder, Mini
from ctxpack.train.model import PRIOR, Encoder, Head
from ctxpack.train.step import Rarity, Swift


def fresh(
    base: Path,
    rarity: Rarity,
    frozen_layers: int,
    *,
    joint: bool = False,
    head: type[Head] = Head,
) -> Swift:
    """Return an untrained model on a base encoder, on torch's default device.

    `start_projections` is the next step.

    Args:
        base: directory of the base model.
        rarity: word keys to rarity.
        frozen_layers: see `FitSettings`.
        joint: whether it reads query and segment together, as ctxpack-mini.
        head: the kind of its head.
    """
    device = torch.get_default_device()
    bert = BertModel.from_pretrained(
        base,
        add_pooling_layer=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # On a CPU the fused kernel is slower than plain products at 32 dimensions a head.
        attn_implementation="eager" if device.type == "cpu" else "sdpa",
    )
    for part in (bert.embeddings, *bert.encoder.layer[:frozen_layers]):
        part.requires_grad_(False)
    encoder = (JointEncoder if joint else Encoder)(bert).to(device)
    # Vectors of texts that were read together say nothing of each text alone.
    light = head(0.0 if joint else PRIOR).to(device)
    torch.nn.init.constant_(light.span_out.bias, -3.0)
    torch.nn.init.constant_(light.segment_out.bias, -2.0)
    bfloat16 = partial(torch.autocast, device.type, dtype=torch.bfloat16)
    autocast = bfloat16 if fast_bfloat16(device) else nullcontext
    return (Mini if joint else Swift)(encoder, light, rarity, autocast)


def start_projections(swift: Swift, segments: Sequence[Segment]) -> None:
    """Set both projections to the first principal directions of the base's hidden states.

    So the untrained model already has most of the base's cosines.
    """
    with torch.no_grad():
        states = [
            swift.encoder.base(torch.as_tensor(segment.ids)[None]).last_hidden_state[0]
            for segment in segments
        ]
        directions = torch.linalg.svd(torch.cat(states), full_matrices=False).Vh
        for projection in (swift.encoder.segment, swift.encoder.query):
            projection.weight.copy_(directions[: projection.out_features])


def weights_of(swift: Swift) -> dict[str, torch.Tensor]:
    """Return what was trained, by name."""
    modules: tuple[tuple[str, torch.nn.Module], ...] = (
        ("encoder", swift.encoder),
        ("head", swift.head),
    )
    return {
        f"{part}.{name}": weight.detach()
        for part, module in modules
        for name, weight in module.named_parameters()
        if weight.requires_grad or not name.startswith("base.")
    }


def load_weights(swift: Swift, weights: dict[str, torch.Tensor]) -> None:
    """Put trained weights into a model on the same base."""
    for part, module in (("encoder", swift.encoder), ("head", swift.head)):
        own = {
            name.removeprefix(f"{part}."): weight
            for name, weight in weights.items()
            if name.startswith(f"{part}.")
        }
        missing, unexpected = module.load_state_dict(own, strict=False)
        # A joint model that starts from the weights of ctxpack-swift has a vector more.
        if unexpected or any(not name.startswith(("base.", "asking")) for name in missing):
            raise ModelError(f"checkpoint: missing {missing!r}, unexpected {unexpected!r}")


def trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the weights of a module that are not frozen."""
    return [weight for weight in module.parameters() if weight.requires_grad]
