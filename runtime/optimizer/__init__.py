"""The torch optimizer: groups of parameters, hyperparameters, checkpoints, steps that are replayed."""

from dotopt.runtime.optimizer.base import Optimizer as Optimizer
