/* What the subjects of harness share: growing arrays, SplitMix64, text of JSON and of UTC times. */
#include <stdlib.h>
#include <string.h>

#include "../harness/grow.h"
#include "../harness/json.h"
#include "../harness/random.h"
#include "../harness/utc.h"
#include "unit.h"

static void test_grow(void **state)
{
    enum { COUNT = 1000 };
    int *numbers = NULL;
    size_t count = 0;
    for (int i = 0; i < COUNT; i++) {
        int *added = grow(&numbers, &count, sizeof *added);
        assert_non_null(added);
        assert_ptr_equal(added, &numbers[i]);
        assert_int_equal(*added, 0);
        *added = i;
    }
    assert_int_equal(count, COUNT);
    for (int i = 0; i < COUNT; i++) assert_int_equal(numbers[i], i);
    count = 20; /* a list may also be cut */
    for (int i = 20; i < 100; i++) *(int *)grow(&numbers, &count, sizeof *numbers) = -i;
    for (int i = 0; i < 100; i++) assert_int_equal(numbers[i], i < 20 ? i : -i);
    free(numbers);
}

/* The numbers of the reference implementation (https://prng.di.unimi.it/splitmix64.c) from 0 on. */
static void test_random(void **state)
{
    uint64_t seed = 0;
    assert_true(random_next(&seed) == 0xe220a8397b1dcdafu);
    assert_true(random_next(&seed) == 0x6e789e6aa1b965f4u);
    assert_true(random_next(&seed) == 0x06c45d188009454fu);
    seed = 0;
    assert_true(random_below(&seed, 1000) == 0xe220a8397b1dcdafu % 1000);
}

/* Each of the six orders of three things comes up about as often as any other. */
static void test_shuffle(void **state)
{
    enum { DRAWS = 6000 };
    int seen[27] = {0};
    uint64_t seed = 1;
    for (int i = 0; i < DRAWS; i++) {
        size_t order[] = {0, 1, 2};
        random_shuffle(&seed, order, 3);
        seen[9 * order[0] + 3 * order[1] + order[2]]++;
    }
    int orders = 0, all = 0;
    for (int i = 0; i < 27; i++) {
        orders += seen[i] > 0;
        all += seen[i];
        assert_true(seen[i] == 0 || (seen[i] > 850 && seen[i] < 1150));
    }
    assert_int_equal(orders, 6);
    assert_int_equal(all, DRAWS);
}

static void test_text(void **state)
{
    char buffer[32];
    json_t *object = json_pack("{s:s, s:i}", "cpu", "EPYC", "cores", 2);
    assert_string_equal(json_text(object, "cpu", "unknown"), "EPYC");
    assert_string_equal(json_text(object, "cores", "unknown"), "unknown");
    assert_string_equal(json_text(NULL, "cpu", "unknown"), "unknown");
    assert_null(json_text(object, "host", NULL));
    json_decref(object);
    assert_string_equal(utc_text(1769860800, UTC_STAMP, buffer, sizeof buffer), "2026-01-31T12:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests_name("helpers", tests, NULL, NULL);
}
