/* OCSF classes: AUDIT_CLASS(id, prefix, class_uid, class_name, category_uid, category_name, profiles), the
 * last being how many of the profile names "container", "host", "security_control", "network_proxy" apply.
 * Source: spec/supervisor.md 15.2. */
/* clang-format off */
AUDIT_CLASS(NET,       "NET",       4001, "Network Activity",              4, "Network Activity",     4)
AUDIT_CLASS(HTTP,      "HTTP",      4002, "HTTP Activity",                 4, "Network Activity",     4)
AUDIT_CLASS(SSH,       "SSH",       4007, "SSH Activity",                  4, "Network Activity",     3)
AUDIT_CLASS(PROC,      "PROC",      1007, "Process Activity",              1, "System Activity",      3)
AUDIT_CLASS(FINDING,   "FINDING",   2004, "Detection Finding",             2, "Findings",             3)
AUDIT_CLASS(CONFIG,    "CONFIG",    5019, "Device Config State Change",    5, "Discovery",            3)
AUDIT_CLASS(LIFECYCLE, "LIFECYCLE", 6002, "Application Lifecycle",         6, "Application Activity", 2)
AUDIT_CLASS(API,       "API",       6003, "API Activity",                  6, "Application Activity", 2)
AUDIT_CLASS(EVENT,     "EVENT",        0, "Base Event",                    0, "Uncategorized",        2)
/* clang-format on */
#undef AUDIT_CLASS
