/* Reserved markers: wherever they stand, however encoded, however cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "supervisor/egress/credentials/marker.h"

static void markers_in_texts(void **state)
{
    static const struct {
        const char *text;
        bool found;
    } rows[] = {
        {"", false},
        {"openshell:resolve:env:KEY", true},
        {"x openshell:resolve:env:", true},
        {"openshell:resolve:env", false},
        {"OpenShell:resolve:env:KEY", false},
        {"xoxb-OPENSHELL-RESOLVE-ENV-KEY", true},
        {"openshell-resolve-env-KEY", false},
        {"openshell%3Aresolve%3aenv%3AKEY", true},
        {"%6fpenshell:resolve:env:KEY", true},
        {"%6F%70%65%6E%73%68%65%6C%6C%3A%72%65%73%6F%6C%76%65%3A%65%6E%76%3A", true},
        {"%6F%70%65%6E%73%68%65%6C%6C%3A%72%65%73%6F%6C%76%65%3A%65%6E%76%3B", false},
        {"%4fPENSHELL-RESOLVE-ENV-K", true},
        {"openshell:%6xresolve:env:", false},
        {"openshell:resolve:openshell:resolve:env:", true},
        {"ooopenshell:resolve:env:", true},
        {"%256fpenshell:resolve:env:", false},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++)
        if (marker_in(rows[i].text, strlen(rows[i].text)) != rows[i].found)
            fail_msg("%s", rows[i].text);
}

static void markers_in_header_values(void **state)
{
    static const struct {
        const char *text;
        bool found;
    } rows[] = {
        {"Bearer openshell:resolve:env:KEY", true},
        /* user:openshell:resolve:env:KEY */
        {"Basic dXNlcjpvcGVuc2hlbGw6cmVzb2x2ZTplbnY6S0VZ", true},
        {"basic  dXNlcjpvcGVuc2hlbGw6cmVzb2x2ZTplbnY6S0VZ", true},
        {"Basic dXNlcjpvcGVuc2hlbGw6cmVz b2x2ZTplbnY6S0VZ", true},
        {"Digest dXNlcjpvcGVuc2hlbGw6cmVzb2x2ZTplbnY6S0VZ", false},
        {"Basic dXNlcjpwYXNzd29yZA==", false},
        {"Basic", false},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++)
        if (marker_in_header(rows[i].text, strlen(rows[i].text)) != rows[i].found)
            fail_msg("%s", rows[i].text);
}

/* Feeds text in pieces of the given size; what came out in *out (must have room), true when a marker was
 * found. */
static bool feed(const char *text, size_t piece, char *out)
{
    struct marker_scan s = {.n_held = 0};
    size_t n = strlen(text), at = 0;
    char ready[MARKER_WIDTH + 512];
    for (size_t i = 0; i < n; i += piece) {
        size_t len = n - i < piece ? n - i : piece;
        size_t go = marker_scan_feed(&s, text + i, len, ready);
        memcpy(out + at, ready, go);
        at += go;
    }
    size_t go = marker_scan_end(&s, ready);
    memcpy(out + at, ready, go);
    out[at + go] = '\0';
    return s.found;
}

static void bodies_pass_in_any_pieces(void **state)
{
    static const char *const clean[] = {
        "",
        "{\"a\": 1}",
        "openshell:resolve:env",
        "ends in openshell:resolve",
        "ends in %6F%70%65%6E%73%68%65%6C%6C%3A%72%65%73%6F%6C%76%65%3A%65%6E%76%3",
        "%%%%%%%%%%ooooooooOOOOOOOO%6%6f%6",
    };
    static const char *const dirty[] = {
        "openshell:resolve:env:KEY",
        "some text before it openshell:resolve:env:KEY and behind",
        "%6F%70%65%6E%73%68%65%6C%6C%3A%72%65%73%6F%6C%76%65%3A%65%6E%76%3A",
        "oopenshell:resolve:eopenshell:resolve:env:",
    };
    char out[512];
    for (size_t piece = 1; piece < 100; piece++) {
        for (size_t i = 0; i < OS_ARRAY_LEN(clean); i++) {
            assert_false(feed(clean[i], piece, out));
            assert_string_equal(out, clean[i]);
        }
        for (size_t i = 0; i < OS_ARRAY_LEN(dirty); i++) {
            assert_true(feed(dirty[i], piece, out));
            assert_memory_equal(out, dirty[i], strlen(out));
            assert_false(marker_in(out, strlen(out)));
        }
    }
}

static void little_is_held_back(void **state)
{
    struct marker_scan s = {.n_held = 0};
    char ready[MARKER_WIDTH + 512], text[512];
    memset(text, 'o', sizeof(text));
    assert_int_equal(marker_scan_feed(&s, text, sizeof(text), ready), sizeof(text) - 1);
    memset(text, 'x', sizeof(text));
    assert_int_equal(marker_scan_feed(&s, text, sizeof(text), ready), sizeof(text) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markers_in_texts),
        cmocka_unit_test(markers_in_header_values),
        cmocka_unit_test(bodies_pass_in_any_pieces),
        cmocka_unit_test(little_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
