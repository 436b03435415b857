/* Generated sandbox names. */
#include "gateway/names.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/id.h"

static const char *const adjectives[] = {
    "amber",  "brave", "brisk",  "calm",   "clear",  "clever", "cosmic", "crisp", "daring", "eager",
    "early",  "fancy", "fleet",  "fresh",  "gentle", "glad",   "golden", "happy", "ivory",  "jolly",
    "keen",   "kind",  "light",  "lively", "lucky",  "mellow", "merry",  "mild",  "modest", "neat",
    "nimble", "noble", "plucky", "polar",  "proud",  "quick",  "quiet",  "rapid", "ready",  "rosy",
    "royal",  "sage",  "sharp",  "shiny",  "silver", "smart",  "snowy",  "solar", "solid",  "steady",
    "sunny",  "swift", "tidy",   "vivid",  "warm",   "wise",   "witty",  "young", "zesty"};
static const char *const nouns[] = {
    "acorn",  "anchor", "badger", "beacon", "birch", "breeze", "brook",  "canyon", "cedar",
    "cloud",  "comet",  "coral",  "crane",  "delta", "dune",   "eagle",  "ember",  "falcon",
    "fern",   "finch",  "forest", "fox",    "gecko", "glade",  "harbor", "hawk",   "heron",
    "island", "jay",    "koala",  "lagoon", "lake",  "lark",   "lemur",  "lynx",   "maple",
    "marsh",  "meadow", "moon",   "oak",    "otter", "owl",    "panda",  "pebble", "pine",
    "puffin", "quail",  "raven",  "reef",   "ridge", "river",  "robin",  "seal",   "spruce",
    "star",   "stone",  "stork",  "swan",   "tiger", "trail",  "willow", "wolf",   "wren"};

const char *name_generate(char *out, size_t n)
{
    unsigned r[2];
    os_random(r, sizeof(r));
    snprintf(out, n, "%s-%s", adjectives[r[0] % OS_ARRAY_LEN(adjectives)], nouns[r[1] % OS_ARRAY_LEN(nouns)]);
    size_t len = strlen(out);
    while (len && out[len - 1] == '-')
        out[--len] = '\0';
    return out;
}
