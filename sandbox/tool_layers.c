#include "sandbox/tool_layers.h"

#include <stdio.h>

/* What was left out on purpose is said even with --quiet. */
void
tool_layers_say(const struct tool_options *options,
    const struct sandbox_probe *probes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct sandbox_probe *probe = &probes[i];

		if (options->without & probe->layer)
			tool_say("WITHOUT THE LAYER %s: this sandbox is weaker "
			    "than a function's", probe->name);
		else if (!probe->is_on && !options->is_quiet)
			tool_say("the layer %s is off: %s", probe->name,
			    probe->fact);
	}
}

void
tool_layers_print(const struct tool_options *options,
    const struct sandbox_probe *probes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct sandbox_probe *probe = &probes[i];
		bool is_out = options->without & probe->layer;

		printf("layer %-13s %-3s  %s\n", probe->name,
		    is_out ? "out" : probe->is_on ? "on" : "off", is_out ?
		    "left out by --without" : probe->fact);
	}
}
