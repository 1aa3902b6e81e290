#ifndef SEPBENCH_PEERS_TENSORFLOW_H
#define SEPBENCH_PEERS_TENSORFLOW_H

/* What a call of TensorFlow takes in which nothing is computed (one number through Identity), in nanoseconds:
 * the least that any of its rows takes. Opens the library. NAN when that fails, or when this process's
 * TensorFlow has another number of threads already. */
double tensorflow_overhead_ns(int threads);

#endif
