"""Networks of keras.applications for images of 32x32, narrow ones: what Keras says of them, for
tests/test_train_applications.c.

    pip install keras==3.15.1 tf_keras==2.21.0 tensorflow-cpu==2.21.0
    python3 make_applications_keras.py FOLDER            Keras 3
    python3 make_applications_keras.py FOLDER tf_keras   Keras 2, whose operations are TFOpLambda

Writes FOLDER/applications/NAME.json.gz, the model without dropout and with moving averages that are those of the last
batch, so that images differ in what comes out; and in FOLDER/applications_keras.json of each its parameters, the losses
of STEPS steps of SGD and the outputs in inference behind the first, all in float64, and by how much those of Keras's own
float32 part from them (its Keras 2 has another moving variance in float32 only, which is left out). Weights, images and labels are hashes, the same as in the test."""
import gzip
import importlib
import json
import math
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
import numpy
import tensorflow
from make_graphs_keras import noise

folder, package = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "keras"
keras = importlib.import_module(package)
keras_2 = package == "tf_keras"
IMAGES, CLASSES, STEPS = 16, 10, 4


def weight(stream, variable):
    """Glorot uniform by the hash; biases within +-0.05, of 1 where the initializer is ones."""
    shape, name = variable.shape, variable.name.split("/")[-1].split(":")[0]
    if name == "count":
        return numpy.int64(0)
    limit = 0.05 if len(shape) == 1 else math.sqrt(6 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))
    ones = name in ("gamma", "moving_variance", "variance")
    return (noise(stream, 0, math.prod(shape)) * 2 * limit + ones).astype("f4").reshape(shape)


def prepared(config):
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = 0.0
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["momentum"] = 0.0
    return config


def in_float64(value):
    if isinstance(value, list):
        return [in_float64(v) for v in value]
    if isinstance(value, dict):
        return {k: in_float64(v) for k, v in value.items()}
    return "float64" if value == "float32" else value


def filled(config):
    model = keras.models.model_from_json(json.dumps(config))
    model.set_weights([weight(i, w) for i, w in enumerate(model.weights)])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def trained(model, x, y, rate):
    method = keras.optimizers.SGD(rate)
    got = []
    for _ in range(STEPS):
        with tensorflow.GradientTape() as tape:
            out = model(x, training=True)
            loss = tensorflow.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, out))
        gradient = tape.gradient(loss, model.trainable_weights)
        method.apply_gradients(zip(gradient, model.trainable_weights))
        got.append(float(loss))
        if len(got) == 1:
            outputs = numpy.asarray(model(x, training=False))
    return got, outputs


def case(name, model, most=255, rate=1e-4):
    config = prepared(json.loads(model.to_json()))
    with gzip.GzipFile(f"{folder}/applications/{name}.json.gz", "wb", 9, mtime=0) as out:
        out.write(json.dumps(config, separators=(",", ":")).encode())
    x = (most * (noise(77, 0, IMAGES * 32 * 32 * 3) + 0.5)).astype("f4").reshape(IMAGES, 32, 32, 3)
    y = numpy.arange(IMAGES) % CLASSES
    single, near = trained(filled(config), x, y, rate)
    keras.backend.set_floatx("float64")
    double, outputs = trained(filled(in_float64(config)), x.astype("f8"), y, rate)
    keras.backend.set_floatx("float32")
    if keras_2:
        near = outputs
    parts = [float(f"{v:.2g}") for v in (max(abs(a - b) for a, b in zip(single, double)), abs(near - outputs).max())]
    print(name, "losses", double, "outputs spread", outputs.std(0).max(), "float32 parts by", parts, file=sys.stderr)
    return {"name": name, "most": most, "rate": rate, "parameters": model.count_params(), "losses": [float(f"{v:.8g}") for v in double], "parts": parts,
            "outputs": [float(f"{v:.7g}") for v in outputs.ravel()]}


def cases():
    a = keras.applications
    size = {"weights": None, "input_shape": (32, 32, 3), "classes": CLASSES}
    if keras_2:
        return [case("mobilenet3small_keras2", a.MobileNetV3Small(alpha=0.35, **size))]
    inner = importlib.import_module("keras.src.applications.efficientnet")
    inner_2 = importlib.import_module("keras.src.applications.efficientnet_v2")
    return [case("mobilenet2", a.MobileNetV2(alpha=0.35, **size), most=1, rate=1e-7),
            case("mobilenet3small", a.MobileNetV3Small(alpha=0.35, **size)),
            case("mobilenet3large", a.MobileNetV3Large(alpha=0.35, **size)),
            case("efficientnet", inner.EfficientNet(0.25, 0.5, 32, name="efficientnet", **size)),
            case("efficientnet2", inner_2.EfficientNetV2(0.25, 0.5, 32, name="efficientnetv2-b0", **size))]


os.makedirs(f"{folder}/applications", exist_ok=True)
path = f"{folder}/applications_keras.json"
before = json.load(open(path))["cases"] if keras_2 else []
text = json.dumps({"images": IMAGES, "cases": before + cases()}, separators=(",", ":"))
with open(path, "w") as out:
    out.write(text.replace('{"name":', '\n{"name":') + "\n")
