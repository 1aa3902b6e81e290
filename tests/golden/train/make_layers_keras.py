"""Writes layers_keras.json: what layers.json holds, for the layers that TensorFlow.js lacks, by Keras in float32 on
TensorFlow. Each model is the JSON that tests/test_train_layers.c gives to sepbench.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0; python3 make_layers_keras.py > layers_keras.json

Keras has no SeparableConv3D: it is a Conv3D of as many groups as channels, whose kernel [D][H][W][1][C * M] is the
depthwise [D][H][W][C][M] in the same order, then a Conv3D of 1x1x1.
"""
import json
import math

import keras
import numpy
import tensorflow

IMAGES, CLASSES = 4, 3
HEAD = [("Flatten", {}), ("Dense", {"units": CLASSES, "activation": "softmax"})]


def noise(stream, count):
    x = (numpy.arange(count, dtype=numpy.uint64) * 2654435761 + stream * 40503 + 1) & 0xFFFFFFFF
    for shift, factor in ((16, 2246822519), (13, 3266489917), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return x / 4294967296 - 0.5


def weight(stream, shape):
    """Glorot uniform by the hash; biases within +-0.05."""
    field = math.prod(shape[:-2])
    limit = 0.05 if len(shape) == 1 else math.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return (noise(stream, math.prod(shape)) * 2 * limit).astype("f4")


def keras_layers(name, config, channels):
    """The layer in Keras's terms, and the shapes of its weights in sepbench's where they differ."""
    if name != "SeparableConv3D":
        return [getattr(keras.layers, name)(**config)], {}
    own, m = dict(config), config.get("depth_multiplier", 1)
    last = {key: own.pop(key) for key in ("filters", "activation", "use_bias") if key in own}
    own.pop("depth_multiplier", None)
    depthwise = keras.layers.Conv3D(channels * m, groups=channels, use_bias=False, **own)
    pointwise = keras.layers.Conv3D(kernel_size=1, data_format=config.get("data_format"), **last)
    return [depthwise, pointwise], {0: (*depthwise.kernel_size, channels, m)}


def build(shape, layers):
    model, shapes = keras.Sequential([keras.Input(shape)]), {}
    for name, config in layers:
        first = config.get("data_format") == "channels_first"
        last = model.layers[-1].output.shape if model.layers else (None, *shape)
        parts, other = keras_layers(name, config, last[1 if first else -1])
        shapes.update({len(model.weights) + at: its for at, its in other.items()})
        for part in parts:
            model.add(part)
    weights = [weight(i, shapes.get(i, w.shape)).reshape(w.shape) for i, w in enumerate(model.weights)]
    model.set_weights(weights)
    return model


def digits(values):
    return [float(f"{v:.7g}") for v in numpy.asarray(values).ravel()]


def case(shape, *layers):
    layers = [*layers, *HEAD]
    if any(config.get("data_format") == "channels_first" for _, config in layers):
        layers[-2] = ("Flatten", {"data_format": "channels_first"})
    model = build(shape, layers)
    x = (2 * noise(77, IMAGES * math.prod(shape))).astype("f4").reshape(IMAGES, *shape)
    y = numpy.arange(IMAGES) % CLASSES
    with tensorflow.GradientTape() as tape:
        out = model(x)
        loss = tensorflow.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, out))
        loss += sum(model.losses)
    gradients = tape.gradient(loss, model.trainable_weights)
    named = [{"class_name": name, "config": {"name": f"layer_{i}", **config}} for i, (name, config) in enumerate(layers)]
    named[0]["config"]["batch_input_shape"] = [None, *shape]
    return {"model": {"class_name": "Sequential", "config": {"name": "golden", "layers": named}},
            "outputs": digits(out), "loss": float(loss), "gradients": [digits(g) for g in gradients]}


VOLUME, FIRST, LINE = (4, 5, 4, 2), (2, 4, 5, 4), (9, 3)
FRONT = ("Conv3D", {"filters": 3, "kernel_size": 1, "activation": "tanh"})
FRONT_FIRST = ("Conv3D", {**FRONT[1], "data_format": "channels_first"})
FRONT_1D, FRONT2 = ("Conv1D", FRONT[1]), ("Conv2D", FRONT[1])

