/* Pattern functions of spec/policy.md 3. A pattern is compiled to an automaton and run over a bit set: no
 * backtracking, so no pattern can make a decision slow. */
#include "policy/glob.h"

#include <string.h>

#include "policy/glob_prog.h"

#define GROUP_DEPTH 16
#define NO_JUMP UINT16_MAX

struct group {
    uint16_t fork;      /* fork node that opens the current alternative */
    uint16_t last_fork; /* fork node of the last non-empty alternative */
    uint16_t jumps;     /* chain of jumps to the end of the group */
    bool boundary;      /* the group starts at a component boundary */
};

struct compiler {
    const char *pattern;
    size_t at;
    char delimiter;
    enum glob_flavour flavour;
    struct glob_node *nodes;
    size_t n, max;
    bool overflow;
    bool boundary; /* what was read so far ends at a component boundary */
    struct group group[GROUP_DEPTH];
    size_t depth;
};

static void emit(struct compiler *c, enum glob_op op, uint8_t byte, uint16_t a, uint16_t b)
{
    if (c->n >= c->max) {
        c->overflow = true;
        return;
    }
    c->nodes[c->n++] = (struct glob_node){.op = (uint8_t)op, .c = byte, .a = a, .b = b};
}

static void open_alternative(struct compiler *c)
{
    struct group *g = &c->group[c->depth - 1];
    g->fork = (uint16_t)c->n;
    emit(c, GLOB_FORK, 0, 0, 0);
    c->boundary = g->boundary;
}

/* An alternative without content is dropped, its fork with it. */
static void close_alternative(struct compiler *c)
{
    struct group *g = &c->group[c->depth - 1];
    if (c->overflow)
        return;
    if (c->n == (size_t)g->fork + 1) {
        c->n = g->fork;
        return;
    }
    g->last_fork = g->fork;
    emit(c, GLOB_JUMP, 0, g->jumps, 0);
    g->jumps = (uint16_t)(c->n - 1);
    c->nodes[g->fork].a = (uint16_t)c->n;
}

static void close_group(struct compiler *c)
{
    close_alternative(c);
    struct group *g = &c->group[--c->depth];
    c->boundary = false;
    if (c->overflow || g->jumps == NO_JUMP)
        return;
    /* The last alternative has no successor to fork to. */
    c->nodes[g->last_fork].a = (uint16_t)(g->last_fork + 1);
    for (uint16_t j = g->jumps; j != NO_JUMP;) {
        uint16_t next = c->nodes[j].a;
        c->nodes[j].a = (uint16_t)c->n;
        j = next;
    }
}

/* pattern[at] is '[': where its ']' stands, or the end. *start: of its elements. A ']' directly behind the
 * opening stands for itself. */
static size_t class_end(const struct compiler *c, size_t at, size_t *start)
{
    const char *p = c->pattern;
    size_t i = at + 1;
    if (p[i] == '!' || (c->flavour == GLOB_G && p[i] == '^'))
        i++;
    *start = i;
    if (p[i] == ']')
        i++;
    return i + strcspn(p + i, "]");
}

/* True when a component ends in front of pattern[at]: end, delimiter, or the same behind the group. */
static bool component_ends(const struct compiler *c, size_t at)
{
    const char *p = c->pattern;
    size_t depth = c->depth;
    while (depth > 0 && (p[at] == ',' || p[at] == '}')) {
        size_t open = 1;
        size_t start;
        for (; p[at] && open > 0; at++) {
            if (p[at] == '\\' && p[at + 1])
                at++;
            else if (p[at] == '[' && p[class_end(c, at, &start)])
                at = class_end(c, at, &start);
            else if (p[at] == '{')
                open++;
            else if (p[at] == '}')
                open--;
        }
        depth--;
    }
    return p[at] == '\0' || p[at] == c->delimiter;
}

static const char *compile_stars(struct compiler *c)
{
    size_t run = strspn(c->pattern + c->at, "*");
    bool starts = c->boundary;
    c->at += run;
    c->boundary = false;
    bool whole = run == 2 && starts && component_ends(c, c->at);
    if (c->flavour == GLOB_P && run > 1 && !whole)
        return "'**' that is not a whole path component";
    if (!whole) {
        emit(c, GLOB_STAR, 0, 0, 0);
        return NULL;
    }
    if (c->delimiter == '/' && c->pattern[c->at] == '/') {
        /* Zero or more leading components, each with its delimiter. */
        emit(c, GLOB_FORK, 0, (uint16_t)(c->n + 3), 0);
        emit(c, GLOB_DSTAR, 0, 0, 0);
        emit(c, GLOB_LIT, '/', 0, 0);
        c->at++;
        c->boundary = true;
        return NULL;
    }
    emit(c, GLOB_DSTAR, 0, 0, 0);
    return NULL;
}

