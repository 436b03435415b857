/* Character classes and list splitting shared by the HTTP/1 parser files (RFC 9110 5.6). */
#ifndef NET_HTTP1_CHARS_H
#define NET_HTTP1_CHARS_H

#include "net/http1/http1.h"

/* True for a non-empty RFC 9110 token. */
bool http1_is_token(struct http1_text t);
/* TAB, SP..'~' and every byte from 0x80. */
bool http1_is_value_byte(unsigned char c);
/* Without SP and TAB at both ends. */
struct http1_text http1_trim(struct http1_text t);
/* Cuts the next trimmed member off a comma separated list; rest->p is NULL behind the last one. */
void http1_list_next(struct http1_text *rest, struct http1_text *item);

#endif
