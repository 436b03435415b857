/* openshell-man DIR: writes every man page that is made from tables. Run by the build. */
#include <stdio.h>

#include "cli/man/man.h"

int main(int argc, char **argv)
{
    struct os_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIR\n", argv[0]);
        return 2;
    }
    if (man_commands(argv[1], &err) == 0 && man_programs(argv[1], &err) == 0 &&
        man_config(argv[1], &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", os_error_text(&err));
    os_error_clear(&err);
    return 1;
}
