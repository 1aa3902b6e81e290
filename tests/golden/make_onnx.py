"""ONNX files for tests/test_onnx.c, and what onnx.shape_inference says of their shapes.

    python make_onnx.py FOLDER operators    operators that the reader knows, by opset: FOLDER/operators_N.onnx
    python make_onnx.py FOLDER torch        networks of torchvision by both of torch.onnx.export's ways
    python make_onnx.py FOLDER tensorflow   networks of keras.applications by tf2onnx

FOLDER/shapes.json has the shapes of every output of the operators' files. FOLDER/convs.txt has a line per
convolution of the networks: file, node, kernel, strides, groups, input and output. The files have no weights: those
are said to be in a file beside them, which is not there. Needs onnx; torch, torchvision and onnxscript; tensorflow,
keras and tf2onnx."""

import json
import os
import sys

import numpy
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

folder, part = sys.argv[1:3]
KEPT = 16  # elements; vectors that may say a shape are this short


def known_shape(value):
    if not value.type.tensor_type.HasField("shape"):
        return [None]
    return [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]


# ---- networks


def strip(model):
    """Removes weights, documentation and stated shapes, which the reader is to find by itself."""
    tensors = list(model.graph.initializer)
    tensors += [a.t for n in model.graph.node for a in n.attribute if a.type == onnx.AttributeProto.TENSOR]
    for t in tensors:
        count = 1
        for dim in t.dims:
            count *= dim
        if count > KEPT:
            kept = (t.name, t.data_type, list(t.dims))
            t.Clear()
            t.name, t.data_type = kept[:2]
            t.dims.extend(kept[2])
            t.data_location = TensorProto.EXTERNAL
            t.external_data.add(key="location", value="absent.data")
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    del model.functions[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]


def attribute(node, name, otherwise):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), otherwise)


def by(sizes):
    return "x".join(str(size) for size in sizes)


def evaluate(model):
    """The shapes that convolutions read and make, by computing with zeros: inference does not see through a
    computed Pad."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = list({v for n in whole.graph.node if n.op_type == "Conv" for v in (n.input[0], n.output[0])})
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(v) for v in names)
    images = {v.name: numpy.zeros(known_shape(v), numpy.float32) for v in whole.graph.input}
    return {v: list(x.shape) for v, x in zip(names, ReferenceEvaluator(whole).run(None, images))}


def add_network(name, model, lines, evaluated=False):
    """model: of a fixed input."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = list(inferred.graph.value_info) + list(inferred.graph.input) + list(inferred.graph.output)
    shapes = {v.name: known_shape(v) for v in values}
    shapes.update({t.name: list(t.dims) for t in inferred.graph.initializer})
    if evaluated:
        shapes.update(evaluate(model))
    for i, node in enumerate(inferred.graph.node):
        if node.op_type == "Conv":
            x, w, y = (shapes[v] for v in (node.input[0], node.input[1], node.output[0]))
            strides = attribute(node, "strides", [1] * (len(w) - 2))
            title = node.name or f"Conv_{i}"
            groups = attribute(node, "group", 1)
            lines.append(f"{name} {title} {by(w[2:])} {by(strides)} {groups} {by(x)} {by(y)}")
    strip(model)
    onnx.save(model, f"{folder}/{name}.onnx")


def padded_network():
    """Pads as TensorFlow does, computed while tracing from sizes that the file leaves open."""
    import torch

    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fixed = torch.nn.ZeroPad2d((1, 2, 3, 4))
            self.first, self.last = torch.nn.Conv2d(3, 8, 3, 2), torch.nn.Conv2d(8, 4, 5)

        def forward(self, x):
            height, width = x.shape[-2:]
            down, right = (-height // 2 * -2 + 1 - height), (-width // 2 * -2 + 1 - width)
            x = torch.nn.functional.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])
            x = self.fixed(self.first(x))
            return self.last(torch.nn.functional.pad(x, [0, x.shape[3] % 4, x.shape[2] % 3, 0]))

    return Padded().eval()


