#!/usr/bin/python3
"""The article's experiment in Keras 3 on TensorFlow, on this CPU: the same models, data and options as `sepbench train`.

    bench/peers/train_keras.py [--data data/mnist] [--epochs 3] [--threads 2] [--out FILE.csv [--append]]
    bench/peers/train_keras.py --model conv --load start.npz --save end.npz --epochs 1

Models are conv, separable, or a Sequential's JSON of Keras 2 or 3. Adam (0.001, epsilon 1e-7), batch 250, 48,000
shuffled images by model.fit, all data in memory as float32 before the clock starts, no validation. TF_ENABLE_ONEDNN_OPTS
is TensorFlow's own variable. At the start of some epochs TensorFlow 2.21 waits up to 5 s with idle cores: epoch_s has
that, quiet_s has not. Weights go both ways: `sepbench train --weights-in` reads what --save wrote, --load what
`--weights-out` wrote, .npz and Keras's own .weights.h5, .keras and .h5; --epochs 0 only tests them, here and there. Keras: pip install tensorflow-cpu.
"""
import json
import os
import sys
import zipfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
try:
    import keras
    import numpy as np
    import tensorflow as tf

    import peer
except ImportError as missing:
    sys.exit("train_keras.py: %s: pip install tensorflow-cpu" % missing)

ONEDNN = {"0": ", oneDNN off", "1": ", oneDNN on"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), "")
NAME = "Keras %s (TensorFlow %s%s)" % (keras.__version__, tf.__version__, ONEDNN)


def network(model):
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", model + ".json")
    path = model if model.endswith(".json") else own
    try:
        with open(path, encoding="utf-8") as f:
            return from_config(json.load(f, object_hook=add_module))
    except OSError as e:
        peer.fail("%s: %s" % (model, e.strerror))
    except (ValueError, TypeError, KeyError) as e:
        peer.fail("%s: no Sequential of Keras: %s" % (model, str(e).split("\n")[0]))


def add_module(item):
    """Without it, as Keras 2 wrote them, Keras 3 knows no layer and no initializer."""
    for module in keras.layers, keras.initializers, keras.regularizers, keras.constraints:
        if hasattr(module, item.get("class_name", "")):
            item.setdefault("module", module.__name__)
    return item


def from_config(saved):
    if "module" in saved:
        return keras.models.model_from_json(json.dumps(saved))
    layers = []
    for layer in saved["config"]["layers"]:
        shape = layer["config"].pop("batch_input_shape", None)
        if layer["config"].get("groups") == 1:
            del layer["config"]["groups"]  # not an option of Keras 3's separable layers
        if shape and not layers:
            layers.append(keras.Input(batch_shape=shape))
        if layer["class_name"] != "InputLayer":
            layers.append(keras.layers.deserialize(layer))
    return keras.Sequential(layers, name=saved["config"]["name"])


def load(net, path):
    try:
        if path.endswith(".keras"):
            net.set_weights(keras.saving.load_model(path, compile=False).get_weights())
        elif path.endswith(".h5"):
            net.load_weights(path)
        else:
            load_npz(net, path)
    except (OSError, ValueError, TypeError, KeyError) as e:
        peer.fail("%s: %s" % (path, str(e).split("\n")[0]))


def load_npz(net, path):
    """Under Keras 3's paths, as save writes them, or as sepbench does: without the model's name, with ":0"."""
    try:
        with open(path, "rb") as opened, np.load(opened) as file:
            arrays = {name.removesuffix(":0"): file[name] for name in file.files}
    except OSError as e:
        peer.fail("%s: %s" % (path, e.strerror))
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile):
        peer.fail("%s: no .npz of arrays" % path)
    for weight in net.weights:
        array = arrays.get(weight.path, arrays.get(weight.path.split("/", 1)[1]))
        inner = [name for name in arrays if name.endswith("/" + weight.path)]  # of a model within the model
        if array is None and len(inner) == 1:
            array = arrays[inner[0]]
        if array is None or array.shape != tuple(weight.shape):
            peer.fail("%s: no array %s of shape %s" % (path, weight.path, tuple(weight.shape)))
        weight.assign(array)


def save(net, path):
    try:
        if path.endswith(".weights.h5"):
            return net.save_weights(path)
        if path.endswith((".keras", ".h5")):
            return net.save(path)
        with open(path, "wb") as file:
            np.savez(file, **{weight.path: weight.numpy() for weight in net.weights})
    except OSError as e:
        peer.fail("%s: %s" % (path, e.strerror))


class Epochs(keras.callbacks.Callback):
    """A row of peer.COLUMNS for each epoch."""

    def __init__(self, a, name, images):
        super().__init__()
        self.a, self.name, self.images, self.rows, self.clock = a, name, images, [], None

    def on_epoch_begin(self, epoch, logs=None):
        self.clock = peer.Clock(self.images)

    def on_train_batch_end(self, batch, logs=None):
        self.clock.step()

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append([self.name, NAME, "channels_last", self.a.threads, epoch + 1, logs["loss"], logs["accuracy"]]
                         + self.clock.columns() + [self.a.batch_size, ""])


def train(a, model, train_set, test_set):
    keras.utils.set_random_seed(1)
    net = network(model)
    images = train_set[0].shape[1:]
    if net.input_shape[1:] != images:
        peer.fail("%s: its input is %s: the images are %s" % (model, net.input_shape[1:], images))
    net.compile(keras.optimizers.Adam(0.001, epsilon=1e-7), "sparse_categorical_crossentropy", metrics=["accuracy"])
    if a.load:
        load(net, a.load)
    epochs = Epochs(a, os.path.basename(model).removesuffix(".json"), len(train_set[0]))
    net.fit(*train_set, a.batch_size, a.epochs, verbose=0, callbacks=[epochs])
    loss, accuracy = net.evaluate(*test_set, a.batch_size, verbose=0)
    if a.save:
        save(net, a.save)
    if epochs.rows:
        epochs.rows[-1][-1] = accuracy
        peer.report(NAME, epochs.rows)
    print("Test loss: %.4f\nTest accuracy: %.4f" % (loss, accuracy), flush=True)
    return epochs.rows


def main():
    parser = peer.options(__doc__, least_epochs=0)
    parser.add_argument("--load", metavar="FILE", help="weights to start from: .npz, .weights.h5, .keras or .h5")
    parser.add_argument("--save", metavar="FILE", help="the same to write at the end")
    a = parser.parse_args()
    models = a.model.split(",")
    if len(models) > 1 and (a.load or a.save):
        peer.fail("--load and --save are for one --model")
    table = peer.table(a)
    tf.config.threading.set_intra_op_parallelism_threads(a.threads)
    tf.config.threading.set_inter_op_parallelism_threads(a.threads)
    sets = [(images[..., np.newaxis], labels) for images, labels in peer.load(a.data)]
    for model in models:
        table.writerows(train(a, model, *sets))


main()
