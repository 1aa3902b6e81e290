/* cmocka, which needs the four headers before it. */
#ifndef SEPBENCH_TESTS_UNIT_H
#define SEPBENCH_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each test gets a state, which few use. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
