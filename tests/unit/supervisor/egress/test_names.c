/* Made-up addresses: stable, distinct, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "supervisor/egress/names.h"

static int set_up(void **state)
{
    *state = names_new();
    return 0;
}

static int tear_down(void **state)
{
    names_free(*state);
    return 0;
}

static void a_name_keeps_its_address(void **state)
{
    struct net_addr a, b, six;
    char text[INET6_ADDRSTRLEN], name[OS_LIMIT_HOST_NAME + 1];
    assert_int_equal(names_address(*state, "api.test", AF_INET, &a), NAMES_NEW);
    assert_int_equal(names_address(*state, "api.test", AF_INET6, &six), NAMES_KNOWN);
    assert_int_equal(names_address(*state, "other.test", AF_INET, &b), NAMES_NEW);
    assert_memory_not_equal(&a.v4, &b.v4, 4);
    assert_int_equal(names_address(*state, "api.test", AF_INET, &b), NAMES_KNOWN);
    assert_memory_equal(&a.v4, &b.v4, 4);
    assert_memory_equal(net_addr_text(&a, text), "198.18.", 7);
    assert_memory_equal(net_addr_text(&six, text), "fd23:6f70:656e::", 16);
    assert_memory_equal((uint8_t *)&a.v4 + 2, six.v6.s6_addr + 14, 2);
    assert_int_equal(names_find(*state, &six, name), NAMES_FOUND);
    assert_string_equal(name, "api.test");
}

static void other_addresses_stand_for_nothing(void **state)
{
    static const struct {
        const char *text;
        enum names_found found;
    } rows[] = {{"198.17.255.255", NAMES_OUTSIDE},    {"198.19.0.1", NAMES_OUTSIDE},
                {"198.18.0.0", NAMES_UNKNOWN},        {"198.18.255.255", NAMES_UNKNOWN},
                {"10.200.0.1", NAMES_OUTSIDE},        {"fd23:6f70:656e::", NAMES_UNKNOWN},
                {"fd23:6f70:656f::1", NAMES_OUTSIDE}, {"2001:db8::1", NAMES_OUTSIDE}};
    char name[OS_LIMIT_HOST_NAME + 1];
    struct net_addr a;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(net_addr_parse(rows[i].text, &a), 0);
        assert_int_equal(names_find(*state, &a, name), rows[i].found);
    }
    /* Nothing but zeros stands between the pool and the number. */
    assert_int_equal(names_address(*state, "api.test", AF_INET6, &a), NAMES_NEW);
    a.v6.s6_addr[9] = 1;
    assert_int_equal(names_find(*state, &a, name), NAMES_UNKNOWN);
}

static void the_table_is_bounded_and_addresses_are_distinct(void **state)
{
    static bool seen[65536];
    struct net_addr a;
    char name[64];
    for (int i = 0; i < OS_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        assert_int_equal(names_address(*state, name, AF_INET, &a), NAMES_NEW);
        const uint8_t *p = (const uint8_t *)&a.v4;
        unsigned number = (unsigned)(p[2] << 8 | p[3]);
        assert_true(number > 0 && number < 65535 && !seen[number]);
        seen[number] = true;
    }
    assert_int_equal(names_address(*state, "one-more.test", AF_INET, &a), NAMES_FULL);
    assert_int_equal(names_address(*state, "n0.test", AF_INET, &a), NAMES_KNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_keeps_its_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_addresses_stand_for_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_table_is_bounded_and_addresses_are_distinct, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
