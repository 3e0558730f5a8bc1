"""Put what a network of simulation alone scores beside the scores of one that saw real stacks too.

    calzoo train axons -o ALONE                       (no --data: simulated stacks are all it learns from)
    calzoo evaluate ALONE ; calzoo evaluate ALONE --data LAW.py --data TRAILMAP
    python benchmarks/axon_alone.py ALONE RUN

Each score of ALONE goes into the card of RUN, as that of a network of simulation alone with so many steps.
Refused if ALONE has learnt from other data.
"""

import argparse
from dataclasses import replace

from calzoo.training.runs import load_run, save_scores


def alone_scores(run):
    """Return the scores of a run that has learnt from simulation alone, said so in their protocol."""
    others = [source for source in run.sources if source != "simulation"]
    if (run.path / "init.json").exists():
        others.append("what the network that it began from saw")
    if others:
        message = f"{run.path}: expected a network of simulation alone, it knows {', '.join(others)}"
        raise SystemExit(message)
    if not run.scores:
        message = f"{run.path}: expected scores, found none; run 'calzoo evaluate' on it first"
        raise SystemExit(message)
    steps = run.ledger["steps"]
    return [
        replace(score, protocol=f"{score.protocol}; a network of simulation alone, {steps:,} steps")
        for score in run.scores
    ]


def main():
    """Write the scores, and print one line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("alone", metavar="ALONE")
    parser.add_argument("run", metavar="RUN")
    args = parser.parse_args()
    scores = alone_scores(load_run(args.alone))
    save_scores(load_run(args.run), scores)
    for score in scores:
        print(f"{score.data}; {score.protocol}: {score.metric} {score.value:g}")


if __name__ == "__main__":
    main()
