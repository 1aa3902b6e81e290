/* Keras's model.summary() with FLOPs, and its progress lines. */
#include "summary.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static int64_t layer_parameters(const model *m, const layer *l)
{
    int64_t count = 0;
    for (int i = 0; i < l->parameter_count; i++) count += m->parameter[l->first_parameter + i].count;
    return count;
}

/* "(None, 26, 26, 32)" */
static char *batch_shape(const tensor_shape *s, char *buffer, size_t size)
{
    char inner[64];
    shape_text(s, inner);
    snprintf(buffer, size, "(None, %s", inner + 1);
    size_t length = strlen(buffer);
    if (s->rank == 1) strcpy(buffer + length - 2, ")"); /* no "(None, 10,)" */
    return buffer;
}

static char *grouped(int64_t value, char *buffer)
{
    char digits[32];
    int n = sprintf(digits, "%lld", (long long)value), used = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) buffer[used++] = ',';
        buffer[used++] = digits[i];
    }
    buffer[used] = 0;
    return buffer;
}

/* Where it is not the layer before: "reads a, b". */
static void print_inputs(FILE *out, const model *m, int at, const char *separator)
{
    const layer *l = &m->layers[at];
    if (l->input_count == 1 && l->inputs[0] == at - 1) return;
    fprintf(out, "%sreads ", separator);
    for (int k = 0; k < l->input_count; k++)
        fprintf(out, "%s%s", k > 0 ? ", " : "", l->inputs[k] < 0 ? "the input" : m->layers[l->inputs[k]].name);
}

void summary_print(FILE *out, const model *m, const net *n)
{
    static const char row[] = "%-38.38s %-25s %10s %12s  %s%s%s";
    char line[112], name[3 * MODEL_NAME_MAX], shape[80], count[48], work[48], impl[64];
    int64_t flops = 0, trainable = 0;
    memset(line, '=', sizeof line - 1);
    line[sizeof line - 1] = 0;
    fprintf(out, "Model: \"%s\"\n%s\n", m->name, line);
    fprintf(out, row, "Layer (type)", "Output Shape", "Param #", "FLOPs/image", "Runs on", "", "");
    fprintf(out, "\n%s\n", line);
    for (int i = 0; i < m->layer_count; i++) {
        const layer *l = &m->layers[i];
        const char *fused = net_fusion(n, i);
        snprintf(name, sizeof name, "%s (%s)", l->name, l->class_name);
        net_impl(n, i, impl);
        flops += layer_flops(l);
        fprintf(out, row, name, batch_shape(&l->out, shape, sizeof shape),
                grouped(layer_parameters(m, l), count), layer_flops(l) > 0 ? grouped(layer_flops(l), work) : "",
                impl, *impl && *fused ? ", " : "", fused);
        print_inputs(out, m, i, *impl || *fused ? ", " : "");
        fputc('\n', out);
    }
    for (int i = 0; i < m->parameter_count; i++)
        trainable += m->parameter[i].trainable ? m->parameter[i].count : 0;
    fprintf(out, "%s\nTotal params: %s\n", line, grouped(m->parameters, count));
    fprintf(out, "Trainable params: %s\n", grouped(trainable, count));
    fprintf(out, "Non-trainable params: %s\n", grouped(m->parameters - trainable, count));
    fprintf(out, "FLOPs per image: %s forward\n%s\n", grouped(flops, work), line);
}

json_t *summary_json(const model *m, const net *n)
{
    json_t *layers = json_array();
    for (int i = 0; i < m->layer_count; i++) {
        const layer *l = &m->layers[i];
        json_t *shape = json_array();
        for (int k = 0; k < l->out.rank; k++) json_array_append_new(shape, json_integer(l->out.dim[k]));
        char impl[64];
        json_array_append_new(layers,
                              json_pack("{s:s, s:s, s:o, s:I, s:I, s:s, s:s}", "name", l->name, "class",
                                        l->class_name, "output", shape, "parameters",
                                        (json_int_t)layer_parameters(m, l), "flops", (json_int_t)layer_flops(l),
                                        "impl", net_impl(n, i, impl), "fused", net_fusion(n, i)));
    }
    return layers;
}

/* ---- progress */

enum { BAR = 30 };

void epoch_line_start(epoch_line *line, FILE *out, int64_t epochs)
{
    *line = (epoch_line){.out = out, .terminal = isatty(fileno(out)), .epochs = epochs};
}

static void metrics(FILE *out, const char *prefix, double loss, double accuracy)
{
    if (isfinite(loss)) fprintf(out, " - %sloss: %.4f - %saccuracy: %.4f", prefix, loss, prefix, accuracy);
}

/* Keras's "4s 21ms/step" */
static void timing(FILE *out, double seconds, int64_t steps)
{
    double per_step = seconds / (double)steps;
    fprintf(out, "%.*fs %.*fms/step", seconds < 10 ? 1 : 0, seconds, per_step < 0.01 ? 1 : 0, per_step * 1e3);
}

void epoch_line_step(epoch_line *line, const fit_step *s)
{
    if (!line->terminal) return;
    if (s->step == 1) {
        fprintf(line->out, "Epoch %lld/%lld\n", (long long)s->epoch, (long long)line->epochs);
        line->last = -1;
    }
    if (s->seconds - line->last < 0.1 && s->seconds >= line->last) return;
    line->last = s->seconds;
    int done = (int)(s->step * BAR / s->steps);
    char bar[BAR + 1];
    for (int i = 0; i < BAR; i++) bar[i] = i < done ? '=' : i == done ? '>' : '.';
    bar[BAR] = 0;
    fprintf(line->out, "\r\033[K%lld/%lld [%s] - ", (long long)s->step, (long long)s->steps, bar);
    timing(line->out, s->seconds, s->step);
    metrics(line->out, "", s->loss, s->accuracy);
    fflush(line->out);
}

void epoch_line_end(epoch_line *line, const fit_epoch *row, int64_t steps)
{
    if (line->terminal)
        fprintf(line->out, "\r\033[K%lld/%lld [==============================] - ", (long long)steps,
                (long long)steps);
    else
        fprintf(line->out, "Epoch %lld/%lld - %lld/%lld - ", (long long)row->epoch, (long long)line->epochs,
                (long long)steps, (long long)steps);
    timing(line->out, row->seconds, steps);
    metrics(line->out, "", row->loss, row->accuracy);
    metrics(line->out, "val_", row->val_loss, row->val_accuracy);
    fputc('\n', line->out);
    fflush(line->out);
}

void epoch_line_break(epoch_line *line)
{
    if (line->terminal) fputc('\n', line->out);
    fflush(line->out);
}
