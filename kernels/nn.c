/* Which copy of kernels/nn runs: the widest that was built and is allowed. */
#include "nn/nn.h"

extern const nn_kernels nn_table_base __attribute__((weak)), nn_table_avx2 __attribute__((weak)),
    nn_table_avx512 __attribute__((weak));

const nn_kernels *nn_kernels_at(cpu_isa isa)
{
    const nn_kernels *const copies[CPU_ISA_COUNT] = {&nn_table_base, &nn_table_avx2, &nn_table_avx512};
    return isa <= cpu_allowed() ? copies[isa] : NULL;
}

const nn_kernels *nn_kernels_get(void)
{
    for (int isa = CPU_ISA_COUNT - 1; isa > CPU_BASE; isa--)
        if (nn_kernels_at((cpu_isa)isa) != NULL) return nn_kernels_at((cpu_isa)isa);
    return nn_kernels_at(CPU_BASE);
}
