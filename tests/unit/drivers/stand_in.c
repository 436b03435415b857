/* Stands in for the supervisor in the driver's tests: does what the variable SCRIPT says, one step per ';',
 * and prints what it sees. Static, like the program it stands for. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const char *step, const char *arg, const char *result)
{
    printf("%s %s = %s\n", step, arg, result);
}

static void cat(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0) {
        show("cat", path, strerror(errno));
    } else {
        text[n] = '\0';
        show("cat", path, text);
    }
    if (fd >= 0)
        close(fd);
}

static void status(const char *path)
{
    struct stat st;
    char text[64];
    if (lstat(path, &st) < 0) {
        show("stat", path, strerror(errno));
        return;
    }
    snprintf(text, sizeof(text), "%o %u %u", st.st_mode, st.st_uid, st.st_gid);
    show("stat", path, text);
}

static void list(const char *path)
{
    DIR *d = opendir(path);
    char text[8192] = "";
    if (!d) {
        show("ls", path, strerror(errno));
        return;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && strlen(text) + strlen(e->d_name) + 2 < sizeof(text))
            strcat(strcat(text, e->d_name), " ");
    closedir(d);
    show("ls", path, text);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int rc = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;
    show("put", path, rc ? strerror(rc) : "ok");
    if (fd >= 0)
        close(fd);
}

/* A directory tree no path can name. */
static void deep(const char *path, int levels)
{
    if (mkdir(path, 0755) < 0 || chdir(path) < 0)
        exit(90);
    for (int i = 0; i < levels; i++)
        if (mkdir("d", 0755) < 0 || chdir("d") < 0)
            exit(91);
    if (chdir("/") < 0)
        exit(92);
    show("deep", path, "ok");
}

static void spawn_children(int n)
{
    int made = 0;
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            signal(SIGTERM, SIG_IGN);
            for (;;)
                pause();
        }
        if (pid < 0)
            break;
        made++;
    }
    printf("children = %d\n", made);
}

static void eat(size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 4096) {
        volatile char *page = malloc(4096);
        *page = 1;
    }
}

static void step(char *text)
{
    char *save = NULL, *verb = strtok_r(text, " ", &save);
    char *a = strtok_r(NULL, " ", &save), *b = strtok_r(NULL, " ", &save);
    if (!verb)
        return;
    if (strcmp(verb, "cat") == 0)
        cat(a);
    else if (strcmp(verb, "stat") == 0)
        status(a);
    else if (strcmp(verb, "ls") == 0)
        list(a);
    else if (strcmp(verb, "put") == 0)
        put(a, b);
    else if (strcmp(verb, "deep") == 0)
        deep(a, atoi(b));
    else if (strcmp(verb, "link") == 0)
        show("link", b, symlink(a, b) < 0 ? strerror(errno) : "ok");
    else if (strcmp(verb, "remount") == 0)
        show("remount", a, mount(NULL, a, NULL, MS_REMOUNT | MS_BIND, NULL) < 0 ? strerror(errno) : "ok");
    else if (strcmp(verb, "children") == 0)
        spawn_children(atoi(a));
    else if (strcmp(verb, "uid") == 0)
        show("uid", a, setgid((gid_t)atoi(a)) < 0 || setuid((uid_t)atoi(a)) < 0 ? strerror(errno) : "ok");
    else if (strcmp(verb, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    else if (strcmp(verb, "eat") == 0)
        eat((size_t)atoi(a) << 20);
    else if (strcmp(verb, "say") == 0)
        fprintf(stderr, "%s\n", a);
    else if (strcmp(verb, "exit") == 0)
        exit(atoi(a));
    else
        exit(99);
}

static void leave(int sig)
{
    _exit(0);
}

int main(int argc, char **argv, char **env)
{
    char host[256] = "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, leave);
    gethostname(host, sizeof(host) - 1);
    printf("pid = %d\nsid = %d\nhostname = %s\n", getpid(), getsid(0), host);
    for (int i = 0; i < argc; i++)
        printf("arg %d = %s\n", i, argv[i]);
    for (char **e = env; *e; e++)
        printf("env %s\n", *e);
    char *script = getenv("SCRIPT"), *save = NULL;
    for (char *s = script ? strtok_r(script, ";", &save) : NULL; s; s = strtok_r(NULL, ";", &save))
        step(s);
    puts("ready");
    for (;;)
        pause();
}
