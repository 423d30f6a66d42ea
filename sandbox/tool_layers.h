/* What fcgi-host-sandbox says of the layers of the sandbox that it makes. */
#ifndef SANDBOX_TOOL_LAYERS_H
#define SANDBOX_TOOL_LAYERS_H

#include "sandbox/tool_options.h"

/* On standard error: those that were left out, and, but with --quiet, those that
 * this machine lacks. */
void tool_layers_say(const struct tool_options *options,
    const struct sandbox_probe *probes, size_t count);

/* All of them, on standard output. */
void tool_layers_print(const struct tool_options *options,
    const struct sandbox_probe *probes, size_t count);

#endif
