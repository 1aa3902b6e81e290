// Writes keras.json: what Keras's layers compute, as TensorFlow.js has them, for small whole numbers.
//
// To run it again, in an empty folder outside the repository:
//   cp REPOSITORY/tests/golden/make_golden.mjs . && npm install @tensorflow/tfjs@4.22.0
//   node make_golden.mjs > REPOSITORY/tests/golden/keras.json
//
// Forward is by the layers (Conv2D, DepthwiseConv2D, SeparableConv2D), so padding 'same', multiplier order and where
// bias and activation go are Keras's; gradients are TensorFlow's own of sum(output * diff_dst), checked here to
// have the same forward. tfjs has no gradient of dilated convolutions: those cases have none.
import * as tf from '@tensorflow/tfjs';

await tf.setBackend('cpu');

// Whole numbers in [-2, 2] without a short period.
let state = 1;
const draw = () => ((state = (state * 1103515245 + 12345) % 2147483648) >> 16) % 5 - 2;
const tensor = shape => tf.tensor(Array.from({length: shape.reduce((a, b) => a * b, 1)}, draw), shape);
const list = t => Array.from(t.dataSync());

const cases = [
  {variant: 'dense', in: [6, 6], ic: 2, oc: 3, kernel: [3, 3], stride: [1, 1], padding: 'same'},
  {variant: 'dense', in: [6, 6], ic: 2, oc: 3, kernel: [3, 3], stride: [2, 2], padding: 'same'},
  {variant: 'dense', in: [7, 5], ic: 2, oc: 3, kernel: [3, 3], stride: [2, 2], padding: 'same', bias: true},
  {variant: 'dense', in: [8, 7], ic: 1, oc: 2, kernel: [2, 4], stride: [1, 1], padding: 'same'},
  {variant: 'dense', in: [8, 7], ic: 2, oc: 2, kernel: [4, 2], stride: [3, 3], padding: 'same', bias: true, relu: true},
  {variant: 'dense', in: [7, 6], ic: 3, oc: 4, kernel: [3, 3], stride: [2, 2], padding: 'valid', bias: true},
  {variant: 'dense', in: [3, 3], ic: 2, oc: 2, kernel: [5, 5], stride: [1, 1], padding: 'same'},
  {variant: 'dense', in: [9, 8], ic: 2, oc: 2, kernel: [3, 3], stride: [1, 1], dilation: [2, 2], padding: 'same'},
  {variant: 'dense', in: [9, 8], ic: 2, oc: 2, kernel: [3, 2], stride: [1, 1], dilation: [2, 3], padding: 'valid', relu: true},
  {variant: 'pointwise', in: [4, 5], ic: 3, oc: 4, kernel: [1, 1], stride: [1, 1], padding: 'same', bias: true},
  {variant: 'pointwise', in: [5, 5], ic: 3, oc: 2, kernel: [1, 1], stride: [2, 2], padding: 'same'},
  {variant: 'depthwise', in: [6, 6], ic: 3, dm: 1, kernel: [3, 3], stride: [1, 1], padding: 'same'},
  {variant: 'depthwise', in: [6, 6], ic: 3, dm: 2, kernel: [3, 3], stride: [1, 1], padding: 'same', bias: true},
  {variant: 'depthwise', in: [6, 6], ic: 2, dm: 3, kernel: [3, 3], stride: [2, 2], padding: 'same'},
  {variant: 'depthwise', in: [7, 7], ic: 2, dm: 2, kernel: [2, 2], stride: [2, 2], padding: 'valid', bias: true, relu: true},
  {variant: 'depthwise', in: [9, 9], ic: 2, dm: 2, kernel: [3, 3], stride: [1, 1], dilation: [2, 2], padding: 'same'},
  {variant: 'separable', in: [6, 6], ic: 2, dm: 1, oc: 3, kernel: [3, 3], stride: [1, 1], padding: 'same'},
  {variant: 'separable', in: [6, 6], ic: 2, dm: 2, oc: 3, kernel: [3, 3], stride: [2, 2], padding: 'same', bias: true},
  {variant: 'separable', in: [7, 7], ic: 3, dm: 2, oc: 2, kernel: [3, 3], stride: [2, 2], padding: 'valid', bias: true, relu: true},
  {variant: 'separable', in: [8, 8], ic: 2, dm: 1, oc: 2, kernel: [3, 3], stride: [1, 1], dilation: [2, 2], padding: 'same', bias: true},
];

function layer(c) {
  const common = {
    kernelSize: c.kernel, strides: c.stride, padding: c.padding, dilationRate: c.dilation,
    useBias: c.bias, activation: c.relu ? 'relu' : 'linear',
  };
  if (c.variant === 'depthwise') return tf.layers.depthwiseConv2d({...common, depthMultiplier: c.dm});
  if (c.variant === 'separable') return tf.layers.separableConv2d({...common, filters: c.oc, depthMultiplier: c.dm});
  return tf.layers.conv2d({...common, filters: c.oc});
}

function operation(c) {
  return (x, ...w) => {
    const bias = c.bias ? w.pop() : null;
    let y = c.variant === 'depthwise' ? tf.depthwiseConv2d(x, w[0], c.stride, c.padding, 'NHWC', c.dilation)
        : c.variant === 'separable' ? tf.separableConv2d(x, w[0], w[1], c.stride, c.padding, c.dilation)
        : tf.conv2d(x, w[0], c.stride, c.padding, 'NHWC', c.dilation);
    if (bias) y = tf.add(y, bias);
    return c.relu ? tf.relu(y) : y;
  };
}

const out = [];
for (let c of cases) {
  c = {dm: 1, bias: false, relu: false, dilation: [1, 1], ...c};
  c.oc ??= c.ic * c.dm;
  const src = tensor([2, ...c.in, c.ic]);
  const l = layer(c);
  l.build(src.shape);
  const weights = l.getWeights().map(w => tensor(w.shape));
  l.setWeights(weights);
  const dst = operation(c)(src, ...weights);
  // tfjs's DepthwiseConv2D layer, unlike Keras's, ignores dilationRate; its operation does not.
  const same = c.variant === 'depthwise' && c.dilation.some(d => d > 1) ||
      list(l.apply(src)).every((v, i) => v === list(dst)[i]);
  if (!same) throw new Error('layer and operation differ: ' + JSON.stringify(c));
  const names = ['weights', ...(c.variant === 'separable' ? ['pointwise'] : []), ...(c.bias ? ['bias_values'] : [])];
  const one = {...c, mb: 2, src: list(src), dst_shape: dst.shape, dst: list(dst)};
  names.forEach((n, i) => one[n] = list(weights[i]));
  if (c.dilation.every(d => d === 1)) {
    const diff = tensor(dst.shape);
    const grads = tf.grads(operation(c))([src, ...weights], diff);
    one.diff_dst = list(diff);
    one.diff_src = list(grads[0]);
    names.forEach((n, i) => one[n === 'bias_values' ? 'diff_bias' : 'diff_' + n] = list(grads[i + 1]));
  }
  out.push(one);
}
console.log('{"made_by": "make_golden.mjs, @tensorflow/tfjs ' + tf.version.tfjs + '",\n "cases": [\n' +
    out.map(c => JSON.stringify(c)).join(',\n') + '\n]}');
