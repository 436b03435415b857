/* A BIO without memory of its own: two buffers per idle TLS connection saved, and one copy per record. */
#include "rpc/bio.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/internal.h"

static int bio_read(BIO *b, char *out, int n)
{
    struct rpc_conn *conn = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!conn->in_len) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t take = (size_t)n < conn->in_len ? (size_t)n : conn->in_len;
    memcpy(out, conn->in, take);
    conn->in += take;
    conn->in_len -= take;
    return (int)take;
}

static int bio_write(BIO *b, const char *data, int n)
{
    struct rpc_conn *conn = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    os_buf_add(&conn->out, data, (size_t)n);
    return conn->out.failed ? -1 : n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rpc connection");
    if (!method)
        abort();
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

void rpc_bio_attach(struct rpc_conn *conn)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *b = BIO_new(method);
    if (!b)
        abort();
    BIO_set_data(b, conn);
    BIO_set_init(b, 1);
    SSL_set_bio(conn->ssl, b, b);
    SSL_set_mode(conn->ssl, SSL_MODE_RELEASE_BUFFERS);
}
