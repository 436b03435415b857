/* Other programs' output. */
#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

int program_output(const char *const *argv, char *const *env, struct os_buf *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int bad = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, env ? env : environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char data[65536];
    ssize_t k;
    while (!bad && ((k = read(ends[0], data, sizeof(data))) > 0 || (k < 0 && errno == EINTR)))
        if (k > 0)
            os_buf_add(out, data, (size_t)k);
    close(ends[0]);
    int status = -1;
    while (!bad && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return !bad && status == 0 && !out->failed ? 0 : -1;
}
