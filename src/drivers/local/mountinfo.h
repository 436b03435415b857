/* Reader of /proc/<pid>/mountinfo (proc(5)). */
#ifndef DRIVERS_LOCAL_MOUNTINFO_H
#define DRIVERS_LOCAL_MOUNTINFO_H

struct mountinfo {
    const char *root;  /* what of the file system is mounted */
    const char *point; /* where, absolute */
    const char *type;
    const char *super; /* options of the file system */
};

typedef void mountinfo_fn(void *ctx, const struct mountinfo *m);

/* Calls fn for every well-formed line, escapes decoded. */
void mountinfo_each(const char *text, mountinfo_fn *fn, void *ctx);

#endif
