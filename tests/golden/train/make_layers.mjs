// Writes layers.json: outputs, losses, gradients and constrained weights of small Keras models, as TensorFlow.js has
// them. Each model is the very JSON that tests/test_train_layers.c gives to sepbench.
//
// To run it again (any folder; nothing but layers.json changes in the repository):
//   npm install --no-save @tensorflow/tfjs@4.22.0 && node make_layers.mjs > layers.json
//
// Weights, inputs and labels come from an integer hash that the test has too. tfjs has no activity regularizers and no
// gradient of dilated convolutions, and its gradient of average pooling divides by the whole window where part of it
// is padding: those are left to the finite differences of tests/test_train_gradients.c.
import * as tf from '@tensorflow/tfjs';

await tf.setBackend('cpu');

const IMAGES = 4, CLASSES = 3;

function noise(stream, i) {
  let x = (Math.imul(i, 2654435761) + Math.imul(stream, 40503) + 1) >>> 0;
  x = (x ^ (x >>> 16)) >>> 0;
  x = Math.imul(x, 2246822519) >>> 0;
  x = (x ^ (x >>> 13)) >>> 0;
  x = Math.imul(x, 3266489917) >>> 0;
  x = (x ^ (x >>> 16)) >>> 0;
  return x / 4294967296 - 0.5;
}

// Glorot uniform by the hash; biases within +-0.05.
function weight(stream, shape) {
  const count = shape.reduce((a, b) => a * b, 1), rank = shape.length;
  const field = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const limit = rank === 1 ? 0.05 : Math.sqrt(6 / (field * (shape[rank - 2] + shape[rank - 1])));
  return tf.tensor(Array.from({length: count}, (_, i) => Math.fround(noise(stream, i) * 2 * limit)), shape);
}

const layer = (class_name, config) => ({class_name, config});
const l2 = v => ({class_name: 'L1L2', config: {l1: 0, l2: v}});
const l1l2 = {class_name: 'L1L2', config: {l1: 0.02, l2: 0.03}};
const conv = c => layer('Conv2D', {name: 'conv', filters: 4, kernel_size: [3, 3], padding: 'valid', ...c});
const separable = c => layer('SeparableConv2D', {name: 'separable', filters: 4, kernel_size: [3, 3], padding: 'valid', ...c});
const pool = (c, o) => layer(c, {name: 'pool', pool_size: [2, 2], padding: 'valid', ...o});
const flatten = layer('Flatten', {name: 'flatten'});
const head = layer('Dense', {name: 'head', units: CLASSES, activation: 'softmax'});
const model = (shape, ...layers) => ({
  class_name: 'Sequential',
  config: {name: 'golden', layers: layers.map((l, i) => ({...l, config: {...l.config, ...(i ? {} : {batch_input_shape: [null, ...shape]})}}))},
});
const image = (...layers) => model([7, 6, 2], ...layers, flatten, head);

