"""Writes w_pairs_tf213.keras and w_pairs_tf213.h5 beside it, the weights of make.py's pairs as TensorFlow 2.13 writes
them: pip install tensorflow-cpu==2.13.1; python3 make_tf213.py"""

import numpy
from tensorflow.keras import Input, Sequential, layers

layers.Conv2D(1, 1)  # the names differ from pairs.json's
model = Sequential([
    Input((5, 5, 1)),
    layers.Conv2D(2, 2),
    layers.SeparableConv2D(2, 2),
    layers.Dropout(0.5),
    layers.Conv2D(1, 1),
    layers.SeparableConv2D(1, 2, depth_multiplier=2, use_bias=False),
    layers.Flatten(),
    layers.Dense(2),
    layers.Dense(2, activation="softmax"),
])
model.set_weights([(100 * p + numpy.arange(w.size)).reshape(w.shape).astype("f4")
                   for p, w in enumerate(model.get_weights())])
model.save("w_pairs_tf213.keras")
model.save_weights("w_pairs_tf213.h5")
