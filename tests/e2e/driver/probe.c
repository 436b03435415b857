/* The only file of an otherwise empty root file system: prints its words, the identity it runs under, and
 * what files say ("@path"), where links lead ("%path"), the value of a variable ("$NAME"), and whether a path
 * can be written ("+path"). "sleep" waits for ever. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void show_file(const char *path)
{
    char text[1024] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    printf("%s=%s\n", path, n < 0 ? strerror(errno) : text);
}

static void show_attributes(const char *path)
{
    char target[256] = "";
    struct stat st;
    if (lstat(path, &st) < 0) {
        printf("%s=%s\n", path, strerror(errno));
        return;
    }
    if (S_ISLNK(st.st_mode) && readlink(path, target, sizeof(target) - 1) < 0)
        target[0] = '?';
    printf("%s=%o %u %u %u %s\n", path, st.st_mode, st.st_uid, st.st_gid, (unsigned)st.st_nlink, target);
}

static void try_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    printf("%s=%s\n", path, fd < 0 || write(fd, "x", 1) != 1 ? strerror(errno) : "written");
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (*word == '@')
            show_file(word + 1);
        else if (*word == '%')
            show_attributes(word + 1);
        else if (*word == '+')
            try_write(word + 1);
        else if (*word == '$')
            printf("%s=%s\n", word + 1, getenv(word + 1) ? getenv(word + 1) : "(unset)");
        else if (strcmp(word, "id") == 0)
            printf("id=%u %u %s\n", getuid(), getgid(), getcwd((char[256]){0}, 256));
        else if (strcmp(word, "sleep") == 0)
            for (;;)
                pause();
        else
            puts(word);
    }
    return 0;
}
