/* spawn_time COUNT COMMAND...: runs the command COUNT times, one after the other, and prints "<p50> <p99>" of
 * the wall times in milliseconds. "{}" in an argument becomes the number of the run. Exit status 1 when a run
 * fails. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static char *numbered(const char *arg, int run)
{
    const char *at = strstr(arg, "{}");
    char *out = malloc(strlen(arg) + 16);
    if (at)
        sprintf(out, "%.*s%d%s", (int)(at - arg), arg, run, at + 2);
    else
        strcpy(out, arg);
    return out;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0;
    if (count < 1) {
        fprintf(stderr, "usage: %s COUNT COMMAND...\n", argv[0]);
        return 2;
    }
    double *took = calloc((size_t)count, sizeof(*took));
    char **args = calloc((size_t)argc, sizeof(*args));
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < count; i++) {
        int status = -1;
        pid_t pid;
        for (int k = 2; k < argc; k++)
            args[k - 2] = numbered(argv[k], i);
        double from = now_ms();
        if (posix_spawnp(&pid, args[0], &files, NULL, args, environ) != 0 || waitpid(pid, &status, 0) < 0 ||
            status != 0) {
            fprintf(stderr, "run %d of %s failed (status %d)\n", i, args[0], status);
            return 1;
        }
        took[i] = now_ms() - from;
        for (int k = 2; k < argc; k++)
            free(args[k - 2]);
    }
    qsort(took, (size_t)count, sizeof(*took), by_value);
    printf("%.2f %.2f\n", took[count / 2], took[(count * 99) / 100]);
    free(took);
    free(args);
    return 0;
}
