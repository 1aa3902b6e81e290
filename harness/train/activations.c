/* Keras's activations by name, and those given as a layer. Names and numbers: keras/src/activations of Keras 3,
 * keras/activations.py of Keras 2. Left out are glu, which halves the channels; threshold, which Keras itself
 * cannot call by its name; and sparsemax, of which Keras 3.15 makes another function than its paper (its
 * threshold adds up the running sums of all that remain, where the last alone is meant). */
#include <string.h>

#include "options.h"

const char *const activation_names[] = {
    [NN_LINEAR] = "linear",
    [NN_RELU] = "relu",
    [NN_SIGMOID] = "sigmoid",
    [NN_TANH] = "tanh",
    [NN_ELU] = "elu",
    [NN_SELU] = "selu",
    [NN_SOFTPLUS] = "softplus",
    [NN_RELU6] = "relu6",
    [NN_SOFTMAX] = "softmax",
    [NN_LOG_SOFTMAX] = "log_softmax",
    [NN_EXPONENTIAL] = "exponential",
    [NN_SOFTSIGN] = "softsign",
    [NN_HARD_SIGMOID] = "hard_sigmoid",
    [NN_HARD_SIGMOID_2] = "hard_sigmoid", /* which of the two: activation_of_keras_2 */
    [NN_HARD_TANH] = "hard_tanh",
    [NN_LOG_SIGMOID] = "log_sigmoid",
    [NN_SPARSE_SIGMOID] = "sparse_sigmoid",
    [NN_SPARSE_PLUS] = "sparse_plus",
    [NN_SQUAREPLUS] = "squareplus",
    [NN_HARD_SHRINK] = "hard_shrink",
    [NN_SOFT_SHRINK] = "soft_shrink",
    [NN_SILU] = "silu",
    [NN_HARD_SILU] = "hard_silu",
    [NN_GELU] = "gelu",
    [NN_MISH] = "mish",
    [NN_TANH_SHRINK] = "tanh_shrink",
    [NN_SHAPED_RELU] = "leaky_relu",
};

static const struct {
    const char *name;
    nn_activation kind;
} aliases[] = {{"swish", NN_SILU}, {"hard_swish", NN_HARD_SILU}, {"celu", NN_ELU} /* of alpha 1 */};

static bool find(const char *name, nn_function *out)
{
    int kind = 0;
    while (kind < NN_ACTIVATION_COUNT && strcmp(activation_names[kind], name) != 0) kind++;
    for (size_t i = 0; kind == NN_ACTIVATION_COUNT && i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].name, name) == 0) kind = (int)aliases[i].kind;
    if (kind == NN_ACTIVATION_COUNT) return false;
    *out = activation_plain((nn_activation)kind);
    return true;
}

nn_function activation_plain(nn_activation kind)
{
    return (nn_function){.kind = kind, .alpha = kind == NN_SHAPED_RELU ? 0.2f : 1, .most = INFINITY, .step = 1};
}

nn_function activation_of_relu(const nn_function *numbers)
{
    nn_function f = *numbers;
    bool plain = f.alpha == 0 && f.threshold == 0 && (f.most == INFINITY || f.most == 6);
    f.kind = !plain ? NN_SHAPED_RELU : f.most == 6 ? NN_RELU6 : NN_RELU;
    return f;
}

/* {"class_name": "LeakyReLU", "config": {...}}, or of a function {"class_name": "function", "config": "relu"}.
 * */
static const char *parse_object(json_t *value, nn_function *out, conv_error *err)
{
    static const char wrong[] = "a name, or one of the layers ReLU, LeakyReLU, ELU and Softmax";
    const char *name = json_string_value(json_object_get(value, "class_name"));
    json_t *config = json_object_get(value, "config");
    if (name == NULL) return wrong;
    if (strcmp(name, "function") == 0)
        return json_is_string(config) ? activation_parse(config, out, err) : wrong;
    layer_type type = layer_type_parse(name);
    bool known = type.class == CLASS_RELU || type.class == CLASS_LEAKY_RELU || type.class == CLASS_ELU ||
                 type.class == CLASS_SOFTMAX;
    if (!known || !json_is_object(config) || json_is_string(json_object_get(value, "registered_name")))
        return wrong;
    layer_options own;
    if (layer_options_parse(type, config, &own, err) != CONV_OK) return "";
    if (type.class == CLASS_SOFTMAX && own.axis != -1) return "a softmax of axis -1";
    *out = own.activation;
    return NULL;
}

const char *activation_parse(json_t *value, nn_function *out, conv_error *err)
{
    *out = activation_plain(NN_LINEAR);
    if (json_is_null(value)) return NULL;
    if (json_is_object(value)) return parse_object(value, out, err);
    return json_is_string(value) && find(json_string_value(value), out)
               ? NULL
               : "one of Keras's activations, without glu, sparsemax and threshold";
}