CASES = [
    case(VOLUME, FRONT, ("Conv3D", {"filters": 3, "kernel_size": [3, 2, 3], "activation": "relu"})),
    case(VOLUME, FRONT, ("Conv3D", {"filters": 3, "kernel_size": 2, "strides": [1, 3, 2], "padding": "same"})),
    case(VOLUME, FRONT, ("Conv3D", {"filters": 2, "kernel_size": 2, "dilation_rate": [1, 3, 2], "use_bias": False})),
    case(VOLUME, FRONT, ("Conv3D", {"filters": 6, "kernel_size": 2, "groups": 3, "strides": 2, "activation": "selu"})),
    case(FIRST, FRONT_FIRST, ("Conv3D", {"filters": 3, "kernel_size": 2, "strides": [2, 1, 2], "activation": "elu",
                                         "data_format": "channels_first"})),
    case(VOLUME, FRONT, ("SeparableConv3D", {"filters": 3, "kernel_size": [2, 3, 3], "activation": "tanh"})),
    case(VOLUME, FRONT, ("SeparableConv3D", {"filters": 3, "kernel_size": 3, "padding": "same", "strides": 2,
                                             "depth_multiplier": 2, "activation": "relu"})),
    case(VOLUME, FRONT, ("SeparableConv3D", {"filters": 2, "kernel_size": 2, "dilation_rate": [3, 2, 1],
                                             "use_bias": False})),
    case(FIRST, FRONT_FIRST, ("SeparableConv3D", {"filters": 3, "kernel_size": 2, "strides": [1, 2, 2],
                                                  "depth_multiplier": 2, "data_format": "channels_first"})),
    case(VOLUME, FRONT, ("MaxPooling3D", {"pool_size": 2})),
    case(VOLUME, FRONT, ("MaxPooling3D", {"pool_size": [3, 2, 2], "strides": [1, 2, 3], "padding": "same"})),
    case(FIRST, FRONT_FIRST, ("MaxPooling3D", {"pool_size": [1, 2, 3], "data_format": "channels_first"})),
    case(VOLUME, FRONT, ("AveragePooling3D", {"pool_size": 2})),
    case(VOLUME, FRONT, ("AveragePooling3D", {"pool_size": 3, "strides": 2, "padding": "same"})),
    case(FIRST, FRONT_FIRST, ("AveragePooling3D", {"pool_size": [2, 3, 1], "strides": [2, 1, 3],
                                                   "data_format": "channels_first"})),
    case(LINE, FRONT_1D, ("DepthwiseConv1D", {"kernel_size": 3, "activation": "relu"})),
    case(LINE, FRONT_1D, ("DepthwiseConv1D", {"kernel_size": 4, "strides": 2, "padding": "same",
                                              "depth_multiplier": 2})),
    case(LINE, FRONT_1D, ("DepthwiseConv1D", {"kernel_size": 2, "dilation_rate": 3, "use_bias": False,
                                              "activation": "elu"})),
]
SMALL, SMALL_FIRST, STRETCH = (3, 4, 2), (2, 3, 4), ("Rescaling", {"scale": 4.0, "offset": 0.3})
CONV = ("Conv2D", {"filters": 3, "kernel_size": 1})
CONV_FIRST = ("Conv2D", {**CONV[1], "data_format": "channels_first"})


def activations(*those):
    """Each behind a convolution whose results are spread beyond their kinks."""
    return case(SMALL, *(part for layer in those for part in (CONV, STRETCH, layer)))


def plain(*names):
    return activations(*(("Activation", {"activation": name}) for name in names))


