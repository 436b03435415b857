/* What the driver asks of openshell-local-launcher: an ordered list of small set-up operations, written by
 * the driver and read from a sealed memory file. Each operation is its name and its arguments, every one
 * ended by a NUL byte. Paths called "host" are taken as the gateway sees them; paths called "inside" are
 * relative to the new root and never leave it, whatever symbolic links the sandbox left there. */
#ifndef DRIVERS_LOCAL_LAUNCHER_PLAN_H
#define DRIVERS_LOCAL_LAUNCHER_PLAN_H

/* X(name, number of arguments) */
#define LAUNCH_OPS(X)                                                                                        \
    X(user, 0)     /* wait for the ids of the user namespace, become its root; first, if at all */           \
    X(remove, 2)   /* host directory, name in it: the tree is removed, and that was all */                   \
    X(owners, 2)   /* host directory of an image, host file of owners (image/unpack.h), and that was all */  \
    X(own, 3)      /* inside directory, uid, gid */                                                          \
    X(cgroup, 1)   /* host directory of a version 1 control group to enter */                                \
    X(cgroupns, 0) /* new control group namespace, rooted where the process is now */                        \
    X(hostname, 1) /* name */                                                                                \
    X(private, 0)  /* nothing that is mounted from here on reaches the host */                               \
    X(root, 4)     /* the new root: host lower, host lower below it or "", host upper, host work */          \
    X(overlay, 5) /* host lower, host lower below it, host upper and work ("" = read-only), inside target */ \
    X(bind, 3)    /* host source, inside target, "ro" or "rw" */                                             \
    X(share, 3)   /* as bind, of a user's choice: a directory that is reached without symbolic links */      \
    X(point, 1)   /* inside path made a directory, with its parents; no symbolic link is followed */         \
    X(tmpfs, 3)   /* inside target, octal mode, size */                                                      \
    X(proc, 1)    /* inside target */                                                                        \
    X(sysfs, 1)   /* inside target */                                                                        \
    X(dev, 1)     /* inside target: null zero full random urandom tty, pts, shm */                           \
    X(mask, 1)    /* inside path shown as empty; no such path is fine */                                     \
    X(readonly, 1) /* inside path made read-only; no such path is fine */                                    \
    X(dir, 4)      /* inside path, octal mode, uid, gid; an existing directory stays as it is */             \
    X(file, 5)     /* inside path, octal mode, uid, gid, content; replaces what is there */                  \
    X(link, 2)     /* inside path, target; an existing entry stays as it is */                               \
    X(pivot, 0)    /* the new root becomes the root; the host's is gone */                                   \
    X(drop, 0)     /* capabilities that no supervisor needs leave the bounding set */                        \
    X(settle, 0)   /* own session keyring, no protection from the OOM killer; /proc must be there */         \
    X(env, 1)      /* "NAME=value" for the program */                                                        \
    X(arg, 1)      /* argument of the program, argv[0] first */                                              \
    X(exec, 1)     /* inside path of the program; last */

#define LAUNCH_ARGS_MAX 5

/* Descriptors the launcher is started with; 0, 1 and 2 are the program's. */
#define LAUNCH_PLAN_FD 3
#define LAUNCH_CONTROL_FD 4

/* On the control socket (SOCK_SEQPACKET). The driver sends LAUNCH_GO once it has recorded the process; the
 * launcher answers LAUNCH_EXEC just before exec. Anything else from the launcher is the text of an error. The
 * end of the socket before LAUNCH_GO means that nobody waits any more: the launcher exits. */
#define LAUNCH_MAPPED "mapped" /* before LAUNCH_GO: the ids of the user namespace are set */
#define LAUNCH_GO "go"
#define LAUNCH_EXEC "exec"
#define LAUNCH_ERROR_MAX 1024

#endif