/* pattern[at] is '['. */
static const char *compile_class(struct compiler *c)
{
    const char *p = c->pattern;
    size_t start;
    size_t i = class_end(c, c->at, &start);
    bool negated = start > c->at + 1;
    if (!p[i])
        return "an unclosed '['";
    if (i > UINT16_MAX)
        return "too many elements";
    for (size_t k = start; c->flavour == GLOB_G && k + 2 < i; k++) {
        if (p[k + 1] != '-')
            continue;
        if ((unsigned char)p[k] > (unsigned char)p[k + 2])
            return "a reversed range in '[...]'";
        k += 2;
    }
    emit(c, GLOB_CLASS, negated, (uint16_t)start, (uint16_t)i);
    c->at = i + 1;
    c->boundary = false;
    return NULL;
}

static const char *compile_brace(struct compiler *c, char byte)
{
    if (byte == '{') {
        if (c->depth == GROUP_DEPTH)
            return "braces nested too deep";
        c->group[c->depth++] = (struct group){.jumps = NO_JUMP, .boundary = c->boundary};
        open_alternative(c);
    } else if (byte == '}') {
        if (c->depth == 0)
            return "an unmatched '}'";
        close_group(c);
    } else {
        close_alternative(c);
        open_alternative(c);
    }
    c->at++;
    return NULL;
}

static const char *compile_next(struct compiler *c)
{
    char byte = c->pattern[c->at];
    if (byte == '*')
        return compile_stars(c);
    if (byte == '[')
        return compile_class(c);
    if (c->flavour == GLOB_G && (byte == '{' || byte == '}' || (byte == ',' && c->depth > 0)))
        return compile_brace(c, byte);
    if (byte == '?') {
        emit(c, GLOB_ONE, 0, 0, 0);
        c->boundary = false;
        c->at++;
        return NULL;
    }
    bool escaped = c->flavour == GLOB_G && byte == '\\';
    if (escaped) {
        byte = c->pattern[++c->at];
        if (!byte)
            return "a trailing '\\'";
    }
    emit(c, GLOB_LIT, (uint8_t)byte, 0, 0);
    c->boundary = byte == c->delimiter && !escaped;
    c->at++;
    return NULL;
}

const char *glob_compile(const char *pattern, char delimiter, enum glob_flavour flavour,
                         struct glob_node *nodes, size_t max, struct glob *out)
{
    struct compiler c = {.pattern = pattern,
                         .delimiter = delimiter,
                         .flavour = flavour,
                         .nodes = nodes,
                         .max = max,
                         .boundary = true};
    while (pattern[c.at] && !c.overflow) {
        const char *bad = compile_next(&c);
        if (bad)
            return bad;
    }
    if (c.depth > 0 && !c.overflow)
        return "an unclosed '{'";
    emit(&c, GLOB_MATCH, 0, 0, 0);
    if (c.overflow)
        return "too many elements";
    size_t prefix = 0;
    while (nodes[prefix].op == GLOB_LIT)
        prefix++;
    *out = (struct glob){.pattern = pattern,
                         .nodes = nodes,
                         .n = c.n,
                         .prefix = prefix,
                         .delimiter = delimiter,
                         .one_crosses = flavour == GLOB_P};
    return NULL;
}

const char *glob_compile_arena(struct os_arena *arena, const char *pattern, char delimiter, struct glob *out)
{
    struct glob_node nodes[OS_GLOB_NODES];
    const char *bad = glob_compile(pattern, delimiter, GLOB_G, nodes, OS_GLOB_NODES, out);
    if (!bad)
        out->nodes = os_arena_memdup(arena, nodes, out->n * sizeof(nodes[0]));
    return bad;
}

static bool class_has(const struct glob *g, const struct glob_node *node, unsigned char byte)
{
    if (g->delimiter == '.' && byte == '.')
        return false;
    const unsigned char *p = (const unsigned char *)g->pattern;
    bool in = false;
    for (size_t i = node->a; i < node->b && !in; i++) {
        if (i + 2 < node->b && p[i + 1] == '-') {
            in = p[i] <= byte && byte <= p[i + 2];
            i += 2;
        } else {
            in = p[i] == byte;
        }
    }
    return in != (node->c != 0);
}

