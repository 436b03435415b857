/* What the files of the local driver share. */
#ifndef DRIVERS_LOCAL_PRIVATE_H
#define DRIVERS_LOCAL_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/id.h"
#include "core/str.h"
#include "drivers/driver.h"
#include "sys/subids.h"

/* local_driver_config with owned, checked values. Read-only after local_driver_new. */
struct local_settings {
    char *state_dir;  /* absolute, no symbolic links */
    char *base_dir;   /* "<state_dir>.base", holds lower layers, see base.h */
    char *images_dir; /* "<state_dir>.images", see image/store.h */
    char *supervisor, *launcher;
    char *gateway_endpoint;
    char *tls_ca, *tls_cert, *tls_key; /* all or none */
    char *log_level;
    struct local_userns userns;
    uid_t agent_uid, worker_uid; /* as seen in the sandbox */
    char *extra_ca_file, *extra_hosts;
    char *proxy, *no_proxy, *proxy_auth_file; /* checked; NULL = none */
    bool proxy_auth_allow_insecure, proxy_connect_by_hostname;
    char *policy_rules_file, *policy_data_file, *opa; /* checked, all NULL without rules */
    bool bind_mounts;                                 /* users may give directories of the machine */
    struct os_strv image_dirs;                        /* resolved; with image_dirs_set only below these */
    bool image_dirs_set;
    struct os_strv mask;    /* absolute, resolved */
    char base[OS_UUID_LEN]; /* lower layers of new sandboxes, see base.h */
};

/* Limits of one sandbox; 0 = none. */
struct local_limits {
    uint64_t pids;
    uint64_t memory; /* bytes */
    uint64_t cpu;    /* thousandths of a CPU */
};

/* A supervisor process, also after the driver that started it is gone. */
struct local_process {
    pid_t pid;
    uint64_t start_time; /* clock ticks since boot: tells a reused pid */
    char boot_id[OS_UUID_LEN];
    char instance_id[OS_UUID_LEN];
    char base[OS_UUID_LEN]; /* it runs on these lower layers */
};

#endif
