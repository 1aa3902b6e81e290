/* Finite differences through every layer and option: the gradient of each weight tensor, along itself and along
 * a random direction, against the difference of two losses. A layer in front of the one under test shows that
 * its gradient by the input is right, too. Also: fused and unfused networks agree,
 * and slices of any size do. */
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/cli.h"

enum { IMAGES = 7, CLASSES = 3, TEXT = 4096 };

static const char FRONT[] = "{\"class_name\":\"Conv2D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_"
                            "size\":[1,1],\"activation\":\"tanh\"}},";
static const char FRONT_FIRST[] =
    "{\"class_name\":\"Conv2D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_size\":1,"
    "\"data_format\":\"channels_first\",\"activation\":\"tanh\"}},";
static const char FRONT1[] = "{\"class_name\":\"Conv1D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_"
                             "size\":[1],\"activation\":\"tanh\"}},";
static const char FRONT1_FIRST[] =
    "{\"class_name\":\"Conv1D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_size\":1,"
    "\"data_format\":\"channels_first\",\"activation\":\"tanh\"}},";
static const char FRONT3[] = "{\"class_name\":\"Conv3D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_"
                             "size\":1,\"activation\":\"tanh\"}},";
static const char FRONT3_FIRST[] =
    "{\"class_name\":\"Conv3D\",\"config\":{\"name\":\"front\",\"filters\":4,\"kernel_size\":1,"
    "\"data_format\":\"channels_first\",\"activation\":\"tanh\"}},";
static const char HEAD[] =
    "{\"class_name\":\"Flatten\",\"config\":{\"name\":\"flatten\"}},"
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"head\",\"units\":3,\"activation\":\"softmax\"}}";

typedef struct {
    const char *class_name, *options; /* options with ' for " */
    const char *shape;                /* default 8,7,2 */
    const char *front, *head;
} test_case;

#define C1 .shape = "9,4", .front = FRONT1
#define CF .shape = "2,8,7", .front = FRONT_FIRST, .head = "channels_first"
#define FEW .shape = "3,2,2"                       /* elements, as each may lie at a kink */
#define CF1 .shape = "2,8,7", .front = FRONT_FIRST /* pooled to a vector */
#define C3 .shape = "4,5,6,2", .front = FRONT3
#define C3F .shape = "2,4,5,6", .front = FRONT3_FIRST, .head = "channels_first"
#define C3F1 .shape = "2,4,5,6", .front = FRONT3_FIRST
/* Without hard_shrink and ReLU's threshold, which jump, and soft_shrink, of whose kinks there are too many:
 * test_nn.c and the goldens have those. */