def torch_networks(lines):
    import torch
    import torchvision

    scratch = f"{folder}/whole.onnx"
    for name in ("mobilenet_v2", "resnet50"):
        network = getattr(torchvision.models, name)().eval()
        images = (torch.zeros(1, 3, 224, 224),)
        for way, dynamo in (("script", False), ("dynamo", True)):
            torch.onnx.export(network, images, scratch, dynamo=dynamo, external_data=False)
            add_network(f"{name}_torch_{way}", onnx.load(scratch), lines)
    images = (torch.zeros(1, 3, 30, 27),)
    torch.onnx.export(padded_network(), images, scratch, dynamo=False, input_names=["x"], dynamic_axes={"x": [2, 3]})
    model = onnx.load(scratch)
    for size, known in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 30, 27)):
        size.dim_value = known
    add_network("padded_torch_script", model, lines, evaluated=True)
    os.remove(scratch)


def tensorflow_networks(lines):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf
    import tf2onnx

    for name in ("MobileNetV2", "ResNet50"):
        network = getattr(keras.applications, name)(weights=None)
        signature = [tf.TensorSpec([1, 224, 224, 3], tf.float32, name="images")]
        inference = tf.function(lambda images, network=network: network(images, training=False), signature)
        model, _ = tf2onnx.convert.from_function(inference, signature, opset=15)
        add_network(f"{name}_tf2onnx", model, lines)


# ---- operators

ALL = (7, 11, 13, 18, 22)
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


class Cases:
    """A graph of one-node cases: each has inputs of its own."""

    def __init__(self, opset):
        self.opset, self.nodes, self.inputs, self.constants, self.outputs = opset, [], [], [], []

    def value(self, what, name):
        if what is None:
            return ""
        if isinstance(what, str):
            return what
        if isinstance(what, tuple):
            self.inputs.append(helper.make_tensor_value_info(name, FLOAT, what))
        else:
            ints = what and all(isinstance(x, int) for x in what)
            self.constants.append(helper.make_tensor(name, INT if ints else FLOAT, [len(what)], what))
        return name

    def add(self, op, *inputs, outputs=1, **attributes):
        """An input: a shape (tuple), elements (list), another value's name, or None. Returns the outputs."""
        i = len(self.nodes)
        names = [self.value(x, f"x{i}_{k}") for k, x in enumerate(inputs)]
        made = [f"{op}_{i}" + (f"_{k}" if k else "") for k in range(outputs)]
        self.nodes.append(helper.make_node(op, names, made, **attributes))
        self.outputs += made
        return made if outputs > 1 else made[0]

    def scalar(self, x):
        name = f"s{len(self.nodes)}_{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, INT, [], [x]))
        return name

    def axes(self, op, x, axes, since, **attributes):
        """Axes are an attribute until that opset, then an input."""
        if self.opset < since:
            return self.add(op, x, axes=axes, **attributes)
        return self.add(op, x, axes, **attributes)


