/* Operations of Keras that are no layers, such as x + 3.0: of Keras 3 keras.src.ops, called with "args"; of
 * tf.keras "TFOpLambda", called as [tensor, {"y": the other}], where ["_CONSTANT_VALUE", -1, 3.0] is a number in
 * the first's place. (keras/src/ops/operation.py, keras/engine/node.py) */
#include <string.h>

#include "../json.h"
#include "../text.h"
#include "internal.h"

static const struct {
    const char *name; /* Keras 3's class, or TensorFlow's function */
    const char *class_name;
} operations[] = {
    {"Add", "Add"},
    {"Subtract", "Subtract"},
    {"Multiply", "Multiply"},
    {"Divide", "Divide"},
    {"TrueDivide", "Divide"},
    {"__operators__.add", "Add"},
    {"math.add", "Add"},
    {"math.subtract", "Subtract"},
    {"math.multiply", "Multiply"},
    {"math.divide", "Divide"},
    {"math.truediv", "Divide"},
};

bool network_is_operation(json_t *item)
{
    static const char from[] = "keras.src.ops.";
    return strncmp(json_text(item, "module", ""), from, strlen(from)) == 0;
}

/* Its name in the table; NULL: it is a layer. */
static const char *name_of(const network_node *node)
{
    const char *function = json_string_value(json_object_get(node->config, "function"));
    if (strcmp(node->class_name, "TFOpLambda") == 0)
        return function != NULL && text_is_plain(function) ? function : "?";
    return network_is_operation(node->item) ? node->class_name : NULL;
}

/* Both operands of the call, NULL for one that is missing; what else it is called with. */
typedef struct {
    json_t *operand[2], *keywords;
} operation_call;

static operation_call call_of(const network_node *node)
{
    json_t *call = json_array_get(json_object_get(node->item, "inbound_nodes"), 0);
    json_t *args = json_object_get(call, "args");
    if (json_is_object(call))
        return (operation_call){
            {json_array_get(args, 0), json_array_size(args) == 2 ? json_array_get(args, 1) : NULL},
            json_object_get(call, "kwargs")};
    json_t *first = json_array_get(call, 0), *keywords = json_array_get(call, 3);
    bool constant = json_is_string(first) && strcmp(json_string_value(first), "_CONSTANT_VALUE") == 0;
    return (operation_call){{constant ? json_array_get(call, 2) : call, json_object_get(keywords, "y")},
                            keywords};
}

/* A keyword that is neither an operand nor null, or NULL. */
static const char *other_keyword(const operation_call *call)
{
    const char *key;
    json_t *value;
    json_object_foreach(call->keywords, key, value)
    {
        if (!json_is_null(value) && value != call->operand[1]) return text_is_plain(key) ? key : "?";
    }
    return NULL;
}

conv_status network_operation_read(const network_node *node, network_operation *out, conv_error *err)
{
    const char *name = name_of(node);
    *out = (network_operation){0};
    if (name == NULL) return CONV_OK;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0) out->class_name = operations[i].class_name;
    if (out->class_name == NULL) return conv_fail(err, CONV_INVALID, "unknown operation '%.60s'", name);
    const operation_call call = call_of(node);
    const char *keyword = other_keyword(&call);
    if (keyword != NULL)
        return conv_fail(err, CONV_INVALID, "it is called with %.40s, which is not supported", keyword);
    for (int i = 0; i < 2; i++) {
        if (!json_is_number(call.operand[i])) continue;
        out->has_number = true;
        out->number_first = i == 0;
        out->number = json_number_value(call.operand[i]);
    }
    return call.operand[0] != NULL && call.operand[1] != NULL && node->input_count == 2 - out->has_number
               ? CONV_OK
               : conv_fail(err, CONV_INVALID, "its operands must be two tensors, or a tensor and a number");
}