static const test_case cases[] = {
    {.class_name = "Conv2D", .options = "'filters':5,'kernel_size':[3,2]"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'strides':[2,1],'padding':'same','activation':'relu'"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'dilation_rate':2,'use_bias':false,'activation':'elu'"},
    {.class_name = "Conv2D",
     .options = "'filters':6,'kernel_size':3,'groups':2,'padding':'same','activation':'selu'"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'data_format':'channels_first','activation':'relu'",
     CF},
    {.class_name = "Conv2D", .options = "'filters':5,'kernel_size':3,'activation':'softmax'"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'activation':'softplus','kernel_regularizer':'l2','bias_"
                "regularizer':'l1'"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'kernel_regularizer':{'class_name':'L1L2','config':{'l1':0.02,'l2'"
                ":0.03}}"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'activation':'relu','activity_regularizer':{'class_name':'L2','"
                "config':{'l2':0.01}}"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'activation':'sigmoid','activity_regularizer':'l1'"},
    {.class_name = "SeparableConv2D", .options = "'filters':5,'kernel_size':3"},
    {.class_name = "SeparableConv2D",
     .options = "'filters':5,'kernel_size':[3,2],'strides':2,'padding':'same','depth_multiplier':2,'activation'"
                ":'relu'"},
    {.class_name = "SeparableConv2D",
     .options = "'filters':5,'kernel_size':3,'dilation_rate':[2,1],'activation':'tanh','use_bias':false"},
    {.class_name = "SeparableConv2D",
     .options = "'filters':5,'kernel_size':3,'data_format':'channels_first','depth_multiplier':3",
     CF},
    {.class_name = "SeparableConv2D",
     .options = "'filters':5,'kernel_size':3,'depthwise_regularizer':'l2','pointwise_regularizer':'l1_l2',"
                "'bias_regularizer':'l2','activity_regularizer':'l1_l2','activation':'sigmoid'"},
    {.class_name = "DepthwiseConv2D", .options = "'kernel_size':3,'padding':'same','activation':'relu6'"},
    {.class_name = "DepthwiseConv2D",
     .options = "'kernel_size':[2,3],'depth_multiplier':2,'strides':2,'depthwise_regularizer':'l2'"},
    {.class_name = "DepthwiseConv2D",
     .options = "'kernel_size':3,'dilation_rate':2,'use_bias':false,'data_format':'channels_first'",
     CF},
    {.class_name = "Conv1D", .options = "'filters':5,'kernel_size':3,'activation':'relu'", C1},
    {.class_name = "Conv1D",
     .options = "'filters':5,'kernel_size':[3],'dilation_rate':[2],'padding':'causal'",
     C1},
    {.class_name = "Conv1D",
     .options = "'filters':5,'kernel_size':4,'strides':2,'padding':'same','activation':'tanh'",
     C1},
    {.class_name = "SeparableConv1D",
     .options = "'filters':5,'kernel_size':3,'depth_multiplier':2,'strides':2,'padding':'same'",
     C1},
    {.class_name = "SeparableConv1D",
     .options = "'filters':5,'kernel_size':3,'dilation_rate':2,'activation':'relu','padding':'causal'",
     C1},
    {.class_name = "Convolution1D", .options = "'filters':6,'kernel_size':3,'groups':2,'padding':'same'", C1},
    {.class_name = "DepthwiseConv1D", .options = "'kernel_size':3,'activation':'relu'", C1},
    {.class_name = "DepthwiseConv1D",
     .options = "'kernel_size':[4],'strides':[2],'padding':'same','depth_multiplier':2,'depthwise_regularizer':"
                "'l2'",
     C1},
    {.class_name = "DepthwiseConv1D",
     .options = "'kernel_size':2,'dilation_rate':3,'use_bias':false,'data_format':'channels_first'",
     .shape = "3,9",
     .front = FRONT1_FIRST,
     .head = "channels_first"},
    {.class_name = "Conv3D", .options = "'filters':5,'kernel_size':[3,2,1]", C3},
    {.class_name = "Convolution3D",
     .options = "'filters':5,'kernel_size':3,'strides':[1,2,3],'padding':'same','activation':'relu'",
     C3},
    {.class_name = "Conv3D",
     .options = "'filters':5,'kernel_size':2,'dilation_rate':[1,2,3],'use_bias':false,'activation':'elu'",
     C3},
    {.class_name = "Conv3D",
     .options = "'filters':6,'kernel_size':3,'groups':2,'padding':'same','activation':'elu'",
     C3},
    {.class_name = "Conv3D",
     .options = "'filters':5,'kernel_size':2,'strides':2,'data_format':'channels_first','activation':'relu'",
     C3F},
    {.class_name = "Conv3D",
     .options = "'filters':3,'kernel_size':2,'kernel_regularizer':'l2','bias_regularizer':'l1',"
                "'activity_regularizer':'l2','activation':'softmax'",
     C3},
    {.class_name = "SeparableConv3D", .options = "'filters':5,'kernel_size':3", C3},
    {.class_name = "SeparableConv3D",
     .options = "'filters':5,'kernel_size':[2,3,2],'strides':[1,2,2],'padding':'same','depth_multiplier':2,"
                "'activation':'relu'",
     C3},
    {.class_name = "SeparableConv3D",
     .options = "'filters':5,'kernel_size':2,'dilation_rate':[2,1,3],'activation':'tanh','use_bias':false",
     C3},
    {.class_name = "SeparableConv3D",
     .options = "'filters':5,'kernel_size':2,'data_format':'channels_first','depth_multiplier':3",
     C3F},
    {.class_name = "SeparableConv3D",
     .options = "'filters':5,'kernel_size':3,'padding':'same','depthwise_regularizer':'l2',"
                "'pointwise_regularizer':'l1_l2','bias_regularizer':'l2','activity_regularizer':'l1_l2',"
                "'activation':'sigmoid'",
     C3},
    {.class_name = "MaxPooling3D", .options = "'pool_size':2", C3},
    {.class_name = "MaxPool3D", .options = "'pool_size':[3,2,1],'strides':[1,2,2],'padding':'same'", C3},
    {.class_name = "MaxPooling3D", .options = "'pool_size':[1,2,2],'strides':[2,3,2]", C3},
    {.class_name = "MaxPooling3D", .options = "'pool_size':2,'data_format':'channels_first'", C3F},
    {.class_name = "AveragePooling3D", .options = "'pool_size':2", C3},
    {.class_name = "AvgPool3D", .options = "'pool_size':3,'strides':2,'padding':'same'", C3},
    {.class_name = "AveragePooling3D",
     .options = "'pool_size':[1,2,3],'strides':1,'data_format':'channels_first'",
     C3F},
    {.class_name = "MaxPooling2D", .options = "'pool_size':2"},
    {.class_name = "MaxPooling2D", .options = "'pool_size':[3,2],'strides':[1,2],'padding':'same'"},
    {.class_name = "MaxPooling2D", .options = "'pool_size':2,'strides':3"},
    {.class_name = "MaxPooling2D", .options = "'pool_size':2,'data_format':'channels_first'", CF},
    {.class_name = "MaxPooling1D", .options = "'pool_size':3,'strides':2,'padding':'same'", C1},
    {.class_name = "AveragePooling2D", .options = "'pool_size':2"},
    {.class_name = "AveragePooling2D", .options = "'pool_size':3,'strides':2,'padding':'same'"},
    {.class_name = "AveragePooling2D",
     .options = "'pool_size':[2,3],'strides':1,'data_format':'channels_first'",
     CF},
    {.class_name = "AveragePooling1D", .options = "'pool_size':[2],'strides':null", C1},
    {.class_name = "Dropout", .options = "'rate':0.25"},
    {.class_name = "Dropout", .options = "'rate':0.37,'seed':5,'noise_shape':null"},
    {.class_name = "Activation", .options = "'activation':'relu'"},
    {.class_name = "Activation", .options = "'activation':'relu6'"},
    {.class_name = "Activation", .options = "'activation':'sigmoid'"},
    {.class_name = "Activation", .options = "'activation':'tanh'"},
    {.class_name = "Activation", .options = "'activation':'elu'"},
    {.class_name = "Activation", .options = "'activation':'selu'"},
    {.class_name = "Activation", .options = "'activation':'softplus'"},
    {.class_name = "Activation", .options = "'activation':'softmax'"},
    {.class_name = "Activation", .options = "'activation':'linear'"},
    {.class_name = "BatchNormalization", .options = "'epsilon':0.01"},
    {.class_name = "BatchNormalization",
     .options = "'axis':[3],'gamma_regularizer':'l2','beta_regularizer':'l1'"},
    {.class_name = "BatchNormalization", .options = "'axis':2,'scale':false"},
    {.class_name = "BatchNormalization", .options = "'axis':1,'center':false", CF},
    {.class_name = "BatchNormalization", .options = "'trainable':false,'gamma_regularizer':'l2'"},
    {.class_name = "BatchNormalization", .options = "'momentum':0.5", C1},
    {.class_name = "BatchNormalization", .options = "'center':false,'scale':false", C3},
    {.class_name = "BatchNormalization", .options = "'axis':1", C3F},
    {.class_name = "Activation", .options = "'activation':'log_softmax'"},
    {.class_name = "Activation", .options = "'activation':'exponential'"},
    {.class_name = "Activation", .options = "'activation':'softsign'"},
    {.class_name = "Activation", .options = "'activation':'hard_sigmoid'", FEW},
    {.class_name = "Activation", .options = "'activation':'hard_tanh'", FEW},
    {.class_name = "Activation", .options = "'activation':'log_sigmoid'"},
    {.class_name = "Activation", .options = "'activation':'sparse_sigmoid'", FEW},
    {.class_name = "Activation", .options = "'activation':'sparse_plus'"},
    {.class_name = "Activation", .options = "'activation':'squareplus'"},
    {.class_name = "Activation", .options = "'activation':'silu'"},
    {.class_name = "Activation", .options = "'activation':'hard_silu'"},
    {.class_name = "Activation", .options = "'activation':'gelu'"},
    {.class_name = "Activation", .options = "'activation':'mish'"},
    {.class_name = "Activation", .options = "'activation':'tanh_shrink'"},
    {.class_name = "Activation", .options = "'activation':'leaky_relu'", FEW},
    {.class_name = "Activation", .options = "'activation':'celu'"},
    {.class_name = "ReLU", .options = "'max_value':0.4"},
    {.class_name = "ReLU", .options = "'max_value':0.4,'negative_slope':0.1"},
    {.class_name = "LeakyReLU", .options = "'negative_slope':0.3"},
    {.class_name = "PReLU", .options = "'alpha_regularizer':'l2'"},
    {.class_name = "PReLU", .options = "'shared_axes':[1,2]"},
    {.class_name = "PReLU", .options = "'shared_axes':[1,3]"},
    {.class_name = "PReLU", .options = "'shared_axes':[2,3]", CF},
    {.class_name = "PReLU", .options = "'shared_axes':[1]", C1},
    {.class_name = "PReLU", .options = "'shared_axes':[1,2,3]", C3},
    {.class_name = "ELU", .options = "'alpha':0.5"},
    {.class_name = "Softmax", .options = "'axis':-1"},
    {.class_name = "Softmax", .options = "'axis':1"},
    {.class_name = "Softmax", .options = "'axis':2", CF},
    {.class_name = "GlobalMaxPooling2D", .options = "'keepdims':true"},
    {.class_name = "GlobalMaxPooling2D", .options = "'data_format':'channels_first'", CF1},
    {.class_name = "GlobalMaxPooling1D", .options = "'keepdims':false", C1},
    {.class_name = "GlobalMaxPooling3D", .options = "'keepdims':false", C3},
    {.class_name = "GlobalAveragePooling2D", .options = "'keepdims':false"},
    {.class_name = "GlobalAveragePooling2D", .options = "'data_format':'channels_first','keepdims':true", CF},
    {.class_name = "GlobalAveragePooling1D", .options = "'keepdims':true", C1},
    {.class_name = "GlobalAveragePooling3D",
     .options = "'keepdims':false,'data_format':'channels_first'",
     C3F1},
    {.class_name = "ZeroPadding1D", .options = "'padding':[2,1]", C1},
    {.class_name = "ZeroPadding2D", .options = "'padding':[[0,1],[2,3]]"},
    {.class_name = "ZeroPadding2D", .options = "'padding':[1,2],'data_format':'channels_first'", CF},
    {.class_name = "ZeroPadding3D", .options = "'padding':1", C3},
    {.class_name = "Cropping1D", .options = "'cropping':[2,1]", C1},
    {.class_name = "Cropping2D", .options = "'cropping':[[0,1],[2,3]]"},
    {.class_name = "Cropping2D", .options = "'cropping':[2,1],'data_format':'channels_first'", CF},
    {.class_name = "Cropping3D", .options = "'cropping':[[1,0],[0,2],[1,1]]", C3},
    {.class_name = "UpSampling1D", .options = "'size':3", C1},
    {.class_name = "UpSampling2D", .options = "'size':[2,3]"},
    {.class_name = "UpSampling2D", .options = "'size':[2,3],'data_format':'channels_first'", CF},
    {.class_name = "UpSampling3D", .options = "'size':[1,2,3]", C3},
    {.class_name = "Rescaling", .options = "'scale':1.5,'offset':-0.5"},
    {.class_name = "Rescaling", .options = "'scale':[1.5,2,-1,0.3],'offset':[0,1,0,1]"},
    {.class_name = "Reshape", .options = "'target_shape':[-1,14]"},
    {.class_name = "Permute", .options = "'dims':[3,1,2]"},
    {.class_name = "Permute", .options = "'dims':[3,4,2,1]", C3},
    {.class_name = "SpatialDropout1D", .options = "'rate':0.25", C1},
    {.class_name = "SpatialDropout2D", .options = "'rate':0.37,'seed':5"},
    {.class_name = "SpatialDropout2D", .options = "'rate':0.25,'data_format':'channels_first'", CF},
    {.class_name = "SpatialDropout3D", .options = "'rate':0.25", C3},
    {.class_name = "Conv2D", .options = "'filters':5,'kernel_size':3,'activation':'gelu'"},
    {.class_name = "Conv2D",
     .options = "'filters':5,'kernel_size':3,'activation':{'class_name':'LeakyReLU','config':{'alpha':0.1}}"},
    {.class_name = "Dense", .options = "'units':5,'activation':'hard_swish','activity_regularizer':'l2'"},
    {.class_name = "Dense", .options = "'units':5,'activation':'relu'"},
    {.class_name = "Dense",
     .options = "'units':5,'activation':'softplus','use_bias':false,'kernel_regularizer':'l2'"},
    {.class_name = "Dense",
     .options = "'units':3,'activation':'tanh','bias_regularizer':'l2','activity_regularizer':'l2'"},
};

static void append(char *text, const char *part)
{
    size_t used = strlen(text);
    for (; *part != 0 && used + 1 < TEXT; part++) text[used++] = *part == '\'' ? '"' : *part;
    text[used] = 0;
}

static model *build(const test_case *c)
{
    char text[TEXT] = "";
    append(text,
           "{'class_name':'Sequential','config':{'name':'t','layers':[{'class_name':'InputLayer','config':{"
           "'batch_input_shape':[null,");
    append(text, c->shape != NULL ? c->shape : "8,7,2");
    append(text, "]}},");
    append(text, c->front != NULL ? c->front : FRONT);
    append(text, "{'class_name':'");
    append(text, c->class_name);
    append(text, "','config':{'name':'it',");
    append(text, c->options);
    append(text, "}},");
    if (c->head != NULL)
        append(text, "{'class_name':'Flatten','config':{'name':'flatten','data_format':'channels_first'}},"
                     "{'class_name':'Dense','config':{'name':'head','units':3,'activation':'softmax'}}");
    else
        append(text, HEAD);
    append(text, "]}}");
    return test_model(text);
}

typedef struct {
    net *n;
    net_batch batch;
    float *values;
    uint8_t labels[IMAGES];
} rig;

static void rig_start(rig *r, const model *m, net_options options)
{
    int64_t count = shape_count(&m->in) * IMAGES;
    options.batch = IMAGES;
    if (options.threads == 0) options.threads = 2;
    if (options.impls == NULL) options.impls = "naive";
    r->n = test_net_with(m, &options);
    r->values = malloc((size_t)count * sizeof *r->values);
    for (int64_t i = 0; i < count; i++) r->values[i] = (float)(2 * noise(77, (uint32_t)i));
    for (int i = 0; i < IMAGES; i++) r->labels[i] = (uint8_t)(i % CLASSES);
    r->batch = (net_batch){.values = r->values, .labels = r->labels, .count = IMAGES};
    noise_weights(m, net_weights(r->n));
    net_weights_changed(r->n);
}

static void rig_stop(rig *r)
{
    net_destroy(r->n);
    free(r->values);
}

static double loss_of(rig *r)
{
    net_result result;
    conv_error err;
    net_weights_changed(r->n);
    if (net_train(r->n, &r->batch, 3, &result, &err) != CONV_OK) fail_msg("%s", err.text);
    return result.loss;
}

/* (L(w + h d) - L(w - h d)) / 2h of parameter p along d. */
static double difference(rig *r, const parameter *p, const double *d, double h)
{
    float *w = net_weights(r->n) + p->offset, *saved = malloc((size_t)p->count * sizeof *saved);
    double side[2];
    memcpy(saved, w, (size_t)p->count * sizeof *w);
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < p->count; i++) w[i] = (float)(saved[i] + (s ? -h : h) * d[i]);
        side[s] = loss_of(r);
    }
    memcpy(w, saved, (size_t)p->count * sizeof *w);
    free(saved);
    return (side[0] - side[1]) / (2 * h);
}

/* Kinks (ReLU, max pooling, l1) spoil a difference that straddles one: the best of several steps counts. */
static void check_direction(rig *r, const char *what, const parameter *p, const double *d, double slope,
                            double length)
{
    double best = INFINITY, got = 0;
    for (double h = 3e-2; h > 1e-4; h /= 3) {
        double fd = difference(r, p, d, h), error = fabs(fd - slope) / (fabs(slope) + 0.02 * length);
        if (error < best) {
            best = error;
            got = fd;
        }
    }
    if (!(best < 0.01)) fail_msg("%s: %s: gradient says %.7g, difference %.7g", what, p->name, slope, got);
}

static void check_model(const char *what, const model *m, rig *r)
{
    loss_of(r);
    net_reduce(r->n);
    float *g = malloc((size_t)m->total * sizeof *g);
    memcpy(g, net_gradient(r->n), (size_t)m->total * sizeof *g);
    for (int k = 0; k < m->parameter_count; k++) {
        const parameter *p = &m->parameter[k];
        if (!p->trainable) continue;
        double *d = malloc((size_t)p->count * sizeof *d), square = 0, dot = 0;
        for (int64_t i = 0; i < p->count; i++) square += (double)g[p->offset + i] * g[p->offset + i];
        double length = sqrt(square);
        if (!(length > 1e-7)) fail_msg("%s: %s has no gradient", what, p->name);
        for (int64_t i = 0; i < p->count; i++) d[i] = g[p->offset + i] / length;
        check_direction(r, what, p, d, length, length);
        for (int64_t i = 0; i < p->count; i++) {
            d[i] = 2 * noise(99, (uint32_t)i) / sqrt((double)p->count);
            dot += d[i] * g[p->offset + i];
        }
        check_direction(r, what, p, d, dot, length);
        free(d);
    }
    free(g);
}

static void differences(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char what[512];
        snprintf(what, sizeof what, "%s {%s}", cases[i].class_name, cases[i].options);
        model *m = build(&cases[i]);
        rig r;
        rig_start(&r, m, (net_options){0});
        check_model(what, m, &r);
        rig_stop(&r);
        free(m);
    }
    print_message("# %zu layers and options differentiated\n", sizeof cases / sizeof *cases);
}

/* Losses of outputs that are no softmax's. */
static void other_outputs(void **state)
{
    static const char *const heads[] = {"sigmoid", "softplus"};
    for (int i = 0; i < 2; i++) {
        char text[TEXT] = "";
        append(text,
               "{'class_name':'Sequential','config':[{'class_name':'Dense','config':{'name':'a','units':6,"
               "'batch_input_shape':[null,10],'activation':'tanh'}},{'class_name':'Dense','config':{'name':'b',"
               "'units':3,"
               "'activation':'");
        append(text, heads[i]);
        append(text, "'}}]}");
        model *m = test_model(text);
        rig r;
        rig_start(&r, m, (net_options){0});
        check_model(heads[i], m, &r);
        rig_stop(&r);
        free(m);
    }
}

/* Both gradients to rounding. */
static void compare_nets(const char *what, const model *m, net_options a, net_options b)
{
    rig x, y;
    rig_start(&x, m, a);
    rig_start(&y, m, b);
    double lx = loss_of(&x), ly = loss_of(&y);
    if (fabs(lx - ly) > 1e-6 * (1 + fabs(lx))) fail_msg("%s: losses %.9g and %.9g", what, lx, ly);
    net_reduce(x.n);
    net_reduce(y.n);
    const float *gx = net_gradient(x.n), *gy = net_gradient(y.n);
    for (int k = 0; k < m->parameter_count; k++) {
        const parameter *p = &m->parameter[k];
        double largest = 0;
        for (int64_t i = 0; i < p->count; i++) largest = fmax(largest, fabsf(gx[p->offset + i]));
        for (int64_t i = 0; i < p->count; i++)
            if (!(fabsf(gx[p->offset + i] - gy[p->offset + i]) <= 2e-6 * (largest + 0.1)))
                fail_msg("%s: %s[%lld]: %.9g and %.9g", what, p->name, (long long)i, (double)gx[p->offset + i],
                         (double)gy[p->offset + i]);
    }
    rig_stop(&x);
    rig_stop(&y);
}

static const char FUSIBLE[] =
    "{'class_name':'Sequential','config':[{'class_name':'SeparableConv2D','config':{'filters':20,'kernel_size':"
    "3,"
    "'activation':'relu','batch_input_shape':[null,13,12,1]}},{'class_name':'MaxPooling2D','config':{}},"
    "{'class_name':'Dropout','config':{'rate':0.25}},{'class_name':'Conv2D','config':{'filters':17,'kernel_"
    "size':2,"
    "'activation':'relu'}},{'class_name':'MaxPooling2D','config':{'pool_size':[2,2],'strides':[1,2],'padding':'"
    "same'}},"
    "{'class_name':'Dropout','config':{'rate':0.6}},{'class_name':'Flatten','config':{}},{'class_name':'Dense',"
    "'config':"
    "{'units':12,'activation':'relu'}},{'class_name':'Dense','config':{'units':3,'activation':'softmax'}}]}";

static const char FUSIBLE_3D[] =
    "{'class_name':'Sequential','config':[{'class_name':'SeparableConv3D','config':{'filters':20,'kernel_size':"
    "3,'activation':'relu','batch_input_shape':[null,7,8,9,1]}},{'class_name':'MaxPooling3D','config':{}},"
    "{'class_name':'Dropout','config':{'rate':0.25}},{'class_name':'Conv3D','config':{'filters':17,'kernel_"
    "size':2,'padding':'same','activation':'relu'}},{'class_name':'MaxPooling3D','config':{'pool_size':2,"
    "'strides':[1,2,1],'padding':'same'}},{'class_name':'Dropout','config':{'rate':0.6}},"
    "{'class_name':'Flatten','config':{}},{'class_name':'Dense','config':{'units':3,'activation':'softmax'}}]}";

/* Activations of their own, of which relu and relu6 go into the layers before them. */
static const char FUSIBLE_LAYERS[] =
    "{'class_name':'Sequential','config':[{'class_name':'ZeroPadding2D','config':{'batch_input_shape':[null,9,"
    "8,2]}},"
    "{'class_name':'Conv2D','config':{'filters':20,'kernel_size':3}},{'class_name':'ReLU','config':{'max_value'"
    ":6.0}},"
    "{'class_name':'DepthwiseConv2D','config':{'kernel_size':3,'padding':'same'}},{'class_name':'PReLU','"
    "config':{}},"
    "{'class_name':'SeparableConv2D','config':{'filters':17,'kernel_size':2}},{'class_name':'ReLU','config':{}}"
    ","
    "{'class_name':'MaxPooling2D','config':{}},{'class_name':'SpatialDropout2D','config':{'rate':0.4}},"
    "{'class_name':'Conv2D','config':{'filters':9,'kernel_size':1}},{'class_name':'LeakyReLU','config':{}},"
    "{'class_name':'GlobalMaxPooling2D','config':{}},{'class_name':'Dense','config':{'units':3}},"
    "{'class_name':'Activation','config':{'activation':'relu6'}},{'class_name':'Dense','config':{'units':3}},"
    "{'class_name':'Softmax','config':{}}]}";

static void fusions_agree(void **state)
{
    static const char *const models[] = {FUSIBLE, FUSIBLE_3D, FUSIBLE_LAYERS};
    for (int i = 0; i < 3; i++) {
        char text[TEXT] = "";
        append(text, models[i]);
        model *m = test_model(text);
        compare_nets("unfused", m, (net_options){0}, (net_options){.unfused = true});
        compare_nets("slices of 2", m, (net_options){.slice = 7}, (net_options){.slice = 2});
        compare_nets("best", m, (net_options){0}, (net_options){.impls = "best"});
        free(m);
    }
}

/* The models of golden/train/graphs_keras.json: their gradients, and that neither fusion nor slices matter. */
static void graphs(void **state)
{
    json_t *golden = test_json("golden/train/graphs_keras.json"), *item;
    size_t at;
    json_array_foreach(json_object_get(golden, "cases"), at, item)
    {
        char *text = json_dumps(json_object_get(item, "model"), 0);
        model *m = test_model(text);
        rig r;
        rig_start(&r, m, (net_options){.slice = 2});
        check_model(m->name, m, &r);
        rig_stop(&r);
        compare_nets(m->name, m, (net_options){0}, (net_options){.unfused = true});
        compare_nets(m->name, m, (net_options){.slice = 7}, (net_options){.slice = 2});
        compare_nets(m->name, m, (net_options){0}, (net_options){.impls = "best"});
        free(m);
        free(text);
    }
    json_decref(golden);
}

/* The summary says where such a layer went. */
static void relu_layers_are_fused(void **state)
{
    char text[TEXT] = "";
    append(text, FUSIBLE_LAYERS);
    model *m = test_model(text);
    net *n = test_net_with(m, &(net_options){.threads = 1, .batch = 4, .impls = "naive"});
    assert_string_equal(net_fusion(n, 1), "relu6");
    assert_string_equal(net_fusion(n, 2), "in the layer before");
    assert_string_equal(net_fusion(n, 5), "relu in pooling");
    assert_string_equal(net_fusion(n, 6), "in the layer before");
    assert_string_equal(net_fusion(n, 10), ""); /* leaky */
    assert_string_equal(net_fusion(n, 13), "in the layer before");
    assert_string_equal(net_fusion(n, 15), "in loss");
    net_destroy(n);
    free(m);
}

/* A relu layer whose input another layer reads as well stays where it is. */
static const char FORKED[] =
    "{'class_name':'Functional','config':{'name':'f','layers':["
    "{'class_name':'InputLayer','name':'in','config':{'name':'in','batch_input_shape':[null,6,5,2]},'inbound_"
    "nodes':[]},"
    "{'class_name':'Conv2D','name':'a','config':{'name':'a','filters':4,'kernel_size':1},"
    "'inbound_nodes':[[['in',0,0,{}]]]},"
    "{'class_name':'ReLU','name':'b','config':{'name':'b'},'inbound_nodes':[[['a',0,0,{}]]]},"
    "{'class_name':'LeakyReLU','name':'c','config':{'name':'c'},'inbound_nodes':[[['a',0,0,{}]]]},"
    "{'class_name':'Add','name':'d','config':{'name':'d'},'inbound_nodes':[[['b',0,0,{}],['e',0,0,{}]]]},"
    "{'class_name':'PReLU','name':'e','config':{'name':'e','shared_axes':[1,2]},'inbound_nodes':[[['c',0,0,{}]]"
    "]},"
    "{'class_name':'GlobalAveragePooling2D','name':'g','config':{'name':'g'},'inbound_nodes':[[['d',0,0,{}]]]},"
    "{'class_name':'GlobalMaxPooling2D','name':'h','config':{'name':'h'},'inbound_nodes':[[['a',0,0,{}]]]},"
    "{'class_name':'Add','name':'i','config':{'name':'i'},'inbound_nodes':[[['g',0,0,{}],['h',0,0,{}]]]},"
    "{'class_name':'Dense','name':'j','config':{'name':'j','units':3,'activation':'softmax'},"
    "'inbound_nodes':[[['i',0,0,{}]]]}],'input_layers':[['in',0,0]],'output_layers':[['j',0,0]]}}";

static void forks_are_not_fused(void **state)
{
    char text[TEXT] = "";
    append(text, FORKED);
    model *m = test_model(text);
    rig r;
    rig_start(&r, m, (net_options){0});
    for (int i = 0; i < m->layer_count - 1; i++) assert_string_equal(net_fusion(r.n, i), "");
    check_model("forked", m, &r);
    rig_stop(&r);
    free(m);
}

/* No bit depends on the threads. */
static void threads_agree(void **state)
{
    char text[TEXT] = "";
    append(text, FUSIBLE_LAYERS);
    model *m = test_model(text);
    float *first = malloc((size_t)m->total * sizeof *first);
    for (int threads = 1; threads <= 3; threads++) {
        rig r;
        rig_start(&r, m, (net_options){.threads = threads, .slice = 1});
        loss_of(&r);
        net_reduce(r.n);
        if (threads == 1) memcpy(first, net_gradient(r.n), (size_t)m->total * sizeof *first);
        assert_memory_equal(first, net_gradient(r.n), (size_t)m->total * sizeof *first);
        rig_stop(&r);
    }
    free(first);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences),           cmocka_unit_test(other_outputs),
        cmocka_unit_test(fusions_agree),         cmocka_unit_test(graphs),
        cmocka_unit_test(relu_layers_are_fused), cmocka_unit_test(forks_are_not_fused),
        cmocka_unit_test(threads_agree)};
    return cmocka_run_group_tests_name("train_gradients", tests, NULL, NULL);
}
