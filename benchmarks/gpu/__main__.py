"""`make gpu`: builds, tests and measures on this machine's GPU; where there is none, says what."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from benchmarks.gpu import cases, int8, packing, stages, table
from secateur.backends import gpus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages and print what became of each; return 0 if all passed."""
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--gpu", default="H100", help="whose predictions a dry run prints")
    parser.add_argument("--only", nargs="*", help="names of stages")
    options = parser.parse_args(arguments)
    here = torch.cuda.is_available() and torch.version.cuda is not None
    if options.dry or not here:
        return _dry(options.gpu, here)
    gpu = gpus.of(0)
    print(f"{gpu.name}, compute capability {gpu.capability}, torch {torch.__version__}\n")
    outcomes = []
    ends = time.monotonic() + stages.WHOLE_S
    for stage in stages.stages(str(gpu.capability)):
        if options.only and stage.name not in options.only:
            continue
        print(f"== {stage.name}: {stage.answers}", flush=True)
        if time.monotonic() + stages.GRACE_S > ends:
            outcomes.append(stages.Outcome(stage, 0.0, "no time was left for it"))
            continue
        outcomes.append(stages.run(stage))
    print("\n" + "\n".join(map(str, outcomes)))
    return int(any(outcome.trouble for outcome in outcomes))


def _dry(name: str, here: bool) -> int:
    gpu = gpus.known(name)
    if gpu is None:
        known = ", ".join(each.name for each in gpus.KNOWN)
        raise SystemExit(f"--gpu: wanted one of {known}, got {name!r}")
    if not here:
        print(
            "There is no CUDA device here: this is what `make gpu` would do where there is one.\n"
        )
    planned = stages.stages(str(gpu.capability))
    print("\n".join(map(stages.told, planned)))
    total = sum(stage.limit_s for stage in planned)
    print(f"\nAt most {total} s of {stages.WHOLE_S}. What it would measure, on {gpu.name}:\n")
    rows = [table.predicted(case, gpu) for case in cases.CASES]
    print(table.text([row for some in rows for row in some]))
    print(f"\nPacking and unpacking of 2:4:\n\n{packing.text(packing.predicted(gpu))}")
    print(f"\nint8 x by int8 2:4:\n\n{int8.text(int8.predicted(gpu))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
