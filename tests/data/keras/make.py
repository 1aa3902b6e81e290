"""Writes the files beside it: models and weights as Keras 3 and numpy write them. They were made by Keras 3.15.1;
needed only to make them anew: pip install keras tensorflow-cpu; python3 make.py; and make_tf213.py"""

import json

import h5py
import keras
import numpy
from keras import constraints, initializers, layers, regularizers

SGD = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def write(name, model):
    with open(name, "w", encoding="ascii") as file:
        file.write(json.dumps(json.loads(model.to_json()), indent=1) + "\n")


def every_layer_2d():
    return keras.Sequential([
        keras.Input((12, 12, 1)),
        layers.Conv2D(4, 3, activation="relu", kernel_regularizer=regularizers.L2(0.01), bias_regularizer="l1",
                      activity_regularizer=regularizers.L1L2(0.001, 0.002),
                      kernel_constraint=constraints.MaxNorm(3), kernel_initializer=initializers.HeNormal(seed=3)),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="tanh",
                               depthwise_constraint=constraints.UnitNorm(axis=[0, 1])),
        layers.SeparableConv2D(4, 3, padding="same", depthwise_regularizer="l2", pointwise_constraint="non_neg",
                               bias_constraint=constraints.MinMaxNorm(),
                               depthwise_initializer=initializers.VarianceScaling(2.0, "fan_in", "uniform")),
        layers.MaxPooling2D(2),
        layers.AveragePooling2D(2, padding="same"),
        layers.Dropout(0.25, seed=7),
        layers.Activation("elu"),
        layers.Flatten(),
        layers.Dense(16, activation="selu", kernel_initializer=initializers.Constant(0.3), bias_initializer="ones"),
        layers.Dense(10, activation="softmax", kernel_initializer=initializers.RandomUniform(-0.1, 0.1),
                     bias_initializer=initializers.TruncatedNormal()),
    ])


def every_layer_1d():
    return keras.Sequential([
        keras.Input((12, 12)),
        layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
        layers.MaxPooling1D(2),
        layers.SeparableConv1D(5, 3),
        layers.AveragePooling1D(2),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ])


def every_layer_3d():
    return keras.Sequential([
        keras.Input((4, 6, 5, 2)),
        layers.Conv3D(3, (1, 3, 2), strides=(1, 2, 1), activation="relu", kernel_constraint=constraints.MaxNorm(2)),
        layers.MaxPooling3D((2, 1, 2), padding="same"),
        layers.AveragePooling3D(2, strides=1),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ], name="volumes")


def depthwise_1d():
    return keras.Sequential([
        keras.Input((6, 2)),
        layers.DepthwiseConv1D(3, depth_multiplier=2, depthwise_initializer=initializers.HeNormal(seed=3)),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ], name="lines")


def numbered(model):
    """Element i of weight p is 100 p + i: exact in float16, too."""
    model.set_weights([(100 * p + numpy.arange(w.size)).reshape(w.shape).astype("f4")
                       for p, w in enumerate(model.get_weights())])
    return model


def small(shape):
    return keras.Sequential(([keras.Input(shape)] if shape else []) + [
        layers.Conv2D(2, 2, name="conv2d"),
        layers.DepthwiseConv2D(2, name="depthwise_conv2d"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="dense"),
    ], name="small")


write("layers2d.json", every_layer_2d())
write("layers1d.json", every_layer_1d())
compiled = every_layer_1d()
compiled.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
write("compiled.json", compiled)
compiled = every_layer_1d()
compiled.compile(SGD, LOGITS)
write("compiled_sgd_logits.json", compiled)
deferred = small(None)
deferred.build((None, 4, 4, 1))
write("deferred.json", deferred)

model = numbered(small((4, 4, 1)))
write("small.json", model)
paths = {v.path: v.numpy() for v in model.variables}  # Dropout's random state is among them
plain = {w.path.split("/", 1)[1]: w.numpy() for w in model.weights}


def everything(convert):
    return {name: convert(array) for name, array in plain.items()}


numpy.savez_compressed("w_paths.npz", **paths)
numpy.savez_compressed("w_other_model.npz", **{name.replace("small", "sequential_7"): a for name, a in paths.items()})
numpy.savez_compressed("w_plain.npz", **plain)
numpy.savez_compressed("w_position.npz", *model.get_weights())
numpy.savez_compressed("w_tf_keras.npz", **{
    name.replace("conv2d/kernel", "conv2d/depthwise_kernel") + ":0" if name.startswith("depthwise") else name + ":0": a
    for name, a in plain.items()})