const cases = [
  ...['relu', 'sigmoid', 'tanh', 'elu', 'selu', 'softplus', 'softmax', 'linear'].map(a => image(conv({activation: a}))),
  ...['relu', 'softplus', 'selu'].map(a => image(conv({}), layer('Activation', {name: 'activation', activation: a}))),
  image(conv({strides: [2, 1], padding: 'same', use_bias: false})),
  image(conv({kernel_regularizer: l1l2, bias_regularizer: l2(0.1)})),
  image(separable({activation: 'relu', depth_multiplier: 2, strides: [2, 2], padding: 'same'})),
  image(separable({depthwise_regularizer: l2(0.05), pointwise_regularizer: l1l2, activation: 'tanh'})),
  image(layer('DepthwiseConv2D', {name: 'depthwise', kernel_size: [3, 2], depth_multiplier: 2, padding: 'same', activation: 'elu'})),
  image(conv({}), pool('MaxPooling2D', {})),
  image(conv({activation: 'relu'}), pool('MaxPooling2D', {strides: [2, 2]})),
  image(conv({padding: 'same'}), pool('MaxPooling2D', {pool_size: [3, 2], strides: [2, 1], padding: 'same'})),
  image(conv({}), pool('AveragePooling2D', {})),
  image(conv({padding: 'same'}), pool('AveragePooling2D', {pool_size: [3, 3], strides: [2, 2], padding: 'same'})),
  model([9, 3], layer('Conv1D', {name: 'conv', filters: 4, kernel_size: [3], strides: [2], padding: 'same', activation: 'relu'}), flatten, head),
  model([9, 3], layer('Conv1D', {name: 'conv', filters: 4, kernel_size: [3]}),
        layer('MaxPooling1D', {name: 'pool', pool_size: [2], strides: [2], padding: 'same'}), flatten, head),
  model([9, 3], layer('Conv1D', {name: 'conv', filters: 4, kernel_size: [2]}),
        layer('AveragePooling1D', {name: 'pool', pool_size: [3], strides: [1], padding: 'valid'}), flatten, head),
  model([10], layer('Dense', {name: 'dense', units: 6, activation: 'relu', kernel_regularizer: l2(0.01)}), head),
  model([5, 3], layer('Dense', {name: 'dense', units: 4, activation: 'sigmoid'}), flatten, head),
  model([10], layer('Dense', {name: 'dense', units: 5, activation: 'tanh'}), layer('Dense', {name: 'head', units: CLASSES, activation: 'sigmoid'})),
  model([10], layer('Dense', {name: 'head', units: CLASSES, activation: 'softplus', use_bias: false})),
];

const constrained = [
  {class_name: 'MaxNorm', config: {max_value: 0.8, axis: 0}},
  {class_name: 'MinMaxNorm', config: {min_value: 0.9, max_value: 1.0, rate: 0.6, axis: 0}},
  {class_name: 'UnitNorm', config: {axis: 1}},
  {class_name: 'NonNeg', config: {}},
].map(c => model([10], layer('Dense', {name: 'dense', units: 6, activation: 'relu', kernel_constraint: c}), head));

const round = t => Array.from(t.dataSync(), v => Number(v.toPrecision(7)));

function loss(m, x, y) {
  let l = tf.mean(tf.metrics.categoricalCrossentropy(y, m.apply(x)));
  for (const r of m.calculateLosses()) l = l.add(r);
  return l;
}

async function load(json) {
  const m = await tf.models.modelFromJSON({modelTopology: structuredClone(json)});
  m.setWeights(m.weights.map((w, i) => weight(i, w.shape))); // applies the constraints
  return m;
}

async function run(json) {
  const m = await load(json);
  const shape = json.config.layers[0].config.batch_input_shape.slice(1), count = IMAGES * shape.reduce((a, b) => a * b, 1);
  const x = tf.tensor(Array.from({length: count}, (_, i) => 2 * noise(77, i)), [IMAGES, ...shape]);
  const y = tf.oneHot(tf.tensor1d([...Array(IMAGES).keys()].map(i => i % CLASSES), 'int32'), CLASSES).toFloat();
  const out = {model: json, outputs: round(m.predict(x))};
  const variables = m.trainableWeights.map(w => w.val);
  const {value, grads} = tf.variableGrads(() => loss(m, x, y), variables);
  out.loss = value.dataSync()[0];
  const padded = json.config.layers.some(l => l.class_name.startsWith('Average') && l.config.padding === 'same');
  if (!padded) out.gradients = m.trainableWeights.map(w => round(grads[w.val.name]));
  return out;
}

const results = [];
for (const c of cases) results.push(await run(c));
for (const c of constrained) results.push({model: c, constrained: (await load(c)).getWeights().map(round)});
console.log(JSON.stringify({tfjs: tf.version.tfjs, images: IMAGES, cases: results}).replaceAll('{"model":', '\n{"model":'));
