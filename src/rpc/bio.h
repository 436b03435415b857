/* OpenSSL's view of a connection: reads come from the bytes just received, writes go to the output buffer. */
#ifndef RPC_BIO_H
#define RPC_BIO_H

struct rpc_conn;

/* Connects conn->ssl to conn->in and conn->out. */
void rpc_bio_attach(struct rpc_conn *conn);

#endif
