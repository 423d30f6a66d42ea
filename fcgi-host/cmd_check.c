#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_check.h"
#include "fcgi-host/cmd_list.h"
#include "fcgi-host/cmd_unused.h"
#include "sandbox/cgroup_place.h"
#include "sandbox/plan.h"
#include "sandbox/userns.h"

#define LAYERS_MAX 32
#define CONTROLLERS_MAX 512
#define KERNEL_MAX 256

struct report {
	const char *path;
	const struct conf *conf;
	struct findings findings;
	struct sandbox_probe layers[LAYERS_MAX];
	size_t layer_count;
	bool has_cpu; /* the controller */
	bool has_cgroup; /* v2 */
	bool was_listed, has_index;
	size_t served, not_served;
	struct known known;
};

/* Which controllers this kernel has on cgroup v2: what a service with
 * Delegate=yes gets.  A shell's own cgroup says nothing about that. */
static void
find_controllers(struct cgroup_parent *parent, bool is_hybrid)
{
	FILE *file = fopen("/sys/fs/cgroup/cgroup.controllers", "re");
	char line[CONTROLLERS_MAX] = "";
	char *word, *rest = NULL;

	if (file == NULL)
		file = fopen("/sys/fs/cgroup/unified/cgroup.controllers",
		    "re");
	if (file != NULL) {
		if (fgets(line, sizeof(line), file) == NULL)
			line[0] = '\0';
		(void)fclose(file);
	}
	for (word = strtok_r(line, " \n", &rest); word != NULL;
	    word = strtok_r(NULL, " \n", &rest)) {
		parent->has_memory |= strcmp(word, "memory") == 0;
		parent->has_pids |= strcmp(word, "pids") == 0;
		parent->has_cpu |= strcmp(word, "cpu") == 0;
	}
	if (parent->has_memory && parent->has_pids && parent->has_cpu)
		return;
	if (is_hybrid)
		cgroup_place_explain_v1(parent->reason,
		    sizeof(parent->reason));
	else
		(void)snprintf(parent->reason, sizeof(parent->reason),
		    "the kernel or the container withholds the others");
}

static void
probe_layers(struct report *report)
{
	struct cgroup_parent parent = { .fd = -1 };
	struct cgroup_place place = { .fd = -1 };
	int error = cgroup_place_find(&place);

	if (error == 0 && userns_is_single() &&
	    faccessat(place.fd, "cgroup.procs", W_OK, AT_EACCESS) != 0) {
		(void)snprintf(parent.reason, sizeof(parent.reason), "none is "
		    "delegated to you, so memory and processes are bounded by "
		    "rlimits alone: systemd-run --user --scope -p "
		    "Delegate=yes fcgi-host run, or start as root");
	} else if (error == 0) {
		parent.fd = place.fd;
		memcpy(parent.mount, place.mount, sizeof(parent.mount));
		find_controllers(&parent, place.is_hybrid);
	} else {
		(void)snprintf(parent.reason, sizeof(parent.reason),
		    "no cgroup v2: %s", strerror(-error));
	}
	report->has_cpu = parent.has_cpu;
	report->has_cgroup = parent.fd >= 0;
	report->layer_count = sandbox_probe(&parent, report->layers,
	    LAYERS_MAX);
	if (place.fd >= 0)
		(void)close(place.fd);
}

/* True when the layer's name is a word of `require`. */
static bool
is_required(const struct conf *conf, const char *name)
{
	const char *at = conf->require;
	size_t n = strlen(name);

	while (*(at += strspn(at, " \t")) != '\0') {
		size_t length = strcspn(at, " \t");

		if (length == n && memcmp(at, name, n) == 0)
			return true;
		at += length;
	}
	return false;
}

static bool
asks_for(const struct settings *section, enum limit_key key)
{
	return (section->has_limits & UINT64_C(1) << key) != 0 &&
	    section->limits.value[key] != 0;
}

/* What has no stand-in where the cgroup lacks it. */
static void
judge_section(struct report *report, const char *where, const char *name,
    const struct settings *section)
{
	static const struct { enum limit_key limit; const char *key; } keys[] = {
		{ LIMIT_CPU_MILLI, "cpu" },
		{ LIMIT_MAX_CPU_MILLI, "max_cpu" },
	};

	for (size_t i = 0; i < 2 && !report->has_cpu; i++)
		if (asks_for(section, keys[i].limit))
			findings_add(&report->findings, FINDING_WARNING,
			    "[%s%s] %s has no effect, for there is no cpu "
			    "controller on cgroup v2; see the layer cgroup",
			    where, name, keys[i].key);
	if (asks_for(section, LIMIT_FREEZE_IDLE) && !report->has_cgroup)
		findings_add(&report->findings, FINDING_WARNING, "[%s%s] "
		    "freeze_idle has no effect, for there is no cgroup v2; "
		    "see the layer cgroup", where, name);
	/* the kernel counts by user namespace, and each instance has its own */
	if (asks_for(section, LIMIT_MAX_PROCESSES) && userns_is_single())
		findings_add(&report->findings, FINDING_WARNING, "[%s%s] "
		    "max_processes bounds each instance, not the tenant's "
		    "together, in an ordinary user's host", where, name);
}

