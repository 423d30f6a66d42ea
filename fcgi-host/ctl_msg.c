#include <errno.h>
#include <string.h>

#include "fcgi-host/ctl_msg.h"

#define SIZE_OF(member) ((uint16_t)(CTL_HEAD_SIZE + \
    sizeof(((struct ctl_msg *)NULL)->u.member)))

_Static_assert(offsetof(struct ctl_msg, u) == CTL_HEAD_SIZE,
    "the head of a message has no padding");
_Static_assert(sizeof(struct ctl_msg) <= 4096,
    "a message between roles fits one page");

/* What is allowed of one type; fds: how many descriptors, or FDS_BY_BODY. */
struct type_rule {
	const char *name;
	uint16_t size;
	uint8_t ways;
	int8_t fds;
	int (*check)(const struct ctl_msg *msg);
};

#define FDS_BY_BODY (-1)

static bool
is_text(const char *field, size_t size)
{
	const char *end = memchr(field, '\0', size);
	size_t i;

	if (end == NULL)
		return false;
	for (i = 0; i < (size_t)(end - field); i++)
		if (field[i] < 0x20 || field[i] > 0x7e)
			return false;
	/* What stands behind the end would be carried on unseen. */
	for (; i < size; i++)
		if (field[i] != '\0')
			return false;
	return true;
}

#define IS_TEXT(field) is_text((field), sizeof(field))

