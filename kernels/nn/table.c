/* One copy's functions as a table. */
#include "../isa.h"
#include "internal.h"

#define FUNCTION(member, name) .member = name,
extern const nn_kernels nn_table;
const nn_kernels nn_table = {
    .isa = ISA_ENUM,
#include "functions.def"
};