def convolutions(c):
    x = (2, 6, 17, 14)
    c.add("Conv", x, (8, 6, 3, 3))
    c.add("Conv", x, (8, 6, 3, 3), (8,), pads=[1, 0, 2, 1], strides=[2, 3], kernel_shape=[3, 3])
    c.add("Conv", x, (12, 1, 5, 3), group=6, dilations=[2, 1], auto_pad="NOTSET")
    c.add("Conv", x, (8, 3, 3, 2), group=2, strides=[2, 2], auto_pad="SAME_UPPER")
    c.add("Conv", x, (8, 6, 4, 4), strides=[3, 2], auto_pad="SAME_LOWER")
    c.add("Conv", x, (8, 6, 3, 3), strides=[2, 2], auto_pad="VALID")
    c.add("Conv", (1, 4, 30), (5, 4, 3), strides=[2], pads=[1, 1])
    c.add("Conv", (1, 4, 9, 10, 11), (5, 4, 3, 1, 2), strides=[2, 1, 3], pads=[1, 0, 1, 0, 0, 1])
    c.add("ConvTranspose", x, (6, 4, 3, 3), strides=[2, 3], pads=[1, 1, 0, 1], output_padding=[1, 0])
    c.add("ConvTranspose", x, (6, 4, 3, 3), strides=[2, 2], group=2, dilations=[2, 2])
    c.add("ConvTranspose", x, (6, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")


def pools(c):
    x = (2, 6, 17, 14)
    c.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c.add("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    c.add("AveragePool", x, kernel_shape=[3, 2], strides=[3, 1], auto_pad="VALID")
    c.add("AveragePool", (1, 3, 40), kernel_shape=[7], strides=[4], pads=[3, 0])
    c.add("GlobalAveragePool", x)
    c.add("GlobalMaxPool", (1, 3, 4, 5, 6))
    if c.opset >= 11:
        c.add("MaxPool", x, kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1)
        c.add("MaxPool", x, kernel_shape=[3, 3], dilations=[3, 2])
    if c.opset >= 22:  # before, shape_inference has a window that starts in the padding, which no runtime has
        c.add("MaxPool", x, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1, pads=[1, 1, 0, 0])
        c.add("AveragePool", x, kernel_shape=[2, 2], dilations=[2, 3], ceil_mode=1, strides=[3, 3], pads=[1] * 4)
        c.add("LpPool", x, kernel_shape=[3, 3], strides=[2, 2])


def elementwise(c):
    x, v = (2, 6, 5, 4), (6,)
    c.add("BatchNormalization", x, v, v, v, v)
    for op in ("Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softmax", "Exp",
               "Sqrt", "Identity", "Abs", "Neg", "Floor", "Ceil", "Dropout", "Reciprocal"):  # fmt: skip
        c.add(op, x)
    c.add("Clip", x, *([] if c.opset < 11 else [None, ()]))
    c.add("Cast", x, to=TensorProto.FLOAT16)
    c.add("PRelu", x, (6, 1, 1))
    c.add("InstanceNormalization", x, v, v)
    c.add("LRN", x, size=3)
    for op, other in (("Mul", (1, 6, 1, 1)), ("Add", x), ("Sub", (4,)), ("Div", ())):
        c.add(op, x, other)
    c.add("Add", (5, 1), (2, 1, 4))
    c.add("Pow", x, (1,))
    if c.opset >= 13:
        c.add("Sum", x, (5, 1), (4,))
        c.add("Where", c.add("Greater", x, (5, 1)), (2, 6, 1, 1), (4,))
    if c.opset >= 18:
        c.add("HardSwish", x)
        c.add("LayerNormalization", x, (4,))
        c.add("Mish", x)
    if c.opset >= 22:
        c.add("Gelu", x)


def products(c):
    c.add("Gemm", (3, 5), (5, 7), (7,))
    c.add("Gemm", (5, 3), (7, 5), (7,), transA=1, transB=1)
    c.add("MatMul", (3, 5), (5, 7))
    c.add("MatMul", (2, 1, 3, 5), (4, 5, 7))
    c.add("MatMul", (5,), (2, 5, 7))
    c.add("MatMul", (2, 3, 5), (5,))


def reductions(c):
    x = (2, 6, 5, 4)
    c.axes("ReduceMean", x, [2, 3], 18)
    c.axes("ReduceMean", x, [-1, 1], 18, keepdims=0)
    c.axes("ReduceSum", x, [1], 13, keepdims=0)
    c.axes("ReduceMax", x, [3], 18)
    c.add("ReduceMean", x)
    c.add("ReduceMean", x, keepdims=0)
    c.add("ArgMax", x, axis=1)
    c.add("ArgMax", x, axis=1, keepdims=0)
    if c.opset >= 18:
        c.add("ReduceMean", x, noop_with_empty_axes=1)


def rearrangements(c):
    x = (2, 6, 5, 4)
    c.add("Concat", x, (2, 3, 5, 4), axis=1)
    c.add("Concat", (3,), (4,), axis=0)
    c.add("Flatten", x)
    c.add("Flatten", x, axis=3)
    c.add("Flatten", x, axis=0)
    c.add("Reshape", x, [2, -1])
    c.add("Reshape", x, [0, 3, 2, 0, -1])
    c.add("Reshape", x, [4, 60])
    c.add("Transpose", x)
    c.add("Transpose", x, perm=[0, 2, 3, 1])
    c.axes("Squeeze", (2, 1, 5, 1), [1], 13)
    c.add("Squeeze", (2, 1, 5, 1))
    c.axes("Unsqueeze", (2, 5), [0, 3], 13)
    c.add("DepthToSpace", (1, 12, 3, 5), blocksize=2)
    c.add("SpaceToDepth", (1, 3, 6, 4), blocksize=2)
    c.add("Tile", (2, 3), [2, 4])
    if c.opset < 11:
        c.add("Pad", x, pads=[0, 0, 1, 2, 0, 0, 3, 0])
        c.add("Slice", x, starts=[1, -3], ends=[4, 1000], axes=[1, 2])
        c.add("Split", x, outputs=2, axis=1)
        c.add("Split", x, outputs=2, axis=1, split=[2, 4])
        return
    c.axes("Squeeze", (2, 1, 5, 1), [-1], 13)
    c.axes("Unsqueeze", (2, 5), [-1, 1], 13)
    c.add("Flatten", x, axis=-1)
    c.add("Concat", x, (2, 6, 1, 4), axis=-2)
    c.add("Pad", x, [0, 0, 1, 2, 0, 0, 3, -1])
    c.add("Slice", x, [1, -3], [4, 2**63 - 1], [1, 2])
    c.add("Slice", x, [0, -1], [1000, -(2**63)], [1, 2], [4, -2])
    c.add("Slice", x, [1], [3])
    c.add("Gather", x, [0, 2, 1], axis=1)
    c.add("Gather", x, c.scalar(1), axis=2)
    c.add("Expand", (6, 1, 1), [2, 6, 5, 4])
    if c.opset < 13:
        c.add("Split", x, outputs=3, axis=1)
    else:
        c.add("Split", x, [2, 4], outputs=2, axis=1)
    if c.opset >= 18:
        c.add("Split", x, outputs=4, axis=1, num_outputs=4)
        c.add("Pad", x, [1, 2, 3, 4], None, [2, -1])
        c.add("Reshape", (2, 0, 4), [0, 7], allowzero=1)


def resizes(c):
    x = (1, 3, 5, 7)
    if c.opset < 9:
        c.add("Upsample", x, scales=[1.0, 1.0, 2.0, 1.5])
        return
    c.add("Resize", x, [], [1.0, 1.0, 2.0, 1.3])
    c.add("Resize", x, [], [], [1, 3, 8, 9])
    if c.opset >= 18:
        c.add("Resize", x, None, [2.0, 0.5], axes=[2, 3])
        c.add("Resize", x, None, None, [9, 11], axes=[-2, -1])


def computed(c):
    """Shapes as exporters compute them."""
    x = (2, 6, 5, 4)
    size = c.add("Shape", x)
    if c.opset < 18:  # shape_inference computes with elements in later opsets only
        return
    batch = c.add("Gather", size, c.scalar(0), axis=0)
    head = c.add("Unsqueeze", batch, [0])
    c.add("Reshape", x, c.add("Concat", head, [-1], axis=0))
    spatial = c.add("Slice", size, [2], [4])
    c.add("Reshape", x, c.add("Concat", head, spatial, [-1], axis=0))
    c.add("Reshape", x, c.add("Cast", c.add("Cast", c.add("Concat", head, [-1], axis=0), to=FLOAT), to=INT))
    c.add("ConstantOfShape", size)
    c.add("Reshape", x, c.add("Constant", value_ints=[2, 3, -1]))
    c.add("Reshape", x, c.add("Concat", [-1], c.add("Mul", spatial, [1, 2]), axis=0))
    c.add("Expand", (1,), c.add("Sub", size, [1, 1, 1, 1]))
    c.add("Reshape", x, c.add("Concat", c.add("Shape", x, start=-1), [-1], axis=0))
    c.add("Expand", (1,), c.add("Squeeze", c.add("Shape", x, end=1)))


def operators():
    shapes = {}
    for opset in ALL:
        c = Cases(opset)
        for kind in (convolutions, pools, elementwise, products, reductions, rearrangements, resizes, computed):
            kind(c)
        graph = helper.make_graph(c.nodes, "operators", c.inputs, [], c.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        found = {v.name: known_shape(v) for v in inferred.graph.value_info}
        open_ones = [name for name in c.outputs if None in found.get(name, [None])]
        if open_ones:
            sys.exit(f"opset {opset}: no shape of {open_ones}")
        onnx.save(model, f"{folder}/operators_{opset}.onnx")
        shapes[str(opset)] = {name: found[name] for name in c.outputs}
    with open(f"{folder}/shapes.json", "w") as out:
        out.write("{" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in shapes.items()) + "}\n")


if part == "operators":
    operators()
else:
    path, lines = f"{folder}/convs.txt", []
    {"torch": torch_networks, "tensorflow": tensorflow_networks}[part](lines)
    made = {line.split()[0] for line in lines}
    if os.path.exists(path):
        with open(path) as old:
            lines += [line.rstrip("\n") for line in old if line.split()[0] not in made]
    with open(path, "w") as out:
        out.write("\n".join(lines) + "\n")
