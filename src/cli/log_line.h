/* The text form of a log line (spec/cli.md 10). */
#ifndef CLI_LOG_LINE_H
#define CLI_LOG_LINE_H

#include "core/buf.h"
#include "openshell.pb-c.h"

/* "[<s>.<ms>] [source ] [level] [target] message k=v" and a newline; sorts the fields in place. */
void log_line_format(const Openshell__V1__SandboxLogLine *line, struct os_buf *out);

#endif
