/* The bytes of one blob of an image: see stream.h. */
#include "drivers/local/image/stream.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"

#define INPUT ((size_t)128 << 10)
#define ZSTD_WINDOW_LOG 27 /* 128 MiB of memory at most, what the zstd program itself accepts */

enum form { FORM_UNKNOWN, FORM_PLAIN, FORM_GZIP, FORM_ZSTD };

struct stream {
    struct stream_source source;
    EVP_MD_CTX *stored, *plain;
    enum form form;
    z_stream gzip;
    ZSTD_DCtx *zstd;
    bool between; /* a gzip member or zstd frame ended; another may follow */
    bool ended;
    uint64_t read, produced;
    size_t have, at; /* of input */
    unsigned char input[INPUT];
};

bool digest_parse(const char *text, char out[DIGEST_LEN])
{
    if (!os_str_starts(text, "sha256:") || strlen(text) != strlen("sha256:") + DIGEST_LEN - 1)
        return false;
    memcpy(out, text + strlen("sha256:"), DIGEST_LEN);
    return strspn(out, "0123456789abcdef") == DIGEST_LEN - 1;
}

void sha256_hex(const void *data, size_t n, char out[DIGEST_LEN])
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    SHA256(data, n, raw);
    os_hex(raw, sizeof(raw), out);
}

struct stream *stream_open(const struct stream_source *source, struct os_error *err)
{
    struct stream *s = os_calloc(1, sizeof(*s));
    s->source = *source;
    s->stored = EVP_MD_CTX_new();
    s->plain = EVP_MD_CTX_new();
    if (s->stored && s->plain && EVP_DigestInit_ex(s->stored, EVP_sha256(), NULL) == 1 &&
        EVP_DigestInit_ex(s->plain, EVP_sha256(), NULL) == 1)
        return s;
    stream_free(s);
    os_error_set(err, OS_INTERNAL, "cannot compute SHA-256");
    return NULL;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    if (s->form == FORM_GZIP)
        inflateEnd(&s->gzip);
    ZSTD_freeDCtx(s->zstd);
    EVP_MD_CTX_free(s->stored);
    EVP_MD_CTX_free(s->plain);
    free(s);
}

/* More stored bytes behind those not used yet; false at the end with *err clear, or with *err. */
static bool fill(struct stream *s, struct os_error *err)
{
    uint64_t left = s->source.size - s->read;
    memmove(s->input, s->input + s->at, s->have - s->at);
    s->have -= s->at;
    s->at = 0;
    size_t room = INPUT - s->have;
    if (left == 0 || room == 0)
        return false;
    ssize_t n;
    do
        n = pread(s->source.fd, s->input + s->have, left < room ? (size_t)left : room,
                  (off_t)(s->source.offset + s->read));
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        os_error_set(err, OS_DATA_LOSS, n < 0 ? "cannot read the image: %s" : "the image is cut short%s",
                     n < 0 ? strerror(errno) : "");
        return false;
    }
    EVP_DigestUpdate(s->stored, s->input + s->have, (size_t)n);
    s->read += (uint64_t)n;
    s->have += (size_t)n;
    return true;
}

static int recognise(struct stream *s, struct os_error *err)
{
    struct os_error why = {0};
    while (s->have < 4 && fill(s, &why))
        ;
    if (why.code) {
        os_error_move(err, &why);
        return -1;
    }
    if (s->have >= 2 && memcmp(s->input, "\x1f\x8b", 2) == 0) {
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK)
            return os_error_set(err, OS_INTERNAL, "cannot start gzip decompression");
        s->form = FORM_GZIP;
    } else if (s->have >= 4 && memcmp(s->input, "\x28\xb5\x2f\xfd", 4) == 0) {
        s->zstd = ZSTD_createDCtx();
        if (!s->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
            return os_error_set(err, OS_INTERNAL, "cannot start zstd decompression");
        s->form = FORM_ZSTD;
    } else {
        s->form = FORM_PLAIN;
    }
    return 0;
}