CASES += [
    plain("elu", "relu", "relu6", "leaky_relu"),
    plain("selu", "celu", "sigmoid", "hard_sigmoid"),
    plain("sparse_sigmoid", "silu", "hard_silu", "gelu"),
    plain("softplus", "softsign", "softmax", "log_softmax"),
    plain("log_sigmoid", "tanh", "hard_tanh", "tanh_shrink"),
    plain("soft_shrink", "hard_shrink", "mish", "squareplus"),
    plain("sparse_plus", "linear", "swish", "hard_swish"),
    case(SMALL, ("Conv2D", {"filters": 3, "kernel_size": 1, "activation": "exponential"}),
         ("Conv2D", {"filters": 3, "kernel_size": 1,
                     "activation": {"module": "keras.layers", "class_name": "LeakyReLU", "registered_name": None,
                                    "config": {"negative_slope": 0.1}}})),
    activations(("ReLU", {"max_value": 1.5}), ("ReLU", {"negative_slope": 0.1, "threshold": 0.2}),
                ("ReLU", {"max_value": 1.2, "threshold": 0.1}), ("ReLU", {"max_value": 6.0})),
    activations(("ReLU", {}), ("ReLU", {"max_value": 1.0, "negative_slope": 0.3}), ("LeakyReLU", {}),
                ("ELU", {"alpha": 0.6})),
    activations(("PReLU", {}), ("PReLU", {"shared_axes": [1, 2], "alpha_regularizer": "l2"}),
                ("PReLU", {"shared_axes": [3]})),
    activations(("Softmax", {}), ("Softmax", {"axis": 1}), ("Softmax", {"axis": -2})),
    case(SMALL, FRONT2, ("GlobalAveragePooling2D", {})),
    case(SMALL, FRONT2, ("GlobalMaxPooling2D", {"keepdims": True})),
    case(SMALL, CONV, ("ReLU", {"max_value": 0.3}), ("GlobalMaxPooling2D", {})),  # equal maxima
    case(SMALL_FIRST, CONV_FIRST, ("GlobalAveragePooling2D", {"keepdims": True, "data_format": "channels_first"})),
    case(SMALL_FIRST, CONV_FIRST, ("GlobalMaxPooling2D", {"data_format": "channels_first"})),
    case(LINE, FRONT_1D, ("GlobalMaxPooling1D", {"keepdims": True}), ("Flatten", {})),
    case(LINE, FRONT_1D, ("GlobalAveragePooling1D", {})),
    case(VOLUME, FRONT, ("GlobalMaxPooling3D", {})),
    case(VOLUME, FRONT, ("GlobalAveragePooling3D", {"keepdims": True})),
    case(LINE, FRONT_1D, ("ZeroPadding1D", {"padding": [2, 1]}), ("Cropping1D", {"cropping": [1, 3]}),
         ("UpSampling1D", {"size": 2})),
    case(SMALL, FRONT2, ("ZeroPadding2D", {"padding": [[0, 1], [2, 1]]}), ("Conv2D", {"filters": 2, "kernel_size": 3})),
    case(SMALL, FRONT2, ("Cropping2D", {"cropping": [[0, 1], [2, 1]]}), ("UpSampling2D", {"size": [2, 3]}),
         ("Conv2D", {"filters": 2, "kernel_size": 2})),
    case(SMALL_FIRST, CONV_FIRST, ("ZeroPadding2D", {"padding": [1, 2], "data_format": "channels_first"}),
         ("UpSampling2D", {"size": [1, 2], "data_format": "channels_first"}),
         ("Cropping2D", {"cropping": [[2, 0], [5, 4]], "data_format": "channels_first"}),
         ("PReLU", {"shared_axes": [2, 3]})),
    case(VOLUME, FRONT, ("Cropping3D", {"cropping": [[1, 0], [2, 1], [0, 1]]}), ("UpSampling3D", {"size": [1, 2, 2]}),
         ("ZeroPadding3D", {"padding": [[0, 1], [0, 0], [1, 0]]}), ("Conv3D", {"filters": 1, "kernel_size": 2})),
    case(SMALL, FRONT2, ("Permute", {"dims": [3, 1, 2]}), ("Reshape", {"target_shape": [-1, 6]}),
         ("Permute", {"dims": [2, 1]}), ("Conv1D", {"filters": 2, "kernel_size": 2})),
    case(SMALL, ("Rescaling", {"scale": [2.0, -0.5], "offset": [0.1, 0.2]}), FRONT2, ("Rescaling", {"scale": 0.5})),
]
text = json.dumps({"keras": keras.__version__, "images": IMAGES, "cases": CASES}, separators=(",", ":"))
print(text.replace('{"model":', '\n{"model":'))
