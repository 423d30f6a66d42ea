/*
 * Messages between the roles: what is accepted has terminated, printable
 * strings, strict names, and goes only the way that its type may go.  The head
 * is made here, for CTL_MAGIC changes with every struct; some of the input's
 * first bytes spoil it.
 */
#include <errno.h>

#include "fcgi-host/ctl_msg.h"
#include "tests/fuzz/fuzz.h"

static void
check_string(const char *field, size_t size)
{
	size_t n = strnlen(field, size), i;

	CLAIM(n < size);
	for (i = 0; i < n; i++)
		CLAIM(field[i] >= 0x20 && field[i] <= 0x7e);
	for (; i < size; i++)
		CLAIM(field[i] == '\0');
}

#define CHECK_STRING(field) check_string((field), sizeof(field))

static void
check_version(const char *version)
{
	CLAIM(strlen(version) == CTL_VERSION_LENGTH);
	CLAIM(strspn(version, "0123456789abcdef") == CTL_VERSION_LENGTH);
}

/* What those who may have been taken over can say to the spawner at all. */
static bool
may_say(enum ctl_type type, size_t way)
{
	switch (way) {
	case CTL_WAY_GATEWAY_TO_SPAWNER:
		return type == CTL_INSTANCE_START ||
		    type == CTL_INSTANCE_KILL || type == CTL_LOG_SWITCHED ||
		    type == CTL_DRAINED || type == CTL_FN_SYNC ||
		    type == CTL_SHELL_ANSWER || type == CTL_BUSY ||
		    type == CTL_FUNCTION_LOG_ASK;
	case CTL_WAY_SCANNER_TO_SPAWNER:
		return type == CTL_FN_PUT || type == CTL_FN_DEL ||
		    type == CTL_FN_SYNC;
	case CTL_WAY_COMMAND_TO_SPAWNER:
		return type == CTL_COMMAND || type == CTL_SHELL;
	default:
		return type != CTL_COMMAND && type != CTL_SHELL;
	}
}

static void
check_function(const struct ctl_function *f, size_t fd_count)
{
	CHECK_STRING(f->name);
	CHECK_STRING(f->path);
	CHECK_STRING(f->tenant);
	CHECK_STRING(f->runtime);
	CHECK_STRING(f->version);
	CHECK_STRING(f->pass_params);
	CHECK_STRING(f->detail);
	CLAIM(fd_count == f->has_env);
	CLAIM(f->problem < CTL_PROBLEM_COUNT);
	CLAIM(f->is_otherwise == 0);
	if (f->problem != CTL_PROBLEM_NONE)
		return;
	CLAIM(ctl_name_ok(f->name));
	CLAIM(ctl_path_ok(f->path, f->name, f->is_folder != 0));
	CLAIM(strstr(f->path, "..") == NULL || strstr(f->name, "..") != NULL);
	CLAIM(strstr(f->path, "/../") == NULL && f->path[0] != '/');
	CLAIM(ctl_segment_ok(f->tenant, strlen(f->tenant)));
	check_version(f->version);
}