numpy.savez_compressed("w_fortran.npz", **everything(numpy.asfortranarray))
numpy.savez_compressed("w_big_endian.npz", **everything(lambda a: a.astype(">f4")))
numpy.savez_compressed("w_float16.npz", **everything(lambda a: a.astype("<f2")))
numpy.savez_compressed("w_float64_big_fortran.npz", **everything(lambda a: numpy.asfortranarray(a.astype(">f8"))))

for name, model in ("layers3d", numbered(every_layer_3d())), ("depthwise1d", numbered(depthwise_1d())):
    write(f"{name}.json", model)
    numpy.savez_compressed(f"w_{name}.npz", **{v.path: v.numpy() for v in model.variables})


def pairs():
    """Two layers of each class, and the one with names of the user's own."""
    return keras.Sequential([
        keras.Input((5, 5, 1)),
        layers.Conv2D(2, 2, name="first"),
        layers.SeparableConv2D(2, 2, name="second"),
        layers.Dropout(0.5),
        layers.Conv2D(1, 1, name="third"),
        layers.SeparableConv2D(1, 2, depth_multiplier=2, use_bias=False, name="fourth"),
        layers.Flatten(),
        layers.Dense(2, name="fifth"),
        layers.Dense(2, activation="softmax", name="sixth"),
    ], name="pairs")


model = numbered(pairs())
write("pairs.json", model)
model.compile("sgd", "sparse_categorical_crossentropy")
model.save_weights("w_pairs.weights.h5")
model.save("w_pairs.keras")
model.save("w_pairs_keras3.h5")
GROUPS = "conv2d", "separable_conv2d", "conv2d_1", "separable_conv2d_1", "dense", "dense_1"
with h5py.File("w_pairs.weights.h5") as file, h5py.File("w_pairs_forms.weights.h5", "w") as other:
    for number, group in enumerate(GROUPS):
        for name, array in file[f"layers/{group}/vars"].items():
            other.create_dataset(f"layers/{group}/vars/{name}", data=array[()].astype(("<f2", ">f8", ">f4")[number % 3]),
                                 compression="gzip", shuffle=number > 2, fletcher32=number > 3)
with h5py.File("w_pairs.weights.h5") as file, h5py.File("w_pairs_order.h5", "w") as other:
    other.attrs["layer_names0"] = numpy.array([b"a", b"none", b"bb", b"c"])  # no more than 64 KiB in one
    other.attrs["layer_names1"] = numpy.array([b"d", b"e", b"f"])
    other.create_group("none").attrs["weight_names"] = numpy.array([])
    for name, group in zip(("a", "bb", "c", "d", "e", "f"), GROUPS):
        arrays = file[f"layers/{group}/vars"]
        other.create_group(name).attrs["weight_names"] = numpy.array([f"x/{i}:0".encode() for i in arrays])
        for i, array in arrays.items():
            other[name][f"x/{i}:0"] = array[()]


def nested():
    """A graph, with a model in it whose moving averages Keras 2's format moves behind what is trained."""
    inner = keras.Sequential([
        keras.Input((3, 3, 2)),
        layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.Conv2D(2, 1, use_bias=False),
        layers.BatchNormalization(scale=False),
    ], name="inner")
    image = keras.Input((4, 4, 1))
    x = layers.BatchNormalization()(layers.Conv2D(2, 2, use_bias=False)(image))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, inner(x)]))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x), name="nested")


model = numbered(nested())
write("nested.json", model)
model.save("w_nested.keras")
model.save_weights("w_nested.weights.h5")
model.save("w_nested.h5")


def counted():
    """Numbers without axes that are integers, and operations, which have no weights."""
    image = keras.Input((4, 4, 2))
    x = layers.Normalization()(image)
    x = layers.Conv2D(2, 2)(x * 2.0 - 1.0)
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x + 0.5)), name="counted")


model = numbered(counted())
write("counted.json", model)
model.save("w_counted.keras")
model.save_weights("w_counted.weights.h5")
model.save("w_counted.h5")
numpy.savez("w_counted.npz", *model.get_weights())
