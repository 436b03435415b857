/* What the main process of a sandbox wrote at last, kept beyond its end: whoever attaches too late still sees
 * it. One per sandbox, replaced by the next run, removed with the sandbox. */
#ifndef GATEWAY_MAIN_OUTPUT_H
#define GATEWAY_MAIN_OUTPUT_H

#include "gateway/gateway.h"
#include "gateway/sandbox.h"
#include "openshell.pb-c.h"

/* Keeps the output of a report; a failure is logged, the end of the process matters more. */
void main_output_store(struct gateway *gw, const Openshell__V1__ReportMainProcessExitRequest *report);
/* What was reported for the run that the row is about, in the arena. NULL when nothing is known of it. */
const Openshell__V1__ReportMainProcessExitRequest *
main_output_load(struct gateway *gw, const sandbox_row *row, struct os_arena *a);

#endif
