"""Records tests/golden/flower.json: what the servers of Flower 1.42 make of given moves of the clients.

pip install flwr==1.42.0 && python tests/golden/record_flower.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as strategies
from flwr.supercore.task_identity import TaskIdentity

HYPER = {"lr": 0.3, "betas": [0.7, 0.85], "eps": 0.02}


def main() -> None:
    """Six rounds of three clients, in float64."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    random = np.random.default_rng(11)
    moves = random.normal(size=(6, 3, 4))
    init = random.normal(size=4)
    adaptive = {"eta": 0.3, "eta_l": 1.0, "beta_1": 0.7, "beta_2": 0.85, "tau": 0.02}
    runs = {
        "adam": strategies.FedAdam(**adaptive),
        "yogi": strategies.FedYogi(**adaptive),
        "adagrad": strategies.FedAdagrad(eta=0.3, eta_l=1.0, tau=0.02),
        "momentum": strategies.FedAvgM(server_learning_rate=0.7, server_momentum=0.6),
    }
    found = {name: run(strategy, init, moves) for name, strategy in runs.items()}
    place = Path(__file__).with_name("flower.json")
    place.write_text(
        json.dumps({"init": init.tolist(), "moves": moves.tolist(), "hyper": HYPER, "runs": found}, indent=1)
    )


def run(strategy: strategies.FedAvg, x: np.ndarray, moves: np.ndarray) -> list[list[float]]:
    """The models after each round."""
    found = []
    for number, each in enumerate(moves, start=1):
        strategy.current_arrays = {"x": x} if hasattr(strategy, "tau") else ArrayRecord({"x": Array(x)})
        replies = []
        for node, move in enumerate(each, start=1):
            sent = Message(RecordDict(), dst_node_id=node, message_type="train")
            content = RecordDict({
                "arrays": ArrayRecord({"x": Array(x + move)}), "metrics": MetricRecord({"num-examples": 1}),
            })  # fmt: skip
            replies.append(Message(content, reply_to=sent))
        arrays, _ = strategy.aggregate_train(number, replies)
        assert arrays is not None
        x = arrays["x"].numpy()
        found.append(x.tolist())
    return found


if __name__ == "__main__":
    main()