static void
judge_layers(struct report *report)
{
	const struct conf *conf = report->conf;
	size_t i;

	judge_section(report, "defaults", "", &conf->defaults);
	for (i = 0; i < conf->tenant_count; i++)
		judge_section(report, "tenant ", conf->tenants[i].name,
		    &conf->tenants[i].settings);
	for (i = 0; i < conf->function_count; i++)
		judge_section(report, "function ",
		    conf->functions_sections[i].name,
		    &conf->functions_sections[i].settings);

	for (i = 0; i < report->layer_count; i++) {
		const struct sandbox_probe *layer = &report->layers[i];

		if (!layer->is_on && is_required(report->conf, layer->name))
			findings_add(&report->findings, FINDING_ERROR,
			    "[host] require: the layer %s is missing: %s; "
			    "or take it out of require",
			    layer->name, layer->fact);
	}
}

static int
take_function(const struct ctl_function *function, void *arg)
{
	struct report *report = arg;

	if (known_add(&report->known, function->name) != 0)
		return -ENOMEM;
	if (function->problem == CTL_PROBLEM_NONE) {
		report->served++;
		if (report->conf->index != NULL)
			report->has_index |= strcmp(function->name,
			    report->conf->index) == 0;
		if (function->note != 0)
			findings_add(&report->findings, FINDING_NOTE, "%s: %s",
			    function->name, function->detail);
		return 0;
	}
	report->not_served++;
	findings_add(&report->findings, FINDING_WARNING, "%s is not served: "
	    "%s", function->name, function->detail[0] != '\0' ?
	    function->detail :
	    ctl_problem_text((enum ctl_problem)function->problem));
	return 0;
}

static void
take_unused(void *arg, const char *sentence)
{
	findings_add(&((struct report *)arg)->findings, FINDING_WARNING, "%s",
	    sentence);
}

static void
look_at_functions(struct report *report)
{
	const struct conf *conf = report->conf;
	int error = list_collect(conf, take_function, report);

	report->was_listed = error == 0;
	if (error != 0)
		findings_add(&report->findings, FINDING_ERROR, "[host] "
		    "functions: %s cannot be listed: %s", conf->functions,
		    strerror(-error));
	else if (conf->index != NULL && !report->has_index)
		findings_add(&report->findings, FINDING_WARNING, "[host] "
		    "index: no function %s is served, and %s is answered by "
		    "404; drop it, name another, or take the line out",
		    conf->index, conf->url_prefix);
	if (error == 0)
		known_each_unused(&report->known, conf, take_unused, report);
}

static void
look(struct report *report)
{
	const struct conf *conf = report->conf;
	struct findings *findings = &report->findings;

	check_enter(conf, findings);
	check_accounts(conf, findings);
	check_places(conf, findings);
	check_function_logs(conf, findings);
	check_numbers(conf, findings);
	check_listen(conf, findings);
	check_network(conf, findings);
	check_programs(conf, findings);
	check_spares(conf, findings);
	check_web_servers(conf, "", findings);
	check_rotation(conf, "", findings);
	probe_layers(report);
	judge_layers(report);
	/* Without a directory or an account the scanner cannot start, and
	 * that has been said. */
	if (findings->counts[FINDING_ERROR] == 0)
		look_at_functions(report);
}

static int
put_findings(const struct report *report, struct buf *out)
{
	static const char *const words[] = { "note", "warning", "error" };
	const struct findings *findings = &report->findings;
	int weight, error = 0;
	size_t i;

	for (weight = FINDING_ERROR; weight >= FINDING_NOTE; weight--)
		for (i = 0; i < findings->count && error == 0; i++)
			if ((int)findings->at[i].weight == weight)
				error = buf_addf(out, "%s: %s\n",
				    words[weight], findings->at[i].text);
	return error;
}

/* The facts behind the layers are its. */
static const char *
kernel_name(char out[KERNEL_MAX])
{
	struct utsname name;

	if (uname(&name) != 0)
		return "unknown";
	(void)snprintf(out, KERNEL_MAX, "%s %s %s", name.sysname, name.release,
	    name.machine);
	return out;
}

static int
put_text(const struct report *report, struct buf *out)
{
	char kernel[KERNEL_MAX];
	int error = buf_addf(out, "%s: the configuration can be read\n\n"
	    "kernel %s\n", report->path, kernel_name(kernel));
	size_t i;

	for (i = 0; i < report->layer_count && error == 0; i++) {
		const struct sandbox_probe *layer = &report->layers[i];

		error = buf_addf(out, "layer %-13s %-3s  %-8s  %s\n",
		    layer->name, layer->is_on ? "on" : "off",
		    is_required(report->conf, layer->name) ? "required" : "-",
		    layer->fact);
	}
	if (error == 0 && report->was_listed)
		error = buf_addf(out, "\n%zu functions served, %zu not\n",
		    report->served, report->not_served);
	else if (error == 0)
		error = buf_add_str(out, "\nfunctions not looked at before "
		    "the errors are mended\n");
	if (error == 0 && report->findings.count > 0)
		error = buf_add_str(out, "\n");
	return error != 0 ? error : put_findings(report, out);
}

