"""Writes small_keras.json: bench/models/mobilenet_small.json and its dense twin by Keras in float32 on TensorFlow, from
the hash's weights: losses of STEPS steps of Adam, the moving averages behind them, and what it then says of test digits.

    python3 make_small_keras.py > small_keras.json
    python3 make_small_keras.py FOLDER      leaves the weights there, too: keras-MODEL.keras, .weights.h5 and .npz
    python3 make_small_keras.py --predict FILE...    what a model says with the weights of each file MODEL.ENDING

The 400 of tests/data/mnist in their order, BATCH a step, again and again. The rate is such that rounding
does not grow much: of batches of 20 at a rate of 0.001 Keras's own losses in float32 and float64 come to differ by 1.5e-2, at
0.0001 by 1.1e-4. Keras: pip install keras==3.15.1 tensorflow-cpu==2.21.0.
"""
import gzip
import json
import os
import sys

from make_graphs_keras import digits, keras, numpy, tensorflow, weight

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS, STEPS, BATCH, RATE, TESTED = ("mobilenet_small", "mobilenet_small_dense"), 20, 200, 1e-4, 20


def idx(name):
    with gzip.open(os.path.join(HERE, "..", "..", "data", "mnist", name + ".gz")) as f:
        data = f.read()
    return numpy.frombuffer(data, "u1", offset=4 + 4 * data[3]).reshape(numpy.frombuffer(data, ">i4", data[3], 4))


def images(kind, rows):
    return (idx(kind + "-images-idx3-ubyte")[rows] / numpy.float32(255))[..., None].astype("f4")


def network(name):
    with open(os.path.join(HERE, "..", "..", "..", "bench", "models", name + ".json"), encoding="utf-8") as f:
        return keras.models.model_from_json(f.read())


def outputs(net):
    return digits(net(images("t10k", slice(TESTED)), training=False))


def trained(name, folder):
    net, method, losses = network(name), keras.optimizers.Adam(RATE, epsilon=1e-7), []
    net.set_weights([weight(i, w) for i, w in enumerate(net.weights)])
    for step in range(STEPS):
        rows = numpy.arange(step * BATCH, (step + 1) * BATCH) % 400
        x, y = images("train", rows), idx("train-labels-idx1-ubyte")[rows]
        with tensorflow.GradientTape() as tape:
            loss = tensorflow.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, net(x, training=True)))
        method.apply(tape.gradient(loss, net.trainable_weights), net.trainable_weights)
        losses.append(float(loss))
    result = {"model": name, "losses": digits(losses),
              "moving": [digits(w) for w in net.non_trainable_weights], "outputs": outputs(net)}
    if folder:
        begin = os.path.join(folder, "keras-" + name)
        net.save(begin + ".keras")
        net.save_weights(begin + ".weights.h5")
        numpy.savez(begin + ".npz", **{w.path: w.numpy() for w in net.weights})
    return result


def predicted(path):
    net = network(os.path.basename(path).split(".")[0])
    if path.endswith(".keras"):
        net = keras.saving.load_model(path, compile=False)
    elif path.endswith(".h5"):
        net.load_weights(path)
    else:
        with numpy.load(path) as file:
            net.set_weights([file[name] for name in file.files])
    return outputs(net)


if sys.argv[1:2] == ["--predict"]:
    print(json.dumps([predicted(path) for path in sys.argv[2:]]))
else:
    cases = [trained(name, sys.argv[1] if sys.argv[1:] else None) for name in MODELS]
    text = json.dumps({"keras": keras.__version__, "steps": STEPS, "batch": BATCH, "tested": TESTED, "cases": cases},
                      separators=(",", ":"))
    print(text.replace('{"model":', '\n{"model":'))
