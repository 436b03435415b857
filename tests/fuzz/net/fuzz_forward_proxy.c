/* Fuzzes what an operator writes about a forward proxy: the first line is its URL, the second the exceptions,
 * the rest the credential. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "net/forward_proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out is what the file says it may be: nothing that would change a request line. */
static void check_host(const char *host)
{
    for (; *host; host++)
        if ((unsigned char)*host <= ' ' || *host == '/' || *host == '@' || (unsigned char)*host >= 127)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *url = os_strndup((const char *)data, size), *end = url + strlen(url);
    char *list = strchrnul(url, '\n'), *credential;
    struct forward_proxy p = {0};
    if (*list)
        *list++ = '\0';
    credential = strchrnul(list, '\n');
    if (*credential)
        *credential++ = '\0';
    if (forward_proxy_url_parse(url, &p.url, NULL) == 0) {
        if (!p.url.port || !p.url.host[0])
            abort();
        check_host(p.url.host);
    }
    forward_proxy_add_exceptions(&p, list, NULL);
    for (size_t i = 0; i < p.n_direct; i++)
        if (p.direct[i].kind == NO_PROXY_DOMAIN) {
            check_host(p.direct[i].domain);
            if (!forward_proxy_bypasses(&p, p.direct[i].domain, p.direct[i].port ? p.direct[i].port : 1))
                abort();
        }
    if (forward_proxy_set_credential(&p, credential, (size_t)(end - credential), NULL) == 0 &&
        strpbrk(p.authorization.data, "\r\n"))
        abort();
    forward_proxy_bypasses(&p, p.url.host, 443);
    forward_proxy_clear(&p);
    free(url);
    return 0;
}
