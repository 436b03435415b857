/* Worker threads next to one loop, and the way back to the loop thread. Inside of src/rpc. */
#ifndef RPC_POOL_H
#define RPC_POOL_H

#include <stdbool.h>
#include <uv.h>

struct rpc_pool;

typedef void rpc_pool_fn(void *arg);

/* idle(arg) runs on the loop thread whenever the last job's done() has returned. */
struct rpc_pool *rpc_pool_new(uv_loop_t *loop, unsigned threads, rpc_pool_fn *idle, void *arg);
/* Loop thread: work(arg) on a worker, then done(arg) on the loop thread. False, and nothing happens, when
 * `limit` jobs wait already (0 = no limit). */
bool rpc_pool_work(struct rpc_pool *p, rpc_pool_fn *work, rpc_pool_fn *done, void *arg, unsigned limit);
/* Any thread: fn(arg) on the loop thread, in order of posting. */
void rpc_pool_post(struct rpc_pool *p, rpc_pool_fn *fn, void *arg);
/* Loop thread: jobs whose done() has not run. */
unsigned rpc_pool_busy(const struct rpc_pool *p);
/* Finishes every job, runs everything posted, joins the threads. Memory goes with the loop's next turn. */
void rpc_pool_free(struct rpc_pool *p);

#endif
