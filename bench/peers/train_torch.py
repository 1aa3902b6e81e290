#!/usr/bin/python3
"""What an epoch of the article's two networks takes in PyTorch on this CPU: the yardstick for `sepbench train`.

    bench/peers/train_torch.py [--data data/mnist] [--epochs 3] [--threads 2] [--out FILE.csv [--append]]

The same networks, Adam (0.001, epsilon 1e-7), batch 250, 48,000 shuffled images, all data in memory as float32 before
the clock starts, validation excluded; each model in both memory layouts, of which the faster is the yardstick. PyTorch
picks its convolutions (oneDNN). Debian: apt install python3-torch.
"""
import sys

try:
    import torch
    from torch import nn

    import peer
except ImportError as missing:
    sys.exit("train_torch.py: %s: apt install python3-torch" % missing)

NAME = "PyTorch " + torch.__version__


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


def tensors(part):
    return torch.tensor(part[0]).unsqueeze(1), torch.tensor(part[1])


def train(a, model, layout, train_set, test_set):
    torch.manual_seed(1)
    net = network(model)
    if layout == "channels_last":
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, eps=1e-7)
    criterion = nn.CrossEntropyLoss()
    images, labels = train_set
    n, rows = len(images), []
    for epoch in range(1, a.epochs + 1):
        order, total, correct = torch.randperm(n), 0.0, 0
        clock = peer.Clock(n)
        for i in range(0, n, a.batch_size):
            batch = order[i : i + a.batch_size]
            x = images[batch]
            if layout == "channels_last":
                x = x.contiguous(memory_format=torch.channels_last)
            y = labels[batch]
            optimizer.zero_grad()
            out = net(x)
            loss = criterion(out, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            correct += int((out.argmax(1) == y).sum())
            clock.step()
        rows.append([model, NAME, layout, a.threads, epoch, total / n, correct / n] + clock.columns()
                    + [a.batch_size, ""])
    net.eval()
    with torch.no_grad():
        right = sum(int((net(x).argmax(1) == y).sum()) for x, y in zip(*(t.split(a.batch_size) for t in test_set)))
    rows[-1][-1] = right / len(test_set[1])
    return rows


def main():
    a = peer.options(__doc__).parse_args()
    models, table = a.model.split(","), peer.table(a)
    for model in models:
        if model not in ("conv", "separable"):
            peer.fail("--model: '%s': conv or separable" % model)
    torch.set_num_threads(a.threads)
    train_set, test_set = (tensors(part) for part in peer.load(a.data))
    for model in models:
        for layout in ("channels_first", "channels_last"):
            rows = train(a, model, layout, train_set, test_set)
            table.writerows(rows)
            peer.report(NAME, rows)


main()
