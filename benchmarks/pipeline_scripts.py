"""The two plain scripts of `pipeline.py`: `python -m benchmarks.pipeline_scripts by_hand|our_steps ROUND`."""

from __future__ import annotations

import os
import sys

from benchmarks import by_hand, our_steps


def main(name: str, number: str) -> None:
    """Run the level 1 work once."""
    tracking, gateway = os.environ["BENCHMARK_TRACKING_URI"], os.environ["BENCHMARK_GATEWAY_URL"]
    key, storage = os.environ["BENCHMARK_GATEWAY_KEY"], os.environ["BENCHMARK_STORAGE"]
    if name == "our_steps":
        our_steps.run(storage, tracking, gateway, key, f"round_{number}")
        return
    model = "by_hand_script"
    path = by_hand.extract(f"{storage}/by_hand/script_{number}")
    profile = by_hand.analyze(path, tracking)
    train, validation, test = by_hand.prepare(by_hand.validate_data(path, profile, tracking))
    version = by_hand.train(train, validation, profile, tracking, model)
    by_hand.validate(by_hand.evaluate(test, tracking, model, version), tracking, model, version)
    by_hand.deploy(tracking, gateway, key, model, version)
    by_hand.replay(test, gateway, key, model)
    by_hand.monitor(storage, profile, train, test, tracking, model)


if __name__ == "__main__":
    main(*sys.argv[1:])
