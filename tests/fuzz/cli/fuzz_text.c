/* Whatever comes in, text_clean() lets no control byte and no malformed UTF-8 through, and widths, cuts and
 * error texts cope with the result. */
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/text.h"
#include "core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct os_buf clean = {0}, cut = {0}, error = {0};
    text_clean(&clean, (const char *)data, n, false);
    const char *text = os_buf_str(&clean);
    if (!os_utf8_valid(text, clean.len))
        abort();
    for (size_t i = 0; i < clean.len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
            abort();
    }
    if (text_width(text) > clean.len)
        abort();
    text_cut(&cut, text, n % 64);
    if (!os_utf8_valid(os_buf_str(&cut), cut.len) || cut.len > n % 64)
        abort();
    char *message = os_strndup((const char *)data, n);
    error_format(&error, message, true, false);
    free(message);
    os_buf_free(&clean);
    os_buf_free(&cut);
    os_buf_free(&error);
    return 0;
}
