/*
 * `status`: the messages of a host that was taken over.  What the check lets
 * through becomes rows, whatever is in it; as text they hold nothing that moves
 * a cursor, as JSON they are one value in one line.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "fcgi-host/cmd_status.h"
#include "tests/fuzz/json.h"

#define MESSAGES_MAX 32

static const enum ctl_type types[] = { CTL_STATUS_HOST, CTL_STATUS_TENANT,
	CTL_STATUS_FN, CTL_STATUS_INSTANCE, CTL_STATUS_BUDGET };

/* A text ends with its field, or before it, and zeros follow. */
static void
take_text(char *field, size_t size, const uint8_t **data, size_t *n)
{
	size_t length = take_byte(data, n) % (size + 1), i;

	for (i = 0; i < length; i++) {
		uint8_t byte = take_byte(data, n);

		field[i] = byte != 0 ? (char)byte : 'x';
	}
}

#define TAKE_TEXT(field) take_text((field), sizeof(field), data, n)

/* The version as it must be, but for what the input says. */
static void
take_version(char *field, const uint8_t **data, size_t *n)
{
	uint8_t spoil = take_byte(data, n);

	memset(field, 'a', CTL_VERSION_LENGTH);
	if (spoil >= 0x80)
		field[spoil % CTL_VERSION_LENGTH] = (char)(spoil & 0x7f);
}

static void
take_texts(struct ctl_msg *msg, const uint8_t **data, size_t *n)
{
	switch (msg->type) {
	case CTL_STATUS_TENANT:
		TAKE_TEXT(msg->u.status_tenant.tenant);
		break;
	case CTL_STATUS_FN:
		TAKE_TEXT(msg->u.status_fn.name);
		take_version(msg->u.status_fn.version, data, n);
		break;
	case CTL_STATUS_INSTANCE:
		TAKE_TEXT(msg->u.status_instance.function);
		take_version(msg->u.status_instance.version, data, n);
		TAKE_TEXT(msg->u.status_instance.state);
		break;
	case CTL_STATUS_BUDGET:
		memset(msg->u.status_budget.currency, 0,
		    sizeof(msg->u.status_budget.currency));
		TAKE_TEXT(msg->u.status_budget.owner);
		TAKE_TEXT(msg->u.status_budget.currency);
		break;
	default:
		break;
	}
}

/* Where the numbers of a message begin, behind its texts. */
static size_t
numbers_of(const struct ctl_msg *msg)
{
	switch (msg->type) {
	case CTL_STATUS_TENANT:
		return offsetof(struct ctl_status_tenant, instances);
	case CTL_STATUS_FN:
		return offsetof(struct ctl_status_fn, executions);
	case CTL_STATUS_INSTANCE:
		return offsetof(struct ctl_status_instance, age_ms);
	case CTL_STATUS_BUDGET:
		return offsetof(struct ctl_status_budget, is_tenant);
	default:
		return 0;
	}
}

/* As many bytes of them as a byte says. */
static void
take_numbers(struct ctl_msg *msg, const uint8_t **data, size_t *n)
{
	size_t from = numbers_of(msg), used = take_byte(data, n);
	size_t size = msg->size - offsetof(struct ctl_msg, u);

	for (size_t i = from; i < from + used && i < size && *n > 0; i++)
		((uint8_t *)&msg->u)[i] = take_byte(data, n);
}

static void
check_text(const struct status *status)
{
	struct buf out = { .data = NULL };

	CLAIM(status_put(status, &out) == 0 && buf_len(&out) > 0);
	for (size_t i = out.start; i < out.end; i++)
		CLAIM(out.data[i] == '\n' ||
		    (out.data[i] >= 0x20 && out.data[i] <= 0x7e));
	CLAIM(out.data[out.end - 1] == '\n');
	buf_free(&out);
}

static void
check_json(const struct status *status)
{
	struct buf out = { .data = NULL };

	CLAIM(status_put(status, &out) == 0 && buf_len(&out) > 0);
	CLAIM(out.data[out.end - 1] == '\n');
	CLAIM(json_is_value((const char *)out.data + out.start,
	    buf_len(&out) - 1));
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct status text, json;

	status_init(&text, false);
	status_init(&json, true);
	for (unsigned i = 0; i < MESSAGES_MAX && n > 0; i++) {
		struct ctl_msg msg;

		ctl_msg_init(&msg, types[take_byte(&data, &n) % 5]);
		take_numbers(&msg, &data, &n);
		take_texts(&msg, &data, &n);
		if (ctl_msg_check(&msg, msg.size, 0, CTL_WAY_TO_COMMAND) != 0)
			continue;
		CLAIM(status_add(&text, &msg) == 0);
		CLAIM(status_add(&json, &msg) == 0);
	}
	check_text(&text);
	check_json(&json);
	status_free(&text);
	status_free(&json);
	return 0;
}
