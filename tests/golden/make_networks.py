"""Networks as the real Keras writes them and what it says of their convolutions, for tests/test_network.c.

    python make_networks.py FOLDER          Keras 3 (TensorFlow, JAX or Torch beneath), of keras.applications
    python make_networks.py FOLDER tf_keras Keras 2, whose files say "inbound_nodes" otherwise

Writes FOLDER/NAME.json.gz, and in FOLDER/networks.txt a line per convolution: the network, the layer with the models
around it, its class, kernel, strides, input and output without the batch."""

import gzip
import importlib
import json
import sys

folder, package = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "keras"
keras = importlib.import_module(package)
applications = importlib.import_module(package + ".applications")
layers = keras.layers
lines = []


def by(sizes):
    return "x".join(str(size) for size in sizes)


def list_convolutions(network, model, prefix):
    for layer in model.layers:
        name = layer.__class__.__name__
        if hasattr(layer, "layers"):
            list_convolutions(network, layer, prefix + layer.name + "/")
        elif "Conv" in name:
            lines.append(" ".join([network, prefix + layer.name, name, by(layer.kernel_size), by(layer.strides),
                                   by(layer.input.shape[1:]), by(layer.output.shape[1:])]))


def write(network, model):
    text = json.dumps(json.loads(model.to_json()), separators=(",", ":"))
    with gzip.GzipFile(f"{folder}/{network}.json.gz", "wb", 9, mtime=0) as out:
        out.write(text.encode())
    list_convolutions(network, model, "")


def nested():
    """Models within a model, one of each kind, and a layer with two inputs."""
    block_input = layers.Input((16, 16, 8), name="block_input")
    block = keras.Model(block_input, layers.Add(name="add")(
        [block_input, layers.Conv2D(8, 3, padding="same", name="conv")(block_input)]), name="block")
    head = keras.Sequential([layers.Input((16, 16, 8)), layers.SeparableConv2D(4, 3, name="conv"),
                             layers.Flatten(name="flatten"), layers.Dense(10, name="dense")], name="head")
    image = layers.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 5, strides=2, padding="same", name="conv")(image)
    return keras.Model(image, head(block(x)), name="outer")


if package == "keras":
    names = "MobileNet MobileNetV2 ResNet50 EfficientNetB0 Xception VGG16 MobileNetV3Small EfficientNetV2B0"
    for network in names.split():
        size = {"input_shape": (224, 224, 3)} if "MobileNetV3" in network else {}  # whose default is open
        write(network, getattr(applications, network)(weights=None, **size))
    write("nested", nested())
else:
    write("MobileNetV2_keras2", applications.MobileNetV2(weights=None))
    write("MobileNetV3Small_keras2", applications.MobileNetV3Small(weights=None, input_shape=(224, 224, 3)))
    write("nested_keras2", nested())
with open(f"{folder}/networks.txt", "w" if package == "keras" else "a") as out:
    out.write("".join(line + "\n" for line in lines))
