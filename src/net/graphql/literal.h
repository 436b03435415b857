/* Where a GraphQL string ends (October 2021, 2.9.4). Internal to net/graphql. */
#ifndef NET_GRAPHQL_LITERAL_H
#define NET_GRAPHQL_LITERAL_H

/* Behind the closing quote of the string that opens at p; NULL and *why when it is malformed. */
const char *graphql_string_end(const char *p, const char *end, const char **why);
/* The same for a block string, which opens with three quotes. */
const char *graphql_block_string_end(const char *p, const char *end, const char **why);

#endif