/* Each takes what it can of input and output; *used counts the output. */
static int run_gzip(struct stream *s, void *data, size_t n, size_t *used, struct os_error *err)
{
    if (s->between) {
        if (inflateReset(&s->gzip) != Z_OK)
            return os_error_set(err, OS_INTERNAL, "cannot go on with gzip decompression");
        s->between = false;
    }
    s->gzip.next_in = s->input + s->at;
    s->gzip.avail_in = (unsigned)(s->have - s->at);
    s->gzip.next_out = data;
    s->gzip.avail_out = (unsigned)n;
    int rc = inflate(&s->gzip, Z_NO_FLUSH);
    s->at = s->have - s->gzip.avail_in;
    *used = n - s->gzip.avail_out;
    if (rc == Z_STREAM_END)
        s->between = true;
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return os_error_set(err, OS_DATA_LOSS, "a layer of the image is not valid gzip data (%s)",
                            s->gzip.msg ? s->gzip.msg : "damaged");
    return 0;
}

static int run_zstd(struct stream *s, void *data, size_t n, size_t *used, struct os_error *err)
{
    ZSTD_inBuffer in = {s->input, s->have, s->at};
    ZSTD_outBuffer out = {data, n, 0};
    size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
    s->at = in.pos;
    *used = out.pos;
    if (ZSTD_isError(rc))
        return os_error_set(err, OS_DATA_LOSS, "a layer of the image is not valid zstd data (%s)",
                            ZSTD_getErrorName(rc));
    s->between = rc == 0;
    return 0;
}

static int run_plain(struct stream *s, void *data, size_t n, size_t *used, struct os_error *err)
{
    *used = n < s->have - s->at ? n : s->have - s->at;
    memcpy(data, s->input + s->at, *used);
    s->at += *used;
    s->between = true;
    return 0;
}

static int run(struct stream *s, void *data, size_t n, size_t *used, struct os_error *err)
{
    switch (s->form) {
    case FORM_GZIP:
        return run_gzip(s, data, n, used, err);
    case FORM_ZSTD:
        return run_zstd(s, data, n, used, err);
    default:
        return run_plain(s, data, n, used, err);
    }
}

/* Output goes on as long as input does: an output without input can come from what the decoder holds. */
static ssize_t produce(struct stream *s, void *data, size_t n, struct os_error *err)
{
    for (;;) {
        struct os_error why = {0};
        if (s->at == s->have && !fill(s, &why) && why.code) {
            os_error_move(err, &why);
            return -1;
        }
        bool no_input = s->at == s->have;
        if (no_input && (s->between || s->form == FORM_PLAIN))
            return 0;
        size_t used = 0, before = s->have - s->at;
        if (run(s, data, n, &used, err) < 0)
            return -1;
        if (used)
            return (ssize_t)used;
        if (before == s->have - s->at && !s->between && s->read == s->source.size)
            return os_error_set(err, OS_DATA_LOSS, "a layer of the image is cut short");
    }
}

ssize_t stream_read(void *ctx, void *data, size_t n, struct os_error *err)
{
    struct stream *s = ctx;
    if (s->ended || n == 0)
        return 0;
    if (s->form == FORM_UNKNOWN && recognise(s, err) < 0)
        return -1;
    ssize_t got = produce(s, data, n < UINT32_MAX ? n : UINT32_MAX, err);
    if (got == 0)
        s->ended = true;
    if (got <= 0)
        return got;
    s->produced += (uint64_t)got;
    if (s->produced > s->source.max)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "the image unpacks to more than %llu MiB, the limit",
                            (unsigned long long)(s->source.max >> 20));
    EVP_DigestUpdate(s->plain, data, (size_t)got);
    return got;
}

static int compare(EVP_MD_CTX *ctx, const char *wanted, const char *what, struct os_error *err)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned n = 0;
    if (!*wanted)
        return 0;
    if (EVP_DigestFinal_ex(ctx, raw, &n) != 1)
        return os_error_set(err, OS_INTERNAL, "cannot compute SHA-256");
    os_hex(raw, n, hex);
    if (strcmp(hex, wanted) == 0)
        return 0;
    return os_error_set(err, OS_DATA_LOSS,
                        "the image is damaged: its %s should have the digest sha256:%s and has sha256:%s",
                        what, wanted, hex);
}

int stream_finish(struct stream *s, struct os_error *err)
{
    char junk[16384];
    ssize_t n;
    while ((n = stream_read(s, junk, sizeof(junk), err)) > 0)
        ;
    if (n < 0 || compare(s->stored, s->source.digest, "blob", err) < 0)
        return -1;
    return compare(s->plain, s->source.diff_id, "unpacked layer", err);
}
