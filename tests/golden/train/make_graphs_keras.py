"""Writes graphs_keras.json: functional models and batch normalization by Keras in float32 on TensorFlow: losses of STEPS
steps, the weights behind them, moving averages included, and what the model then says in inference.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0; python3 make_graphs_keras.py > graphs_keras.json

Weights, images and labels are hashes, the same as in tests/test_train_graphs.c. No layer right before a batch
normalization has a bias: its gradient would be nothing but rounding, of which Adam makes whole steps.
"""
import json
import math
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy
import tensorflow
from keras import layers

IMAGES, CLASSES, STEPS = 6, 3, 20


def noise(stream, first, count):
    x = (numpy.arange(first, first + count, dtype=numpy.uint64) * 2654435761 + stream * 40503 + 1) & 0xFFFFFFFF
    for shift, factor in ((16, 2246822519), (13, 3266489917), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return x / 4294967296 - 0.5


def weight(stream, variable):
    """Glorot uniform by the hash; biases within +-0.05, of 1 where the initializer is ones."""
    shape = variable.shape
    field = math.prod(shape[:-2])
    limit = 0.05 if len(shape) <= 1 else math.sqrt(6 / (field * (shape[-2] + shape[-1])))
    ones = variable.name in ("gamma", "moving_variance", "variance")
    return (noise(stream, 0, math.prod(shape)) * 2 * limit + ones).astype("f4").reshape(shape)


def digits(values):
    return [float(f"{v:.7g}") for v in numpy.asarray(values).ravel()]


def case(name, inputs, outputs, optimizer="sgd", **options):
    model = keras.Model(inputs, outputs, name=name)
    model.set_weights([weight(i, w) for i, w in enumerate(model.weights)])
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
    method = keras.optimizers.get({"class_name": optimizer, "config": options})
    shape, losses = model.input_shape[1:], []
    count = IMAGES * math.prod(shape)
    for step in range(STEPS):
        x = (2 * noise(77, step * count, count)).astype("f4").reshape(IMAGES, *shape)
        y = (numpy.arange(IMAGES) + step) % CLASSES
        with tensorflow.GradientTape() as tape:
            out = model(x, training=True)
            loss = tensorflow.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, out)) + sum(model.losses)
        method.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        losses.append(float(loss))
    x = (2 * noise(77, STEPS * count, count)).astype("f4").reshape(IMAGES, *shape)
    text = optimizer + ":" + ",".join(f"{key}={value}" for key, value in options.items())
    return {"model": json.loads(model.to_json()), "optimizer": text, "losses": digits(losses),
            "weights": [digits(w) for w in model.weights if w.dtype == "float32"], "outputs": digits(model(x, training=False))}


def head(x):
    return layers.Dense(CLASSES, "softmax", name="head")(layers.Flatten(name="flatten")(x))


def residual():
    """A stem, a residual block whose shortcut is projected, squeeze and excitation, and two ends joined."""
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.Activation("relu", name="stem_relu")(layers.BatchNormalization(momentum=0.9, name="stem_bn")(x))
    y = layers.SeparableConv2D(6, 3, padding="same", strides=2, use_bias=False, name="main")(x)
    y = layers.Activation("relu6", name="main_relu")(layers.BatchNormalization(name="main_bn", scale=False)(y))
    z = layers.Conv2D(6, 1, strides=2, use_bias=False, name="shortcut")(x)
    z = layers.BatchNormalization(name="shortcut_bn", momentum=0.7, epsilon=0.01)(z)
    x = layers.Add(name="add")([y, z])
    s = layers.AveragePooling2D(4, name="squeeze")(x)
    s = layers.Conv2D(2, 1, activation="relu", name="reduce")(s)
    s = layers.Conv2D(6, 1, activation="sigmoid", name="expand")(s)
    x = layers.Multiply(name="excite")([x, s])
    a = layers.MaxPooling2D(2, name="largest")(x)
    b = layers.AveragePooling2D(2, name="mean")(x)
    return image, head(layers.Concatenate(name="join")([a, b, a]))


def others():
    """Every other merge, repeated along axes, an input read twice, and a dense layer between two merges."""
    image = keras.Input((4, 3, 2), name="image")
    a = layers.Conv2D(4, 1, activation="tanh", name="a")(image)
    b = layers.Conv2D(4, [4, 1], name="b")(image)
    c = layers.Conv2D(1, 1, name="c")(image)
    x = layers.Subtract(name="subtract")([a, b])
    y = layers.Maximum(name="maximum")([b, a, c])
    z = layers.Minimum(name="minimum")([c, a])
    x = layers.Average(name="average")([x, y, z])
    y = layers.Dense(4, name="dense")(x)
    x = layers.Multiply(name="product")([x, y, x])
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Concatenate(axis=1, name="rows")([x, z])
    return image, head(layers.Concatenate(axis=2, name="columns")([x, x]))


def operations():
    """Of a tensor and a number on either side, of two tensors; normalization by numbers and by weights."""
    image = keras.Input((4, 3, 2), name="image")
    a = layers.Normalization(mean=[0.5, -0.25], variance=[0.25, 4.0], name="by_numbers")(image)
    b = layers.Normalization(axis=2, name="by_weights")(image)
    b = layers.Normalization(mean=0.5, variance=0.0625, invert=True, name="inverse")(b)
    a = layers.Conv2D(4, 1, name="a")(a) + 0.5
    b = 0.25 - layers.Conv2D(4, 1, activation="tanh", name="b")(b) / 2
    c = 3 * layers.Conv2D(1, 1, name="c")(a - 1)
    return image, head(a * b - c + b)


def one(shape, *stack):
    """A chain; those of a batch normalization in all its forms."""
    image = keras.Input(shape, name="image")
    x = image
    for layer in stack:
        x = layer(x)
    return image, head(x)


def norm(**config):
    return layers.BatchNormalization(name="bn", **config)


def cases():
    return [
        case("residual", *residual(), optimizer="sgd", learning_rate=0.05, momentum=0.9),
        case("residual_adam", *residual(), optimizer="adam", learning_rate=0.005),
        case("others", *others(), optimizer="sgd", learning_rate=0.05),
        case("operations", *operations(), learning_rate=0.05),
        case("input", *one((5, 4, 3), norm(momentum=0.8)), learning_rate=0.1),
        case("vector", *one((7,), layers.Dense(5, use_bias=False, name="a"), norm(gamma_regularizer="l2", beta_regularizer="l1"),
                            layers.Activation("tanh", name="t")), learning_rate=0.1),
        case("line", *one((9, 2), layers.Conv1D(3, 3, use_bias=False, name="a"), norm(center=False), layers.Activation("relu", name="r")),
             learning_rate=0.1),
        case("volume", *one((3, 4, 5, 2), layers.Conv3D(3, 2, activation="relu", name="a"),
                            norm(scale=False, center=False)), learning_rate=0.1),
        case("axis", *one((4, 5, 3), layers.Conv2D(3, 2, name="a"), norm(axis=1, gamma_constraint="non_neg"),
                          layers.Activation("relu", name="r")), learning_rate=0.1),
        case("frozen", *one((4, 5, 3), layers.Conv2D(3, 2, name="a"), norm(trainable=False),
                            layers.Activation("relu", name="r")), learning_rate=0.1),
    ]


if __name__ == "__main__":
    text = json.dumps({"keras": keras.__version__, "images": IMAGES, "steps": STEPS, "cases": cases()}, separators=(",", ":"))
    print(text.replace('{"model":', '\n{"model":'))
