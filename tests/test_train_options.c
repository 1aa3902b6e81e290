/* What a layer's JSON may hold: every form Keras writes, and one clear line for all else. */
#include "train_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A model of one layer with that class and those options, then Flatten and Dense. */
static model *one_layer(const char *class_name, const char *options, conv_error *err)
{
    char text[4096], json[4096];
    snprintf(text, sizeof text,
             "{'class_name':'Sequential','config':{'layers':[{'class_name':'InputLayer','config':{'batch_input_"
             "shape':"
             "[null,8,8,2],'dtype':'float32','sparse':false,'ragged':false,'name':'in'}},{'class_name':'%s','"
             "config':{%s}},"
             "{'class_name':'Flatten','config':{}},{'class_name':'Dense','config':{'units':3}}]}}",
             class_name, options);
    return model_parse(test_quoted(text, json), "m.json", err);
}

static void accepted_forms(void **state)
{
    static const char *const forms[][2] = {
        {"Convolution2D", "'filters':4,'kernel_size':3,'activation':null"},
        {"Conv2D",
         "'filters':4,'kernel_size':[3,3],'strides':[1,1],'padding':'valid','data_format':'channels_last',"
         "'dilation_rate':[1,1],'groups':1,'activation':'linear','use_bias':true,'trainable':true,'dtype':'"
         "float32',"
         "'kernel_initializer':{'class_name':'GlorotUniform','config':{'seed':null}},'bias_initializer':{"
         "'class_name':'Zeros','config':{}},'kernel_regularizer':null,'bias_regularizer':null,"
         "'activity_regularizer':null,'kernel_constraint':null,'bias_constraint':null"},
        {"Conv2D", "'filters':4,'kernel_size':3,'kernel_initializer':{'class_name':'VarianceScaling','config':{"
                   "'scale':1.0,"
                   "'mode':'fan_avg','distribution':'uniform','seed':7}},'bias_initializer':'ones'"},
        {"Conv2D",
         "'filters':4,'kernel_size':3,'kernel_initializer':{'module':'keras.initializers','class_name':'"
         "HeNormal',"
         "'config':{'seed':null},'registered_name':null},'kernel_constraint':{'class_name':'MaxNorm','config':{"
         "'max_value':2,'axis':[0,1,2]}}"},
        {"SeparableConv2D",
         "'filters':4,'kernel_size':3,'groups':1,'kernel_initializer':'glorot_uniform',"
         "'kernel_regularizer':null,'kernel_constraint':null,'depthwise_constraint':{'class_name':"
         "'MinMaxNorm','config':{'min_value':0.1,'max_value':1,'rate':0.5,'axis':0}},"
         "'pointwise_constraint':{'class_name':'UnitNorm','config':{'axis':2}},'bias_constraint':'non_neg'"},
        {"MaxPool2D", "'pool_size':2,'strides':null"},
        {"AvgPool2D", "'pool_size':[2,2]"},
        {"Dropout", "'rate':0.5,'noise_shape':null,'seed':null"},
        {"InputLayer", "'batch_input_shape':[null,8,8,2],'dtype':'float64'"},
        {"Conv2D",
         "'filters':4,'kernel_size':3,'activation':{'module':'keras.layers','class_name':'ReLU','config':{"
         "'name':'re_lu_1','trainable':true,'dtype':'float32','max_value':6.0,'negative_slope':0.0,"
         "'threshold':0.0},'registered_name':null}"},
        {"Conv2D",
         "'filters':4,'kernel_size':3,'activation':{'module':'builtins','class_name':'function','config':"
         "'hard_swish','registered_name':'function'}"},
        {"ReLU", "'max_value':null,'negative_slope':0.0,'threshold':0.0"},
        {"LeakyReLU", "'alpha':0.30000001192092896"},
        {"PReLU", "'alpha_initializer':{'class_name':'Zeros','config':{}},'alpha_regularizer':null,"
                  "'alpha_constraint':null,'shared_axes':[1,2]"},
        {"PReLU", "'shared_axes':3"},
        {"Softmax", "'axis':[-2]"},
        {"GlobalAvgPool2D", "'keepdims':true,'data_format':'channels_first'"},
        {"ZeroPadding2D", "'padding':[1,2],'data_format':'channels_last'"},
        {"ZeroPadding2D", "'padding':0"},
        {"UpSampling2D", "'size':[2,2],'data_format':'channels_last','interpolation':'nearest'"},
        {"Rescaling",
         "'scale':{'class_name':'__numpy__','config':{'value':[0.5,2],'dtype':'float32'}},'offset':-1"},
        {"SpatialDropout2D",
         "'rate':0.1,'seed':null,'name':'d','dtype':'float32','data_format':'channels_last'"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        conv_error err = {""};
        model *m = one_layer(forms[i][0], forms[i][1], &err);
        if (m == NULL) fail_msg("%s {%s}: %s", forms[i][0], forms[i][1], err.text);
        free(m);
    }
}

static void refused_forms(void **state)
{
    static const char *const forms[][3] = {
        {"Conv4D", "'filters':4,'kernel_size':3", "unknown layer 'Conv4D'"},
        {"Conv3DTranspose", "'filters':4,'kernel_size':3", "unknown layer 'Conv3DTranspose'"},
        {"DepthwiseConv3D", "'kernel_size':3", "unknown layer 'DepthwiseConv3D'"},
        {"SeparableConvolution3D", "'filters':4,'kernel_size':3", "unknown layer 'SeparableConvolution3D'"},
        {"MaxPooling", "'pool_size':2", "unknown layer 'MaxPooling'"},
        {"Dense2D", "'units':2", "unknown layer 'Dense2D'"},
        {"LSTM", "'units':4", "unknown layer 'LSTM'"},
        {"Conv2D", "'kernel_size':3", "option 'filters' is missing"},
        {"Conv2D", "'filters':4,'kernel_size':3,'kernel_size_x':1", "unknown option 'kernel_size_x'"},
        {"Conv2D", "'filters':4,'kernel_size':3,'depth_multiplier':2", "unknown option 'depth_multiplier'"},
        {"Conv2D", "'filters':0,'kernel_size':3", "filters is 0: must be a positive integer"},
        {"Conv2D", "'filters':4,'kernel_size':[3,3,3]", "kernel_size is [3, 3, 3]: must be an integer or two"},
        {"Conv2D", "'filters':4,'kernel_size':3,'padding':'causal'",
         "padding is \"causal\": must be valid or same"},
        {"Conv2D", "'filters':4,'kernel_size':3,'padding':'full'", "must be valid or same"},
        {"Conv2D", "'filters':4,'kernel_size':3,'activation':'glu'",
         "activation is \"glu\": must be one of Keras's activations, without glu, sparsemax and threshold"},
        {"Activation", "'activation':'threshold'", "activation is \"threshold\": must be one of"},
        {"Activation", "'activation':'sparsemax'", "activation is \"sparsemax\": must be one of"},
        {"Activation", "'activation':'Relu'", "activation is \"Relu\": must be one of"},
        {"Activation", "'activation':3", "activation is 3: must be one of"},
        {"Activation", "'activation':{'class_name':'PReLU','config':{}}",
         "must be a name, or one of the layers ReLU, LeakyReLU, ELU and Softmax"},
        {"Activation", "'activation':{'class_name':'ReLU','config':{'max_value':-1}}",
         "activation: max_value is -1: must be a number of at least 0"},
        {"Activation", "'activation':{'class_name':'Softmax','config':{'axis':1}}", "a softmax of axis -1"},
        {"Activation", "'activation':{'class_name':'function','config':'mine'}", "must be one of"},
        {"Activation", "'activation':{'class_name':'ReLU','config':{},'registered_name':'My>ReLU'}",
         "must be a name, or"},
        {"ReLU", "'negative_slope':-0.1", "negative_slope is -0.1: must be a number of at least 0"},
        {"ReLU", "'threshold':null", "threshold is null: must be a number"},
        {"ReLU", "'alpha':0.1", "unknown option 'alpha'"},
        {"LeakyReLU", "'negative_slope':1e99", "must be a number of at least 0"},
        {"ELU", "'alpha':-1", "alpha is -1: must be a number of at least 0"},
        {"PReLU", "'shared_axes':[0]", "shared_axes is [0]: must be null or axes"},
        {"PReLU", "'shared_axes':[4]", "shared_axes: the tensor has 3 axes without its batch"},
        {"PReLU", "'alpha_constraint':{'class_name':'MaxNorm','config':{'axis':3}}",
         "beyond the weights' rank"},
        {"Softmax", "'axis':0", "axis is 0, the batch's"},
        {"Softmax", "'axis':4", "Axis 4 is out of bounds for an input of shape (8, 8, 2)"},
        {"Softmax", "'axis':[1,2]", "axis is [1, 2]: must be one integer"},
        {"Softmax", "'axis':-5", "Axis -5 is out of bounds"},
        {"GlobalMaxPooling1D", "", "expected ndim=3, found ndim=4"},
        {"GlobalAveragePooling2D", "'keepdims':1", "keepdims is 1: must be true or false"},
        {"GlobalAveragePooling2D", "'pool_size':2", "unknown option 'pool_size'"},
        {"GlobalMaxPooling4D", "", "unknown layer 'GlobalMaxPooling4D'"},
        {"ZeroPadding2D", "'padding':-1", "padding is -1: must be of integers of at least 0"},
        {"ZeroPadding2D", "'padding':[[1,2],[3]]", "padding is [[1, 2], [3]]: must be of integers"},
        {"ZeroPadding2D", "'padding':[1,2,3]", "must be a number, or one or a pair for each axis"},
        {"ZeroPadding2D", "'padding':2147483647", "too large"},
        {"ZeroPadding1D", "'padding':1", "expected ndim=3, found ndim=4"},
        {"Cropping2D", "'cropping':[[4,4],[0,0]]", "Values in `cropping` argument should be smaller"},
        {"Cropping2D", "'name':'c'", "option 'cropping' is missing"},
        {"UpSampling2D", "'size':2,'interpolation':'bilinear'",
         "interpolation is \"bilinear\": must be nearest: others are not supported"},
        {"UpSampling2D", "'size':[2,0]", "size is [2, 0]: must be a positive integer"},
        {"UpSampling2D", "'size':2147483647", "too large"},
        {"Rescaling", "'offset':1", "option 'scale' is missing"},
        {"Rescaling", "'scale':[1,2,3]", "scale and offset have 3 numbers, the input 2 channels"},
        {"Rescaling", "'scale':[1,2],'offset':[1,2,3]", "must be as long as the other list"},
        {"Rescaling", "'scale':[1,2,3,4,5]", "must be a number, or a list of at most 4"},
        {"Rescaling", "'scale':'x'", "must be a number, or a list of at most 4"},
        {"Reshape", "'target_shape':[-1,-1]", "at most one unknown dimension (-1)"},
        {"Reshape", "'target_shape':[3,-1]", "input_shape=(8, 8, 2), target_shape=(3, -1)"},
        {"Reshape", "'target_shape':[127]", "The total size of the tensor must be unchanged"},
        {"Reshape", "'target_shape':[1,1,1,1,128]", "must be a list of 1 to 4 integers"},
        {"Reshape", "'target_shape':[0,128]", "must be a list of positive integers"},
        {"Reshape", "'target_shape':[2147483647,2147483647,2147483647,-1]", "must be unchanged"},
        {"Permute", "'dims':[1,2]", "Invalid permutation argument `dims`"},
        {"Permute", "'dims':[1,2,2]", "Invalid permutation argument `dims`"},
        {"Permute", "'dims':[1,2,4]", "Invalid permutation argument `dims`"},
        {"Permute", "'dims':[1,2,-1]", "must be a list of positive integers"},
        {"SpatialDropout2D", "'rate':1.5", "rate is 1.5: must be a number in [0, 1)"},
        {"SpatialDropout2D", "'rate':0.5,'noise_shape':[1]", "must be null"},
        {"SpatialDropout3D", "'rate':0.5", "expected ndim=5, found ndim=4"},
        {"Conv2D", "'filters':4,'kernel_size':3,'data_format':'last'",
         "must be channels_last or channels_first"},
        {"Conv2D", "'filters':4,'kernel_size':3,'use_bias':1", "use_bias is 1: must be true or false"},
        {"Conv2D", "'filters':4,'kernel_size':3,'dtype':'float16'", "must be float32"},
        {"Conv2D", "'filters':4,'kernel_size':3,'kernel_initializer':'orthogonal'",
         "unknown initializer 'orthogonal'"},
        {"Conv2D",
         "'filters':4,'kernel_size':3,'kernel_initializer':{'class_name':'Constant','config':{'valu':1}}",
         "unknown option 'valu'"},
        {"Conv2D", "'filters':4,'kernel_size':3,'kernel_regularizer':'l3'", "unknown regularizer 'l3'"},
        {"Conv2D", "'filters':4,'kernel_size':3,'kernel_constraint':'tight'", "unknown constraint 'tight'"},
        {"Conv2D", "'filters':4,'kernel_size':3,'bias_constraint':{'class_name':'MaxNorm','config':{'axis':1}}",
         "beyond the weights' rank"},
        {"Conv2D", "'filters':4,'kernel_size':3,'strides':2,'dilation_rate':2",
         "`strides > 1` not supported in conjunction with `dilation_rate > 1`"},
        {"SeparableConv2D", "'filters':4,'kernel_size':3,'strides':2,'dilation_rate':2",
         "`strides > 1` not supported in conjunction with `dilation_rate > 1`"},
        {"SeparableConv2D", "'filters':4,'kernel_size':3,'strides':[1,2]",
         "only supports equal length strides in the row and column dimensions"},
        {"DepthwiseConv2D", "'kernel_size':3,'strides':[1,2]", "only supports equal length strides"},
        {"SeparableConv2D", "'filters':4,'kernel_size':3,'kernel_regularizer':'l2'", "must be null"},
        {"SeparableConv2D", "'filters':4,'kernel_size':3,'groups':2", "groups is 2: must be 1"},
        {"Conv2D", "'filters':5,'kernel_size':3,'groups':2",
         "The number of filters must be evenly divisible by the number of groups"},
        {"Conv2D", "'filters':6,'kernel_size':3,'groups':3",
         "The number of input channels must be evenly divisible by the number of groups"},
        {"Conv2D", "'filters':4,'kernel_size':9", "Negative dimension size caused by subtracting 9 from 8"},
        {"Conv1D", "'filters':4,'kernel_size':3", "expected ndim=3, found ndim=4"},
        {"Conv3D", "'filters':4,'kernel_size':3", "expected ndim=5, found ndim=4"},
        {"Conv3D", "'filters':4,'kernel_size':[3,3]", "kernel_size is [3, 3]: must be an integer or three"},
        {"Conv3D", "'filters':4,'kernel_size':[3,3,0]", "kernel_size is [3, 3, 0]: must be a positive integer"},
        {"Conv3D", "'filters':4,'kernel_size':3,'padding':'causal'", "must be valid or same"},
        {"Conv3D", "'filters':4,'kernel_size':3,'strides':[1,1,2],'dilation_rate':[2,1,1]",
         "Received: strides=(1, 1, 2) and dilation_rate=(2, 1, 1)"},
        {"SeparableConv3D", "'filters':4,'kernel_size':3,'kernel_constraint':'non_neg'", "must be null"},
        {"DepthwiseConv1D", "'kernel_size':[3,3]", "must be one integer"},
        {"DepthwiseConv1D", "'kernel_size':3,'padding':'causal'", "must be valid or same"},
        {"DepthwiseConv1D", "'kernel_size':3,'filters':2", "unknown option 'filters'"},
        {"DepthwiseConv1D", "'kernel_size':3", "expected ndim=3, found ndim=4"},
        {"MaxPooling3D", "'pool_size':[2,2]", "must be an integer or three"},
        {"AvgPool3D", "'pool_size':2", "expected ndim=5, found ndim=4"},
        {"Dropout", "'rate':1", "rate is 1: must be a number in [0, 1)"},
        {"Dropout", "'rate':0.5,'noise_shape':[1]", "must be null"},
        {"MaxPooling2D", "'pool_size':8,'strides':[0,1]", "must be"},
        {"Activation", "'name':'a'", "option 'activation' is missing"},
        {"Conv2D", "'filters':4,'kernel_size':3,'batch_input_shape':[null,9,9,2]",
         "differs from what the layer before"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        conv_error err = {""};
        model *m = one_layer(forms[i][0], forms[i][1], &err);
        if (m != NULL) fail_msg("%s {%s}: accepted", forms[i][0], forms[i][1]);
        if (strstr(err.text, forms[i][2]) == NULL || strstr(err.text, "m.json: layer 2") != err.text)
            fail_msg("%s {%s}: no \"%s\" in: %s", forms[i][0], forms[i][1], forms[i][2], err.text);
    }
    static const char *const files[][2] = {
        {"{", "m.json:1: "},
        {"[]", "class_name is 'absent'"},
        {"{'class_name':'Functional','config':{}}", "class_name is 'Functional': must be Sequential"},
        {"{'class_name':'Sequential','config':{'layers':[]}}", "a model without layers"},
        {"{'class_name':'Sequential','config':{'layers':[{'class_name':'Flatten','config':{}}],'extra':1}}",
         "unknown key 'extra'"},
        {"{'class_name':'Sequential','config':[{'class_name':'Dense','config':{'units':2}}]}",
         "no batch_input_shape"},
        {"{'class_name':'Sequential','config':[{'class_name':'Dense','config':{'units':2,'name':'a','batch_"
         "input_shape':"
         "[null,3]}},{'class_name':'Dense','config':{'units':2,'name':'a'}}]}",
         "All layer names should be unique"},
        {"{'class_name':'Sequential','config':[{'class_name':'Dense','config':{'units':2,'batch_input_shape':["
         "null,4,3]}}]}",
         "not a vector of class scores"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        conv_error err = {""};
        char text[2048];
        assert_null(model_parse(test_quoted(files[i][0], text), "m.json", &err));
        if (strstr(err.text, files[i][1]) == NULL)
            fail_msg("%s: no \"%s\" in: %s", text, files[i][1], err.text);
    }
}

/* relu and relu6 are themselves; Keras 2's hard_sigmoid is another than Keras 3's. */
static void what_activations_are(void **state)
{
    static const struct {
        const char *class_name, *options;
        nn_activation kind;
        float alpha;
    } kinds[] = {
        {"ReLU", "'max_value':6.0", NN_RELU6, 0},
        {"ReLU", "'name':'r'", NN_RELU, 0},
        {"ReLU", "'max_value':3", NN_SHAPED_RELU, 0},
        {"ReLU", "'max_value':6.0,'threshold':1", NN_SHAPED_RELU, 0},
        {"LeakyReLU", "'name':'l'", NN_SHAPED_RELU, 0.3f},
        {"Activation", "'activation':'leaky_relu'", NN_SHAPED_RELU, 0.2f},
        {"Activation", "'activation':{'class_name':'LeakyReLU','config':{'alpha':0.5}}", NN_SHAPED_RELU, 0.5f},
        {"Activation", "'activation':'celu'", NN_ELU, 1},
        {"Activation", "'activation':'swish'", NN_SILU, 1},
        {"Activation", "'activation':'hard_sigmoid'", NN_HARD_SIGMOID, 1},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        conv_error err = {""};
        model *m = one_layer(kinds[i].class_name, kinds[i].options, &err);
        if (m == NULL) fail_msg("%s: %s", kinds[i].options, err.text);
        const nn_function *f = &m->layers[0].activation;
        if (f->kind != kinds[i].kind || f->alpha != kinds[i].alpha)
            fail_msg("%s %s: %d, alpha %g", kinds[i].class_name, kinds[i].options, (int)f->kind,
                     (double)f->alpha);
        free(m);
    }
    char text[512];
    model *m = test_model(
        test_quoted("{'class_name':'Sequential','keras_version':'2.15.0','config':[{'class_name':'Dense',"
                    "'config':{'units':3,'batch_input_shape':[null,4],'activation':'hard_sigmoid'}}]}",
                    text));
    assert_int_equal(m->layers[0].activation.kind, NN_HARD_SIGMOID_2);
    free(m);
}

/* Names that Keras gives, and shapes. */
static void names_and_shapes(void **state)
{
    static const char *const layers[][4] = {
        {"PReLU", "'shared_axes':[1,2]", "p_re_lu", "(8, 8, 2)"},
        {"ReLU", "", "re_lu", "(8, 8, 2)"},
        {"ELU", "", "elu", "(8, 8, 2)"},
        {"LeakyReLU", "", "leaky_re_lu", "(8, 8, 2)"},
        {"GlobalAveragePooling2D", "", "global_average_pooling2d", "(2,)"},
        {"GlobalMaxPooling2D", "'keepdims':true", "global_max_pooling2d", "(1, 1, 2)"},
        {"GlobalMaxPool2D", "'keepdims':true,'data_format':'channels_first'", "global_max_pool2d", "(8, 1, 1)"},
        {"ZeroPadding2D", "'padding':[[1,2],[0,3]]", "zero_padding2d", "(11, 11, 2)"},
        {"ZeroPadding2D", "'padding':[1,2],'data_format':'channels_first'", "zero_padding2d", "(8, 10, 6)"},
        {"Cropping2D", "'cropping':[[1,2],[0,3]]", "cropping2d", "(5, 5, 2)"},
        {"UpSampling2D", "'size':[2,3]", "up_sampling2d", "(16, 24, 2)"},
        {"Reshape", "'target_shape':[4,-1]", "reshape", "(4, 32)"},
        {"Permute", "'dims':[3,1,2]", "permute", "(2, 8, 8)"},
        {"SpatialDropout2D", "'rate':0.5", "spatial_dropout2d", "(8, 8, 2)"},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        conv_error err = {""};
        char shape[64];
        model *m = one_layer(layers[i][0], layers[i][1], &err);
        if (m == NULL) fail_msg("%s: %s", layers[i][0], err.text);
        assert_string_equal(m->layers[0].name, layers[i][2]);
        assert_string_equal(shape_text(&m->layers[0].out, shape), layers[i][3]);
        if (i == 0) assert_string_equal(m->parameter[0].name, "p_re_lu/alpha:0");
        if (i == 0) assert_int_equal(m->parameter[0].count, 2);
        free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_forms),
        cmocka_unit_test(refused_forms),
        cmocka_unit_test(what_activations_are),
        cmocka_unit_test(names_and_shapes),
    };
    return cmocka_run_group_tests_name("train_options", tests, NULL, NULL);
}
