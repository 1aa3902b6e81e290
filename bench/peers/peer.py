"""What the trainings of other programs share: options, data, and the file of times that `sepbench report` reads."""
import argparse
import csv
import gzip
import os
import statistics
import sys
import time
import zlib

import numpy as np

COLUMNS = ["model", "impl", "layout", "threads", "epoch", "loss", "accuracy", "epoch_s", "images_per_s", "quiet_s",
           "batch_size", "test_accuracy"]


def fail(text):
    print("%s: %s" % (os.path.basename(sys.argv[0]), text), file=sys.stderr)
    sys.exit(2)


def at_least(least):
    def whole(text):
        if int(text) < least:
            raise ValueError
        return int(text)

    return whole


def options(doc, least_epochs=1):
    """A parser of the options of all."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--model", default="conv,separable")
    parser.add_argument("--data", default="data/mnist", help="folder of MNIST's four IDX files, plain or .gz")
    parser.add_argument("--epochs", type=at_least(least_epochs), default=3)
    parser.add_argument("--batch-size", type=at_least(1), default=250)
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", help="CSV file with the columns " + ",".join(COLUMNS))
    parser.add_argument("--append", action="store_true", help="keep what FILE holds: rows of the same session")
    return parser


def idx(folder, name):
    path = os.path.join(folder, name)
    opener = open if os.path.exists(path) else gzip.open
    try:
        with opener(path if opener is open else path + ".gz", "rb") as f:
            data = f.read()
    except (OSError, EOFError, zlib.error) as e:
        fail("%s: %s" % (path, getattr(e, "strerror", None) or e))
    rank = data[3] if len(data) > 3 else 0
    try:
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(np.frombuffer(data, ">i4", rank, 4))
    except ValueError:
        fail("%s: no IDX file of bytes" % path)


def load(folder):
    """Images (N, 28, 28) of 0 to 1 and labels: the four fifths of MNIST that are trained on, and the test set."""
    sets = []
    for kind in "train", "t10k":
        images, labels = idx(folder, kind + "-images-idx3-ubyte"), idx(folder, kind + "-labels-idx1-ubyte")
        if labels.shape != images.shape[:1]:
            fail("%s: %s: not a label for each image" % (folder, kind))
        sets.append((images.astype(np.float32) / 255, labels.astype(np.int64)))
    kept = int(len(sets[0][0]) * 0.8)
    return tuple(part[:kept] for part in sets[0]), sets[1]


class Clock:
    """Times the steps of an epoch, without what comes between epochs."""

    def __init__(self, images):
        self.images, self.took = images, []
        self.start = self.before = time.perf_counter()

    def step(self):
        now = time.perf_counter()
        self.took.append(now - self.before)
        self.before = now

    def columns(self):
        """epoch_s, images_per_s, quiet_s"""
        seconds = self.before - self.start
        return [seconds, self.images / seconds, len(self.took) * statistics.median(self.took)]


def report(name, rows):
    """One line about a training; rows as in COLUMNS."""
    print("%s %s %s: %.2f s per epoch, test accuracy %.4f after %d" % (
        name, rows[-1][0], rows[-1][2], statistics.median(row[9] for row in rows), rows[-1][11], len(rows)), flush=True)


def table(a):
    """Writer of a.out's rows, each in the file at once."""
    try:
        if a.out:
            os.makedirs(os.path.dirname(a.out) or ".", exist_ok=True)
        file = open(a.out or os.devnull, "a+" if a.append else "w+", buffering=1, newline="")
        file.seek(0)
        header = next(csv.reader(file), None)
    except OSError as e:
        fail("%s: %s" % (a.out, e.strerror))
    if header not in (None, COLUMNS):
        fail("%s: --append needs its columns to be %s" % (a.out, ",".join(COLUMNS)))
    writer = csv.writer(file, lineterminator="\n")
    if header is None:
        writer.writerow(COLUMNS)
    return writer
