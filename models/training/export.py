"""A run → a model file that `mostream --model` reads, and its rows for the card (`models/README.md`).

The averaged weights, as f16 safetensors in DINO's layout; what is not trained is zero. `--with FILE` writes the mean of
these and of the file that the run began from, which may keep more of what was learnt before (Wortsman et al., Robust
fine-tuning of zero-shot models, CVPR 2022); `check.py` says whether it does.
"""

import argparse
import json
import os
from dataclasses import Field, fields
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

import vit
from losses import Weights
from scenes import Mix


def exported(state: dict[str, Tensor], measures: vit.Measures, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of the file. Fails where a number is not finite, or is not in this precision."""
    tensors = {}
    for name, tensor in state.items():
        tensor = tensor.float().clone()
        if vit.is_unused(name, measures):
            tensor.zero_()
        if name.startswith(f"blocks.{measures.depth - 1}.attn.qkv"):
            tensor[2 * measures.dim :] = 0  # the values
        tensors[name] = tensor.to(dtype).contiguous()
        if not torch.isfinite(tensors[name]).all():
            raise SystemExit(f"tensor {name} holds a number that is not finite as {dtype}: nothing is written")
    return tensors


def mean_with(state: dict[str, Tensor], measures: vit.Measures, file: Path) -> dict[str, Tensor]:
    other = vit.load(file)
    if other.measures != measures:
        raise SystemExit(f"{file}: its model is {other.measures}, the run's is {measures}")
    return {name: (state[name].float() + tensor) / 2 for name, tensor in other.state_dict().items()}


def card(log: Path, other: Path | None) -> str:
    """What the log says of the run, as rows of a table."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    starts = [entry for entry in entries if entry.get("event") == "start"]
    last = next(entry for entry in reversed(entries) if "views" in entry)
    start = starts[-1]
    chosen = start["settings"]
    sizes = ", then ".join("/".join(map(str, stage)) for stage in chosen["sizes"])

    def values(names: tuple[Field, ...]) -> str:
        return ", ".join(f"{field.name.replace('_', ' ')} {chosen[field.name]:g}" for field in names)

    rows = {
        "from": Path(chosen["init"]).name if chosen["init"] else "random weights",
        "photos": f"{start['photos']} of {Path(chosen['pool']).name}, quality from {chosen['min_quality']}",
        "training": f"{last['seconds'] / 60:.0f} min, {last['views']} views, {sizes} px; {start['device']}, "
        f"{chosen['precision']}; {chosen['optimizer']}, rate {chosen['lr']}, cosine, EMA {chosen['average']}; "
        f"seed {chosen['seed']}; PyTorch {start['torch']}"
        + (f"; gone on with {len(starts) - 1} times" if starts[1:] else ""),
        "scenes": values(fields(Mix)),
        "losses": values(fields(Weights)),
        "frozen": f"the first {chosen['freeze']} blocks" if chosen["freeze"] else "nothing",
    }
    if other:
        rows["weights"] = f"mean of the run's and of {other.name}"
    return "\n".join(f"| {name} | {text} |" for name, text in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of train.py")
    parser.add_argument("model", type=Path, help="the .safetensors file to write")
    parser.add_argument("--with", dest="other", type=Path, help="write the mean of the run's weights and of this file's")
    parser.add_argument("--f32", action="store_true", help="single precision, twice as large")
    arguments = parser.parse_args()
    state = torch.load(arguments.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    measures = vit.Measures(**state["measures"])
    weights = mean_with(state["average"], measures, arguments.other) if arguments.other else state["average"]
    tensors = exported(weights, measures, torch.float32 if arguments.f32 else torch.float16)
    metadata = {name: str(getattr(measures, name)) for name in ("patch", "dim", "heads", "depth")}
    metadata |= {name: ",".join(map(str, value)) for name, value in (("mean", vit.MEAN), ("std", vit.STD))}
    partial = arguments.model.with_suffix(".partial")
    partial.write_bytes(save(tensors, metadata={"architecture": "dino-vit", **metadata}))
    os.replace(partial, arguments.model)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    print(f"{arguments.model}: {parameters} parameters, {arguments.model.stat().st_size / 1e6:.1f} MB\n")
    print(card(arguments.run / "log.jsonl", arguments.other))


if __name__ == "__main__":
    main()
