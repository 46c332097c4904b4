"""The command line: ``python -m secateur.demo``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from secateur.demo.packages import MissingPackageError
from secateur.demo.settings import Settings, default_sparsity


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """Return the settings that the command line asks for."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m secateur.demo", description=__doc__)
    add = parser.add_argument
    add("--pattern", default=usual.pattern, help="unstructured, or N:M = N KEPT of M")
    add("--sparsity", type=float, help="fraction of the encoder's weights to remove")
    add("--out", type=Path, default=usual.out, help="folder for figures, plots and models")
    cores = min(usual.threads, os.cpu_count() or 1)
    add("--threads", type=int, default=cores, help="of torch and ONNX Runtime alike")
    add("--seed", type=int, default=usual.seed)
    add("--adapt-steps", type=int, default=usual.adapt_steps, help="training of the dense model")
    add("--steps", type=int, default=usual.heal_steps, help="training while and after pruning")
    add("--rounds", type=int, default=usual.rounds, help="timed calls of each model and batch")
    add("--documents", type=int, help="how many test documents; all of them by default")
    given = parser.parse_args(arguments)
    sparsity = default_sparsity(given.pattern) if given.sparsity is None else given.sparsity
    return Settings(
        pattern=given.pattern,
        sparsity=sparsity,
        out=given.out,
        threads=given.threads,
        seed=given.seed,
        adapt_steps=given.adapt_steps,
        heal_steps=given.steps,
        rounds=given.rounds,
        documents=given.documents,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and print what came out; the last line is the summary."""
    settings = parse(arguments)
    try:
        from secateur.demo.packages import require_libraries

        require_libraries()
        from secateur.demo import figures, plots, report, run

        result = run.run(settings)
    except MissingPackageError as error:
        print(error, file=sys.stderr)
        return 1
    figures.write_json(result, settings.out / "figures.json")
    plots.draw(result, settings.out)
    print(report.report(result))
    print(f"\nFigures, plots and both models are in {settings.out}.")
    print(report.last_line(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
