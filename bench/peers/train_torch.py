#!/usr/bin/python3
"""What an epoch of the article's two networks takes in PyTorch on this CPU: the yardstick for `sepbench train`.

    bench/peers/train_torch.py [--data data/mnist] [--epochs 2] [--threads 2] [--out FILE.csv [--append]]

The same networks, Adam (0.001, epsilon 1e-7), batch 250, 48,000 shuffled images, all data in memory as float32 before
the clock starts, validation excluded; each model in both memory layouts, of which the faster is the yardstick. PyTorch
picks its convolutions (oneDNN). Debian: apt install python3-torch.
"""
import argparse
import csv
import gzip
import os
import statistics
import sys
import time

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as missing:
    sys.exit("train_torch.py: %s: apt install python3-torch" % missing)

COLUMNS = ["model", "impl", "layout", "threads", "epoch", "loss", "accuracy", "epoch_s", "images_per_s", "quiet_s"]


def idx(folder, name, offset):
    path = os.path.join(folder, name)
    opener = open if os.path.exists(path) else gzip.open
    try:
        with opener(path if opener is open else path + ".gz", "rb") as f:
            return np.frombuffer(f.read(), np.uint8, offset=offset)
    except OSError as e:
        sys.exit("train_torch.py: %s: %s" % (path, e.strerror))


class Separable(nn.Sequential):
    def __init__(self, channels, filters):
        super().__init__(nn.Conv2d(channels, channels, 3, groups=channels, bias=False), nn.Conv2d(channels, filters, 1))


def network(model):
    conv = (lambda c, f: nn.Conv2d(c, f, 3)) if model == "conv" else Separable
    return nn.Sequential(
        conv(1, 32), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        conv(32, 64), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(1600, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def train(model, layout, images, labels, epochs, batch, threads):
    torch.manual_seed(1)
    net = network(model)
    if layout == "channels_last":
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, eps=1e-7)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, epochs + 1):
        order, total, correct = torch.randperm(len(images)), 0.0, 0
        start = before = time.perf_counter()
        took = []
        for i in range(0, len(images), batch):
            rows = order[i : i + batch]
            x = images[rows]
            if layout == "channels_last":
                x = x.contiguous(memory_format=torch.channels_last)
            y = labels[rows]
            optimizer.zero_grad()
            out = net(x)
            loss = criterion(out, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            correct += int((out.argmax(1) == y).sum())
            now = time.perf_counter()
            took.append(now - before)
            before = now
        seconds = time.perf_counter() - start
        n = len(images)
        yield [model, "torch", layout, threads, epoch, total / n, correct / n, seconds, n / seconds,
               len(took) * statistics.median(took)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="data/mnist")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", default="conv,separable")
    parser.add_argument("--out", help="CSV file with the columns " + ",".join(COLUMNS))
    parser.add_argument("--append", action="store_true", help="keep what FILE holds: rows of the same session")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    raw = idx(a.data, "train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = torch.tensor(idx(a.data, "train-labels-idx1-ubyte", 8).astype(np.int64))
    kept = int(len(raw) * 0.8)
    images, labels = torch.tensor(raw[:kept].astype(np.float32) / 255), labels[:kept]
    rows = []
    for model in a.model.split(","):
        medians = {}
        for layout in ("channels_first", "channels_last"):
            times = []
            for row in train(model, layout, images, labels, a.epochs, a.batch_size, a.threads):
                rows.append(row)
                times.append(row[7])
            medians[layout] = statistics.median(times)
            print("torch %s %s: %.2f s per epoch" % (model, layout, medians[layout]), flush=True)
    if a.out:
        os.makedirs(os.path.dirname(a.out) or ".", exist_ok=True)
        with open(a.out, "a" if a.append else "w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            if f.tell() == 0:
                writer.writerow(COLUMNS)
            writer.writerows(rows)


main()
