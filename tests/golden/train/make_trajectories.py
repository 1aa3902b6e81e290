#!/usr/bin/python3
"""Losses of the first 20 training steps of both networks, in float64, by PyTorch's autograd.

    /usr/bin/python3 tests/golden/train/make_trajectories.py > tests/golden/train/trajectories.json

No dropout, the first 400 digits of tests/data/mnist in their order, 20 a step; weights from the formula below, which
tests/test_train_golden.c has too. The optimizers are Keras's, written out: its Adam's epsilon is "epsilon hat",
lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t), w -= lr_t * m / (sqrt(v) + epsilon), which is not torch.optim.Adam; RMSprop's is within the root.
Debian: apt install python3-torch.
"""
import gzip
import json
import math
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "data", "mnist")
STEPS, BATCH = 20, 20


def idx(name):
    with gzip.open(os.path.join(DATA, name + ".gz")) as f:
        data = f.read()
    rank = data[3]
    shape = struct.unpack(">%dI" % rank, data[4 : 4 + 4 * rank])
    return np.frombuffer(data[4 + 4 * rank :], np.uint8).reshape(shape)


def noise(stream, count):
    """Reproducible numbers in [-0.5, 0.5): an integer hash of (stream, element)."""
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + stream * 40503 + 1) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    x = (x * 3266489917) & 0xFFFFFFFF
    x ^= x >> 16
    return x.astype(np.float64) / 2.0**32 - 0.5


def weight(stream, shape):
    """Glorot uniform by the hash; biases within +-0.05. Rounded to float32, as the program stores them."""
    fan_in = int(np.prod(shape[:-1]))
    fan_out = int(np.prod(shape[:-2])) * shape[-1] if len(shape) > 1 else 0
    limit = 0.05 if len(shape) == 1 else math.sqrt(6 / (fan_in + fan_out))
    w = (noise(stream, int(np.prod(shape))) * 2 * limit).astype(np.float32).astype(np.float64)
    return torch.tensor(w.reshape(shape), requires_grad=True)


SHAPES = {
    "conv": [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (1600, 256), (256,), (256, 10), (10,)],
    "separable": [(3, 3, 1, 1), (1, 1, 1, 32), (32,), (3, 3, 32, 1), (1, 1, 32, 64), (64,), (1600, 256), (256,), (256, 10), (10,)],
}


def conv(x, w):  # Keras's HWIO
    return F.conv2d(x, w.permute(3, 2, 0, 1))


def depthwise(x, w):  # HWCM, M = 1
    return F.conv2d(x, w.permute(2, 3, 0, 1), groups=w.shape[2])


def forward(model, w, x):
    w = list(w)
    for _ in range(2):
        if model == "conv":
            x = conv(x, w.pop(0))
        else:
            x = conv(depthwise(x, w.pop(0)), w.pop(0))
        x = F.max_pool2d(F.relu(x + w.pop(0).reshape(1, -1, 1, 1)), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    x = F.relu(x @ w.pop(0) + w.pop(0))
    return x @ w.pop(0) + w.pop(0)


def adam(w, g, s, t, lr=0.001, b1=0.9, b2=0.999, epsilon=1e-7):
    m = s.setdefault("m", torch.zeros_like(w))
    v = s.setdefault("v", torch.zeros_like(w))
    m.mul_(b1).add_(g, alpha=1 - b1)
    v.mul_(b2).add_(g * g, alpha=1 - b2)
    lr_t = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
    w.sub_(lr_t * m / (v.sqrt() + epsilon))


def sgd(w, g, s, t, lr=0.05, momentum=0.9, nesterov=True):
    v = s.setdefault("v", torch.zeros_like(w))
    v.mul_(momentum).sub_(lr * g)
    w.add_(momentum * v - lr * g if nesterov else v)


def rmsprop(w, g, s, t, lr=0.001, rho=0.9, epsilon=1e-7):
    a = s.setdefault("a", torch.zeros_like(w))
    a.mul_(rho).add_((1 - rho) * g * g)
    w.sub_(lr * g / (a + epsilon).sqrt())


def trajectory(model, update):
    images, labels = idx("train-images-idx3-ubyte"), idx("train-labels-idx1-ubyte")
    w = [weight(i, s) for i, s in enumerate(SHAPES[model])]
    state, losses = [{} for _ in w], []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        x = torch.tensor((images[rows].astype(np.float32) / np.float32(255)).astype(np.float64)).unsqueeze(1)
        loss = F.cross_entropy(forward(model, w, x), torch.tensor(labels[rows].astype(np.int64)))
        losses.append(loss.item())
        grads = torch.autograd.grad(loss, w)
        with torch.no_grad():
            for p, g, s in zip(w, grads, state):
                update(p, g, s, step + 1)
    return losses


CASES = [
    ("adam", adam),
    ("sgd:learning_rate=0.05,momentum=0.9,nesterov=true", sgd),
    ("rmsprop", rmsprop),
]
result = [
    {"model": model, "optimizer": name, "losses": trajectory(model, update)}
    for model in SHAPES
    for name, update in CASES
]
json.dump({"torch": torch.__version__, "steps": STEPS, "batch": BATCH, "cases": result}, sys.stdout, indent=1)
print()