static int
put_pair(struct buf *out, const char *key, const char *text)
{
	int error = buf_addf(out, "\"%s\":", key);

	return error != 0 ? error : buf_add_json(out, text, strlen(text));
}

static int
put_json_layers(const struct report *report, struct buf *out)
{
	char kernel[KERNEL_MAX];
	int error = buf_add_str(out, ",");
	size_t i;

	if (error == 0)
		error = put_pair(out, "kernel", kernel_name(kernel));
	if (error == 0)
		error = buf_add_str(out, ",\"layers\":[");

	for (i = 0; i < report->layer_count && error == 0; i++) {
		const struct sandbox_probe *layer = &report->layers[i];

		error = buf_add_str(out, i > 0 ? ",{" : "{");
		if (error == 0)
			error = put_pair(out, "layer", layer->name);
		if (error == 0)
			error = buf_addf(out, ",\"on\":%s,\"required\":%s,",
			    layer->is_on ? "true" : "false",
			    is_required(report->conf, layer->name) ?
			    "true" : "false");
		if (error == 0)
			error = put_pair(out, "fact", layer->fact);
		if (error == 0)
			error = buf_add_str(out, "}");
	}
	return error != 0 ? error : buf_add_str(out, "]");
}

static int
put_json_findings(const struct findings *findings,
    enum finding_weight weight, const char *key, struct buf *out)
{
	int error = buf_addf(out, ",\"%s\":[", key);
	bool is_first = true;
	size_t i;

	for (i = 0; i < findings->count && error == 0; i++) {
		const char *text = findings->at[i].text;

		if (findings->at[i].weight != weight)
			continue;
		if (!is_first)
			error = buf_add_str(out, ",");
		if (error == 0)
			error = buf_add_json(out, text, strlen(text));
		is_first = false;
	}
	return error != 0 ? error : buf_add_str(out, "]");
}

static int
put_json(const struct report *report, struct buf *out)
{
	const struct findings *findings = &report->findings;
	int error = buf_add_str(out, "{");

	if (error == 0)
		error = put_pair(out, "file", report->path);
	if (error == 0)
		error = buf_addf(out, ",\"ok\":%s",
		    findings->counts[FINDING_ERROR] == 0 ? "true" : "false");
	if (error == 0 && report->was_listed)
		error = buf_addf(out, ",\"served\":%zu,\"not_served\":%zu",
		    report->served, report->not_served);
	else if (error == 0)
		error = buf_add_str(out, ",\"served\":null,"
		    "\"not_served\":null");
	if (error == 0)
		error = put_json_layers(report, out);
	if (error == 0)
		error = put_json_findings(findings, FINDING_ERROR, "errors",
		    out);
	if (error == 0)
		error = put_json_findings(findings, FINDING_WARNING,
		    "warnings", out);
	if (error == 0)
		error = put_json_findings(findings, FINDING_NOTE, "notes",
		    out);
	return error != 0 ? error : buf_add_str(out, "}\n");
}

/* The errors of a file that is not right, as a report of its own. */
static void
put_wrong(const char *path)
{
	struct report report = { .path = path };
	struct conf_errors errors = { .count = 0 };
	struct buf out = { .data = NULL };
	const char *line, *end;

	conf_unref(conf_load(path, &errors));
	line = (const char *)buf_head(&errors.text);
	end = line + buf_len(&errors.text);
	while (line < end) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		if (stop == NULL)
			stop = end;
		findings_add(&report.findings, FINDING_ERROR, "%.*s",
		    (int)(stop - line), line);
		line = stop + 1;
	}
	if (put_json(&report, &out) == 0)
		(void)cmd_print(&out);
	buf_free(&out);
	findings_free(&report.findings);
	conf_errors_free(&errors);
}

int
cmd_check(const struct cmd_verb *verb, int argc, char **argv)
{
	struct report report = { .path = DEFAULT_CONFIG };
	bool is_json = false;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&report.path),
		CMD_OPTION_JSON(&is_json) };
	struct buf out = { .data = NULL };
	struct conf *conf;
	int code, error;

	if (!cmd_options(verb, options, 2, argc, argv, NULL, &code))
		return code;
	conf = cmd_conf(report.path);
	if (conf == NULL || !cmd_prices_ok(conf)) {
		if (is_json)
			put_wrong(report.path);
		conf_unref(conf);
		return CMD_WRONG;
	}
	report.conf = conf;
	look(&report);
	error = is_json ? put_json(&report, &out) : put_text(&report, &out);
	code = error == 0 ? cmd_print(&out) : cmd_fail("no memory");
	if (code == CMD_DONE && report.findings.counts[FINDING_ERROR] > 0)
		code = CMD_FAILED;
	buf_free(&out);
	findings_free(&report.findings);
	known_free(&report.known);
	conf_unref(conf);
	return code;
}