static void
check_accepted(const struct ctl_msg *msg, size_t fd_count)
{
	CLAIM(msg->type > CTL_NONE && msg->type < CTL_TYPE_COUNT);
	CLAIM(strcmp(ctl_type_name((enum ctl_type)msg->type), "none") != 0);
	switch (msg->type) {
	case CTL_FN_PUT:
		check_function(&msg->u.function, fd_count);
		break;
	case CTL_FUNCTION_LOG_ASK:
		CHECK_STRING(msg->u.name.name);
		CLAIM(ctl_name_ok(msg->u.name.name));
		break;
	case CTL_FUNCTION_LOG:
		CHECK_STRING(msg->u.function_log.name);
		CLAIM(ctl_name_ok(msg->u.function_log.name));
		CLAIM(fd_count == (msg->u.function_log.error == 0));
		break;
	case CTL_FN_DEL:
		CHECK_STRING(msg->u.name.name);
		break;
	case CTL_INSTANCE_START:
		CHECK_STRING(msg->u.instance_start.name);
		CLAIM(ctl_name_ok(msg->u.instance_start.name));
		CHECK_STRING(msg->u.instance_start.version);
		check_version(msg->u.instance_start.version);
		CLAIM(msg->u.instance_start.purpose < CTL_PURPOSE_COUNT);
		break;
	case CTL_INSTANCE_FAILED:
		CHECK_STRING(msg->u.instance_failed.step);
		break;
	case CTL_REPLY:
		CHECK_STRING(msg->u.reply.text);
		break;
	case CTL_STATUS_TENANT:
		CHECK_STRING(msg->u.status_tenant.tenant);
		break;
	case CTL_STATUS_FN:
		CHECK_STRING(msg->u.status_fn.name);
		break;
	case CTL_STATUS_INSTANCE:
		CHECK_STRING(msg->u.status_instance.function);
		CHECK_STRING(msg->u.status_instance.state);
		break;
	case CTL_STATUS_CHECK:
		CHECK_STRING(msg->u.status_check.name);
		CLAIM(ctl_name_ok(msg->u.status_check.name));
		check_version(msg->u.status_check.version);
		CHECK_STRING(msg->u.status_check.text);
		CLAIM(msg->u.status_check.state < CTL_CHECK_COUNT);
		break;
	case CTL_STATUS_BUDGET:
		CHECK_STRING(msg->u.status_budget.owner);
		CHECK_STRING(msg->u.status_budget.currency);
		CLAIM(msg->u.status_budget.unit < CTL_BUDGET_UNITS);
		CLAIM(msg->u.status_budget.most > 0);
		break;
	default:
		break;
	}
}

/* By its name and a colon, so that the inputs outlive a change of the numbers;
 * or by a byte. */
static enum ctl_type
take_type(const uint8_t **data, size_t *n)
{
	for (unsigned type = CTL_NONE + 1; type < CTL_TYPE_COUNT; type++) {
		const char *name = ctl_type_name((enum ctl_type)type);
		size_t length = strlen(name);

		if (*n > length && memcmp(*data, name, length) == 0 &&
		    (*data)[length] == ':') {
			*data += length + 1;
			*n -= length + 1;
			return (enum ctl_type)type;
		}
	}
	return (enum ctl_type)take_byte(data, n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum ctl_type type = take_type(&data, &n);
	size_t fd_count = take_byte(&data, &n) % 8;
	uint8_t spoil = take_byte(&data, &n);
	struct ctl_msg msg;
	size_t size, way, ways = 0;

	ctl_msg_init(&msg, type);
	size = msg.size;
	if (n > sizeof(msg.u))
		n = sizeof(msg.u);
	if (n > 0)
		memcpy(&msg.u, data, n);
	if ((spoil & 1) != 0)
		msg.size = (uint16_t)(spoil * 8);
	if ((spoil & 2) != 0)
		size = spoil * 8u;
	if ((spoil & 4) != 0)
		msg.magic++;
	if (size > sizeof(msg))
		size = sizeof(msg);
	for (way = 1; way <= CTL_WAY_TO_COMMAND; way <<= 1) {
		int error = ctl_msg_check(&msg, size, fd_count, (unsigned)way);

		CLAIM(error == 0 || error == -EPROTO);
		CLAIM(error != 0 || (spoil & 4) == 0);
		if (error == 0) {
			ways++;
			CLAIM(may_say((enum ctl_type)msg.type, way));
			check_accepted(&msg, fd_count);
		}
	}
	CLAIM(ctl_msg_check(&msg, size, fd_count, 0) == -EPROTO);
	CLAIM((ctl_msg_check(&msg, size, fd_count, 63) == 0) == (ways > 0));
	return 0;
}
