"""Does convmill train the notebook's net to the accuracy that Keras reaches? Several seeds of each.

    python -m benchmarks.accuracy [--seeds 5] [--epochs 5] [--engines convmill keras-tensorflow]

Each training is a process of its own with its own seed: the net's initial weights, the order of
the images, five epochs of RMSprop at batch 64, then the accuracy on MNIST's 10,000 test images.
Printed are every seed's accuracy and, for each engine, the mean with Student's 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess

from benchmarks.peers import PEERS, ROOT, Peer, worker_environment

# Student's t for 95 %, two-sided, by degrees of freedom (any statistical table).
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def train_once(seed: int, epochs: int, accelerate: bool) -> None:
    """Train and print accuracy and loss on the test images as one line of JSON."""
    import keras

    from benchmarks.images import load, one_hot
    from benchmarks.nets import NETS
    from benchmarks.workers import keras_nets

    net = NETS["notebook"]
    images = load(net, "float32")
    keras.utils.set_random_seed(seed)
    model = keras_nets.build(net)
    model.compile(keras_nets.optimizer(net), "categorical_crossentropy", metrics=["accuracy"])
    if accelerate:
        import convmill

        model = convmill.accelerate(model, strict=True)
    x, y = images.x, one_hot(images.labels, net.classes)
    model.fit(x, y, batch_size=net.batch, epochs=epochs, verbose=0)
    loss, accuracy = model.evaluate(
        images.x_test, one_hot(images.labels_test, net.classes), verbose=0
    )
    print(json.dumps({"accuracy": accuracy, "loss": loss, "images": images.source}))


def run(peer: Peer, seed: int, epochs: int, threads: int) -> dict[str, float]:
    """One training in a process of its own."""
    command = [str(peer.executable()), "-m", "benchmarks.accuracy", "--train-once", str(seed)]
    command += ["--epochs", str(epochs)]
    if peer.options.get("accelerate"):
        command.append("--accelerate")
    done = subprocess.run(
        command, cwd=ROOT, env=worker_environment(peer, threads), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{peer.name}, seed {seed} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def interval(values: list[float]) -> float:
    """Half the width of Student's 95 % interval of the mean."""
    if len(values) < 2:
        return math.inf
    degrees = min(len(values) - 1, len(STUDENT))
    return STUDENT[degrees - 1] * statistics.stdev(values) / math.sqrt(len(values))


def main() -> None:
    """Train with every engine and seed in turn; print as they come, and the intervals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engines", nargs="+", default=["convmill", "keras-tensorflow"])
    parser.add_argument("--train-once", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--accelerate", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_once is not None:
        train_once(options.train_once, options.epochs, options.accelerate)
        return
    found: dict[str, list[float]] = {name: [] for name in options.engines}
    for seed in range(options.seeds):
        for name, accuracies in found.items():
            result = run(PEERS[name], seed, options.epochs, options.threads)
            accuracies.append(result["accuracy"])
            print(f"seed {seed}, {name}: {result['accuracy']:.4f} ({result['images']})", flush=True)
    for name, values in found.items():
        mean, half = statistics.mean(values), interval(values)
        print(f"{name}: {mean:.4f} +- {half:.4f} (95 % interval of the mean, n = {len(values)})")


if __name__ == "__main__":
    main()