/* Adds what node i reaches without input to `now`, and what it reaches with byte to `next`. */
static inline void step(const struct glob *g, size_t i, unsigned char byte, uint64_t *now, uint64_t *next)
{
    const struct glob_node *node = &g->nodes[g->prefix + i];
    bool plain = g->one_crosses || byte != (unsigned char)g->delimiter;
    size_t take = SIZE_MAX;
    size_t empty = SIZE_MAX;
    switch ((enum glob_op)node->op) {
    case GLOB_LIT:
        take = node->c == byte ? i + 1 : SIZE_MAX;
        break;
    case GLOB_ONE:
        take = plain ? i + 1 : SIZE_MAX;
        break;
    case GLOB_CLASS:
        take = class_has(g, node, byte) ? i + 1 : SIZE_MAX;
        break;
    case GLOB_STAR:
        take = plain ? i : SIZE_MAX;
        empty = i + 1;
        break;
    case GLOB_DSTAR:
        take = i;
        empty = i + 1;
        break;
    case GLOB_FORK:
        now[(i + 1) / 64] |= UINT64_C(1) << ((i + 1) % 64);
        empty = node->a - g->prefix;
        break;
    case GLOB_JUMP:
        empty = node->a - g->prefix;
        break;
    case GLOB_MATCH:
        break;
    }
    if (take != SIZE_MAX && byte)
        next[take / 64] |= UINT64_C(1) << (take % 64);
    if (empty != SIZE_MAX)
        now[empty / 64] |= UINT64_C(1) << (empty % 64);
}

bool glob_run(const struct glob *g, const char *value)
{
    for (size_t i = 0; i < g->prefix; i++, value++) {
        if ((uint8_t)*value != g->nodes[i].c)
            return false;
    }
    const struct glob_node *rest = g->nodes + g->prefix;
    if (rest[0].op == GLOB_MATCH)
        return *value == '\0';
    if (rest[0].op == GLOB_DSTAR && rest[1].op == GLOB_MATCH)
        return true;
    size_t n = g->n - g->prefix;
    size_t words = (n + 63) / 64;
    uint64_t set[2][OS_GLOB_NODES / 64];
    uint64_t *now = set[0];
    uint64_t *next = set[1];
    memset(now, 0, words * sizeof(*now));
    now[0] = 1;
    for (;; value++) {
        unsigned char byte = (unsigned char)*value;
        uint64_t any = 0;
        memset(next, 0, words * sizeof(*next));
        for (size_t w = 0; w < words; w++) {
            /* Empty moves go to higher numbers only: re-reading the word after each step sees them. */
            for (uint64_t done = 0; now[w] & ~done;) {
                unsigned bit = (unsigned)__builtin_ctzll(now[w] & ~done);
                done |= UINT64_C(1) << bit;
                step(g, w * 64 + bit, byte, now, next);
            }
        }
        if (!byte)
            return (now[(n - 1) / 64] >> ((n - 1) % 64)) & 1;
        for (size_t w = 0; w < words; w++)
            any |= next[w];
        if (!any)
            return false;
        uint64_t *swap = now;
        now = next;
        next = swap;
    }
}

int policy_glob(const char *pattern, char delimiter, const char *value)
{
    struct glob_node nodes[OS_GLOB_NODES];
    struct glob g;
    if (glob_compile(pattern, delimiter, GLOB_G, nodes, OS_GLOB_NODES, &g))
        return -1;
    return glob_run(&g, value);
}

const char *policy_glob_check(const char *pattern)
{
    struct glob_node nodes[OS_GLOB_NODES];
    struct glob g;
    return glob_compile(pattern, '/', GLOB_G, nodes, OS_GLOB_NODES, &g);
}

bool policy_path_selects(const char *pattern, const char *path)
{
    if (!*pattern || !strcmp(pattern, "**") || !strcmp(pattern, "/**") || !strcmp(pattern, path))
        return true;
    size_t n = strlen(pattern);
    if (n > 3 && !strcmp(pattern + n - 3, "/**")) {
        n -= 3;
        return !strncmp(pattern, path, n) && (path[n] == '\0' || path[n] == '/');
    }
    struct glob_node nodes[OS_GLOB_NODES];
    struct glob g;
    if (glob_compile(pattern, '/', GLOB_P, nodes, OS_GLOB_NODES, &g))
        return false;
    return glob_run(&g, path);
}