static bool
is_zero(const void *data, size_t n)
{
	const uint8_t *bytes = data;
	size_t i;

	for (i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

#define IS_ZERO(field) is_zero((field), sizeof(field))

static bool
is_version(const char *version)
{
	return strspn(version, "0123456789abcdef") == CTL_VERSION_LENGTH &&
	    version[CTL_VERSION_LENGTH] == '\0';
}

static bool
is_segment_or_empty(const char *text)
{
	return text[0] == '\0' || ctl_segment_ok(text, strlen(text));
}

/* A function that is served is strict in every field; one with a problem may
 * have a name that is the problem, but printable it is. */
static int
check_function(const struct ctl_msg *msg)
{
	const struct ctl_function *f = &msg->u.function;
	bool is_served;

	if (!IS_TEXT(f->name) || !IS_TEXT(f->path) || !IS_TEXT(f->tenant) ||
	    !IS_TEXT(f->runtime) || !IS_TEXT(f->version) ||
	    !IS_TEXT(f->pass_params) || !IS_TEXT(f->detail) ||
	    !IS_TEXT(f->env_file))
		return -EPROTO;
	if (f->problem >= CTL_PROBLEM_COUNT || f->is_folder > 1 ||
	    f->is_fastcgi > 1 || f->has_env > 1 || f->note > 1 ||
	    f->limits.value[LIMIT_DATA] > 1 ||
	    f->limits.value[LIMIT_FREEZE_IDLE] > 1 ||
	    f->limits.value[LIMIT_SPARE] > 1 || f->name[0] == '\0')
		return -EPROTO;
	if (!is_segment_or_empty(f->runtime) || f->is_otherwise != 0 ||
	    f->is_chosen > 1 || f->pad != 0 ||
	    (f->env_file[0] != '\0' && !ctl_env_file_ok(f->env_file)))
		return -EPROTO;
	is_served = f->problem == CTL_PROBLEM_NONE;
	if ((!is_served && f->has_env != 0) ||
	    ((is_served || f->version[0] != '\0') && !is_version(f->version)))
		return -EPROTO;
	return !ctl_function_is_known(f) ||
	    (ctl_path_ok(f->path, f->name, f->is_folder != 0) &&
	    ctl_segment_ok(f->tenant, strlen(f->tenant))) ? 0 : -EPROTO;
}

static int
check_name(const struct ctl_msg *msg)
{
	const char *name = msg->u.name.name;

	return IS_TEXT(msg->u.name.name) && name[0] != '\0' ? 0 : -EPROTO;
}

static int
check_log(const struct ctl_msg *msg)
{
	const struct ctl_log *log = &msg->u.log;

	return log->is_first <= 1 && log->has_chain <= 1 &&
	    IS_ZERO(log->pad) ? 0 : -EPROTO;
}

static int
check_log_switched(const struct ctl_msg *msg)
{
	const struct ctl_log_switched *switched = &msg->u.log_switched;

	return switched->error >= 0 && switched->has_chain <= 1 &&
	    IS_ZERO(switched->pad) &&
	    (switched->has_chain != 0 || IS_ZERO(switched->head)) ? 0 :
	    -EPROTO;
}

static int
check_function_log_ask(const struct ctl_msg *msg)
{
	return IS_TEXT(msg->u.name.name) && ctl_name_ok(msg->u.name.name) ? 0 :
	    -EPROTO;
}

static int
check_function_log(const struct ctl_msg *msg)
{
	const struct ctl_function_log *log = &msg->u.function_log;

	return log->error >= 0 && (log->room != 0) == (log->error == 0) &&
	    IS_TEXT(log->name) && ctl_name_ok(log->name) &&
	    IS_ZERO(log->pad) ? 0 : -EPROTO;
}

static int
check_start(const struct ctl_msg *msg)
{
	const struct ctl_start *start = &msg->u.start;

	return start->is_again <= 1 && start->has_cgroup <= 1 &&
	    start->has_memory <= start->has_cgroup &&
	    IS_ZERO(start->pad) && start->pad2 == 0 ? 0 : -EPROTO;
}

static int
check_instance_start(const struct ctl_msg *msg)
{
	const struct ctl_instance_start *start = &msg->u.instance_start;

	return start->id != 0 && IS_TEXT(start->name) &&
	    ctl_name_ok(start->name) && IS_TEXT(start->version) &&
	    is_version(start->version) &&
	    start->purpose < CTL_PURPOSE_COUNT && IS_ZERO(start->pad) ? 0 :
	    -EPROTO;
}

static int
check_instance_kill(const struct ctl_msg *msg)
{
	return msg->u.instance_kill.id != 0 ? 0 : -EPROTO;
}

static int
check_instance_up(const struct ctl_msg *msg)
{
	const struct ctl_instance_up *up = &msg->u.instance_up;

	return up->id != 0 && (up->has & ~(uint32_t)CTL_HAS_ALL) == 0 ? 0 :
	    -EPROTO;
}

static int
check_instance_failed(const struct ctl_msg *msg)
{
	const struct ctl_instance_failed *failed = &msg->u.instance_failed;

	return failed->id != 0 && failed->error > 0 && failed->pad == 0 &&
	    IS_TEXT(failed->step) ? 0 : -EPROTO;
}

static int
check_instance_gone(const struct ctl_msg *msg)
{
	const struct ctl_instance_gone *gone = &msg->u.instance_gone;

	return gone->id != 0 && gone->has_cgroup <= 1 && IS_ZERO(gone->pad) ?
	    0 : -EPROTO;
}

static int
check_totals(const struct ctl_msg *msg)
{
	const struct ctl_totals *totals = &msg->u.totals;

	return totals->has_cgroup <= 1 && totals->is_final <= 1 &&
	    totals->is_taken_over <= 1 && totals->is_told <= 1 &&
	    totals->is_noted <= 1 &&
	    IS_ZERO(totals->pad) ? 0 : -EPROTO;
}

static int
check_drain(const struct ctl_msg *msg)
{
	const struct ctl_drain *drain = &msg->u.drain;

	return drain->has_next <= 1 && IS_ZERO(drain->pad) ? 0 : -EPROTO;
}

static int
check_command(const struct ctl_msg *msg)
{
	const struct ctl_command *command = &msg->u.command;

	if (command->verb <= CTL_VERB_NONE || command->verb >= CTL_VERB_COUNT)
		return -EPROTO;
	return command->has_file <= (command->verb == CTL_VERB_RELOAD) ? 0 :
	    -EPROTO;
}

/* The spawner hands on only what the gateway answers. */
static int
check_client(const struct ctl_msg *msg)
{
	uint32_t verb = msg->u.command.verb;

	if (verb != CTL_VERB_STATUS && verb != CTL_VERB_INVOKE &&
	    verb != CTL_VERB_CHECKS)
		return -EPROTO;
	return check_command(msg);
}

static int
check_reply(const struct ctl_msg *msg)
{
	const struct ctl_reply *reply = &msg->u.reply;

	return reply->code >= 0 && reply->pad == 0 && IS_TEXT(reply->text) ?
	    0 : -EPROTO;
}

/* Arguments of root's command: any bytes, but as many as it says, and nothing
 * behind them. */
static int
check_shell(const struct ctl_msg *msg)
{
	const struct ctl_shell *shell = &msg->u.shell;
	uint32_t count = 0, i;

	if (!IS_TEXT(shell->name) || !ctl_name_ok(shell->name) ||
	    shell->has_terminal > 1 || !IS_ZERO(shell->pad) ||
	    shell->count == 0 || shell->count > CTL_SHELL_ARGUMENTS_MAX ||
	    shell->length > CTL_SHELL_TEXT_MAX)
		return -EPROTO;
	for (i = 0; i < shell->length; i++)
		count += shell->text[i] == '\0';
	return count == shell->count && shell->text[i - 1] == '\0' &&
	    is_zero(shell->text + i, CTL_SHELL_TEXT_MAX - i) ? 0 : -EPROTO;
}

static int
check_shell_ask(const struct ctl_msg *msg)
{
	return msg->u.shell_ask.serial != 0 ? 0 : -EPROTO;
}

static int
check_shell_answer(const struct ctl_msg *msg)
{
	const struct ctl_shell_answer *answer = &msg->u.shell_answer;

	return answer->serial != 0 && answer->error >= 0 &&
	    (answer->id != 0) == (answer->error == 0) && answer->pad == 0 ?
	    0 : -EPROTO;
}

/* One that is served, of course. */
static int
check_shell_up(const struct ctl_msg *msg)
{
	return msg->u.function.problem == CTL_PROBLEM_NONE ?
	    check_function(msg) : -EPROTO;
}

static int
check_shell_gone(const struct ctl_msg *msg)
{
	const struct ctl_shell_gone *shell = &msg->u.shell_gone;

	return shell->gone.id != 0 && shell->gone.has_cgroup <= 1 &&
	    IS_ZERO(shell->gone.pad) && shell->was_up <= 1 &&
	    IS_ZERO(shell->pad) && IS_TEXT(shell->tenant) &&
	    ctl_segment_ok(shell->tenant, strlen(shell->tenant)) &&
	    IS_TEXT(shell->name) && ctl_name_ok(shell->name) &&
	    IS_TEXT(shell->version) && is_version(shell->version) ? 0 :
	    -EPROTO;
}

static int
check_status_host(const struct ctl_msg *msg)
{
	const struct ctl_status_host *host = &msg->u.status_host;

	return host->is_draining <= 1 && host->has_cgroup <= 1 &&
	    IS_ZERO(host->pad) ? 0 : -EPROTO;
}

static int
check_status_tenant(const struct ctl_msg *msg)
{
	const struct ctl_status_tenant *tenant = &msg->u.status_tenant;

	return IS_TEXT(tenant->tenant) && tenant->tenant[0] != '\0' ? 0 :
	    -EPROTO;
}

static int
check_status_fn(const struct ctl_msg *msg)
{
	const struct ctl_status_fn *fn = &msg->u.status_fn;

	return IS_TEXT(fn->name) && fn->name[0] != '\0' &&
	    IS_TEXT(fn->version) ? 0 : -EPROTO;
}

static int
check_status_instance(const struct ctl_msg *msg)
{
	const struct ctl_status_instance *instance = &msg->u.status_instance;

	return IS_TEXT(instance->function) && IS_TEXT(instance->version) &&
	    IS_TEXT(instance->state) && instance->pad == 0 &&
	    instance->memory_source < CTL_MEMORY_COUNT ? 0 : -EPROTO;
}

static int
check_status_budget(const struct ctl_msg *msg)
{
	const struct ctl_status_budget *budget = &msg->u.status_budget;

	return IS_TEXT(budget->owner) && budget->owner[0] != '\0' &&
	    budget->is_tenant <= 1 && budget->is_month <= 1 &&
	    budget->unit < CTL_BUDGET_UNITS && IS_TEXT(budget->currency) &&
	    budget->most != 0 ? 0 : -EPROTO;
}

static int
check_status_check(const struct ctl_msg *msg)
{
	const struct ctl_status_check *check = &msg->u.status_check;

	return IS_TEXT(check->name) && ctl_name_ok(check->name) &&
	    IS_TEXT(check->version) && is_version(check->version) &&
	    check->state < CTL_CHECK_COUNT && check->is_fastcgi <= 1 &&
	    IS_TEXT(check->text) ? 0 : -EPROTO;
}

enum {
	S2G = CTL_WAY_SPAWNER_TO_GATEWAY,
	G2S = CTL_WAY_GATEWAY_TO_SPAWNER,
	S2C = CTL_WAY_SPAWNER_TO_SCANNER,
	C2S = CTL_WAY_SCANNER_TO_SPAWNER,
	CMD = CTL_WAY_COMMAND_TO_SPAWNER,
	OUT = CTL_WAY_TO_COMMAND
};

static const struct type_rule rules[CTL_TYPE_COUNT] = {
	[CTL_CONF] = { "conf", CTL_HEAD_SIZE, S2G | S2C, 1, NULL },
	[CTL_PRICES] = { "prices", CTL_HEAD_SIZE, S2G, 1, NULL },
	[CTL_LOG] = { "log", SIZE_OF(log), S2G, FDS_BY_BODY, check_log },
	[CTL_STDERR] = { "stderr", CTL_HEAD_SIZE, S2G | S2C, 1, NULL },
	[CTL_LISTEN] = { "listen", CTL_HEAD_SIZE, S2G, 1, NULL },
	[CTL_ADOPT] = { "adopt", CTL_HEAD_SIZE, S2G, 1, NULL },
	[CTL_START] = { "start", SIZE_OF(start), S2G, 2, check_start },
	/* OUT: the scanner in its one-shot mode answers the command. */
	[CTL_FN_PUT] = { "fn_put", SIZE_OF(function), C2S | S2G | OUT,
	    FDS_BY_BODY, check_function },
	[CTL_FN_DEL] = { "fn_del", SIZE_OF(name), C2S | S2G, 0, check_name },
	[CTL_FN_SYNC] = { "fn_sync", CTL_HEAD_SIZE, C2S | S2G | G2S | OUT, 0,
	    NULL },
	[CTL_SCAN] = { "scan", CTL_HEAD_SIZE, S2C, 0, NULL },
	[CTL_INSTANCE_START] = { "instance_start", SIZE_OF(instance_start),
	    G2S, 0, check_instance_start },
	[CTL_INSTANCE_KILL] = { "instance_kill", SIZE_OF(instance_kill), G2S,
	    0, check_instance_kill },
	[CTL_INSTANCE_UP] = { "instance_up", SIZE_OF(instance_up), S2G,
	    FDS_BY_BODY, check_instance_up },
	[CTL_INSTANCE_FAILED] = { "instance_failed", SIZE_OF(instance_failed),
	    S2G, 0, check_instance_failed },
	[CTL_INSTANCE_GONE] = { "instance_gone", SIZE_OF(instance_gone), S2G,
	    0, check_instance_gone },
	[CTL_LOG_SWITCHED] = { "log_switched", SIZE_OF(log_switched), G2S, 0,
	    check_log_switched },
	[CTL_DRAIN] = { "drain", SIZE_OF(drain), S2G, FDS_BY_BODY,
	    check_drain },
	[CTL_DRAINED] = { "drained", CTL_HEAD_SIZE, G2S, 0, NULL },
	[CTL_TOTALS] = { "totals", SIZE_OF(totals), S2G, 0, check_totals },
	[CTL_CLIENT] = { "client", SIZE_OF(command), S2G, 1, check_client },
	[CTL_COMMAND] = { "command", SIZE_OF(command), CMD, FDS_BY_BODY,
	    check_command },
	[CTL_REPLY] = { "reply", SIZE_OF(reply), OUT, 0, check_reply },
	[CTL_STATUS_HOST] = { "status_host", SIZE_OF(status_host), OUT, 0,
	    check_status_host },
	[CTL_STATUS_TENANT] = { "status_tenant", SIZE_OF(status_tenant), OUT,
	    0, check_status_tenant },
	[CTL_STATUS_FN] = { "status_fn", SIZE_OF(status_fn), OUT, 0,
	    check_status_fn },
	[CTL_STATUS_INSTANCE] = { "status_instance", SIZE_OF(status_instance),
	    OUT, 0, check_status_instance },
	[CTL_STATUS_BUDGET] = { "status_budget", SIZE_OF(status_budget), OUT,
	    0, check_status_budget },
	[CTL_STATUS_CHECK] = { "status_check", SIZE_OF(status_check), OUT, 0,
	    check_status_check },
	[CTL_SHELL] = { "shell", SIZE_OF(shell), CMD, FDS_BY_BODY,
	    check_shell },
	[CTL_SHELL_ASK] = { "shell_ask", SIZE_OF(shell_ask), S2G, 0,
	    check_shell_ask },
	[CTL_SHELL_ANSWER] = { "shell_answer", SIZE_OF(shell_answer), G2S, 0,
	    check_shell_answer },
	[CTL_SHELL_UP] = { "shell_up", SIZE_OF(function), OUT, FDS_BY_BODY,
	    check_shell_up },
	[CTL_SHELL_GONE] = { "shell_gone", SIZE_OF(shell_gone), S2G, 0,
	    check_shell_gone },
	[CTL_BUSY] = { "busy", CTL_HEAD_SIZE, G2S, 0, NULL },
	[CTL_FUNCTION_LOG_ASK] = { "function_log_ask", SIZE_OF(name), G2S, 0,
	    check_function_log_ask },
	[CTL_FUNCTION_LOG] = { "function_log", SIZE_OF(function_log), S2G,
	    FDS_BY_BODY, check_function_log },
};

void
ctl_msg_init(struct ctl_msg *msg, enum ctl_type type)
{
	memset(msg, 0, sizeof(*msg));
	msg->magic = CTL_MAGIC;
	msg->type = (uint16_t)type;
	if (type > CTL_NONE && type < CTL_TYPE_COUNT)
		msg->size = rules[type].size;
}

static size_t
fds_of_body(const struct ctl_msg *msg)
{
	switch (msg->type) {
	case CTL_FN_PUT:
		return msg->u.function.has_env;
	case CTL_LOG:
		return 1u + msg->u.log.has_chain;
	case CTL_FUNCTION_LOG:
		return msg->u.function_log.error == 0;
	case CTL_INSTANCE_UP:
		return 1 + (size_t)__builtin_popcount(msg->u.instance_up.has);
	case CTL_DRAIN:
		return msg->u.drain.has_next;
	case CTL_SHELL:
		return msg->u.shell.has_terminal;
	case CTL_SHELL_UP:
		return 2u + msg->u.function.has_env;
	case CTL_COMMAND:
		return msg->u.command.verb == CTL_VERB_INVOKE ? 1 :
		    msg->u.command.has_file;
	default:
		return 0;
	}
}

int
ctl_msg_check(const struct ctl_msg *msg, size_t n, size_t fd_count,
    unsigned ways)
{
	const struct type_rule *rule;
	size_t fds;

	if (n < CTL_HEAD_SIZE || msg->magic != CTL_MAGIC ||
	    msg->type == CTL_NONE || msg->type >= CTL_TYPE_COUNT)
		return -EPROTO;
	rule = &rules[msg->type];
	if ((rule->ways & ways) == 0 || n != rule->size || msg->size != n)
		return -EPROTO;
	if (rule->check != NULL && rule->check(msg) != 0)
		return -EPROTO;
	fds = rule->fds == FDS_BY_BODY ? fds_of_body(msg) : (size_t)rule->fds;
	return fd_count == fds ? 0 : -EPROTO;
}

bool
ctl_function_is_known(const struct ctl_function *function)
{
	return function->problem == CTL_PROBLEM_NONE ||
	    function->problem == CTL_PROBLEM_WRITING;
}

const char *
ctl_problem_text(enum ctl_problem problem)
{
	static const char *const texts[CTL_PROBLEM_COUNT] = {
		[CTL_PROBLEM_NONE] = "served",
		[CTL_PROBLEM_NAME] = "the name is not of a-z, 0-9, '.', '_' "
		    "and '-', or is too long or too deep",
		[CTL_PROBLEM_TWICE] = "two files have this name",
		[CTL_PROBLEM_WRITING] = "half-written: empty, or still open "
		    "for writing",
		[CTL_PROBLEM_LOOP] = "a loop of links",
		[CTL_PROBLEM_LINK_OUT] = "a link that leads out of the "
		    "functions directory",
		[CTL_PROBLEM_LINK] = "a link; put the file itself here",
		[CTL_PROBLEM_OWNER] = "owned by neither root nor the tenant's "
		    "user",
		[CTL_PROBLEM_MODE] = "writable by others, or not readable or "
		    "executable by the tenant",
		[CTL_PROBLEM_TYPE] = "no program: no runtime has this "
		    "extension and it is not executable",
		[CTL_PROBLEM_SIDECAR] = "its .ini file has an error",
		[CTL_PROBLEM_TENANT] = "its tenant cannot be used",
		[CTL_PROBLEM_READ] = "cannot be read",
		[CTL_PROBLEM_MANY] = "too many functions",
	};

	if ((unsigned)problem >= CTL_PROBLEM_COUNT)
		return "unknown problem";
	return texts[problem];
}

const char *
ctl_type_name(enum ctl_type type)
{
	if ((unsigned)type >= CTL_TYPE_COUNT || rules[type].name == NULL)
		return "none";
	return rules[type].name;
}
