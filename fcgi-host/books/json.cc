#include "fcgi-host/books/json.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include "fcgi-host/civil.h"

static_assert(JSON_PADDING >= simdjson::SIMDJSON_PADDING,
    "the library reads further behind a line's end");

struct json {
	simdjson::dom::parser parser;
};

namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

enum kind { TEXT, NUMBER, EXIT, BOOL };
enum need { OPTIONAL, NULLABLE, NEEDED };
enum { E = 1 << ENTRY_EXEC, I = 1 << ENTRY_INSTANCE, H = 1 << ENTRY_HOST };

struct field {
	std::string_view name;
	enum kind kind;
	enum need need; /* OPTIONAL may be missing, too */
	unsigned types; /* of records: what it is needed in */
	size_t offset;
};

#define F(name, kind, need, types) \
	{ #name, kind, need, types, offsetof(struct entry, name) }
/* What is no member as it stands. */
#define APART SIZE_MAX

/* In the order in which they are written, so that mostly the next key is the
 * next row. */
constexpr struct field fields[] = {
	{ "v", NUMBER, NEEDED, E | I | H, APART },
	F(seq, NUMBER, NEEDED, E | I | H),
	{ "type", TEXT, NEEDED, E | I | H, APART },
	{ "time", TEXT, NEEDED, E | I | H, APART },
	F(id, TEXT, NEEDED, E),
	F(request_id, TEXT, NULLABLE, E),
	{ "run", TEXT, NEEDED, H, APART },
	F(event, TEXT, NEEDED, H),
	F(tenant, TEXT, NEEDED, E | I),
	F(function, TEXT, NEEDED, E | I),
	F(version, TEXT, NULLABLE, E | I),
	F(runtime, TEXT, OPTIONAL, E | I),
	F(instance, TEXT, NULLABLE, E | I),
	F(trigger, TEXT, NEEDED, E),
	F(method, TEXT, NEEDED, E),
	F(start, TEXT, NULLABLE, E),
	{ "cold", BOOL, NULLABLE, E, offsetof(struct entry, is_cold) },
	F(status, NUMBER, NEEDED, E),
	F(outcome, TEXT, NEEDED, E),
	F(reason, TEXT, NULLABLE, E | I),
	F(cause, TEXT, OPTIONAL, E),
	F(queue_us, NUMBER, NEEDED, E),
	F(init_us, NUMBER, NEEDED, E),
	F(sandbox_us, NUMBER, OPTIONAL, E),
	F(program_us, NUMBER, OPTIONAL, E),
	F(run_us, NUMBER, NEEDED, E),
	F(deadline_ms, NUMBER, OPTIONAL, E),
	F(billed_ms, NUMBER, NEEDED, E),
	F(mib_ms, NUMBER, OPTIONAL, E),
	F(executions, NUMBER, NEEDED, I | H),
	F(lifetime_us, NUMBER, NEEDED, I),
	F(start_us, NUMBER, NEEDED, I),
	F(idle_us, NUMBER, NEEDED, I),
	F(start_cpu_us, NUMBER, NEEDED, I),
	F(exec_cpu_us, NUMBER, NEEDED, I),
	F(idle_cpu_us, NUMBER, NEEDED, I),
	F(cpu_us, NUMBER, NEEDED, E),
	F(cpu_user_us, NUMBER, NEEDED, E),
	F(cpu_sys_us, NUMBER, NEEDED, E),
	F(cpu_source, TEXT, NEEDED, E | I),
	F(mem_start_kib, NUMBER, OPTIONAL, E),
	F(mem_start_source, TEXT, OPTIONAL, E),
	F(mem_peak_kib, NUMBER, NEEDED, E | I),
	F(mem_source, TEXT, NEEDED, E),
	F(mem_limit_mib, NUMBER, OPTIONAL, E | I),
	F(idle_mib_ms, NUMBER, OPTIONAL, I),
	F(bytes_in, NUMBER, NEEDED, E),
	F(bytes_out, NUMBER, NEEDED, E),
	F(exit, EXIT, NULLABLE, E | I),
	F(signal, NUMBER, NULLABLE, E | I),
	F(refused_unrecorded, NUMBER, NEEDED, H),
	F(cgroup_cpu_us, NUMBER, OPTIONAL, H),
	F(cgroup_user_us, NUMBER, OPTIONAL, H),
	F(cgroup_sys_us, NUMBER, OPTIONAL, H),
	F(open_cpu_us, NUMBER, OPTIONAL, H),
	F(lost_cpu_us, NUMBER, OPTIONAL, H),
	F(mac, TEXT, OPTIONAL, E | I | H),
};

constexpr size_t FIELDS = sizeof(fields) / sizeof(fields[0]);
static_assert(FIELDS <= 64, "seen is one word");

constexpr uint64_t
bit_of(std::string_view name)
{
	uint64_t bit = 1;

	for (size_t i = 0; i < FIELDS && fields[i].name != name; i++)
		bit <<= 1;
	return bit;
}

constexpr uint64_t MIB_MS = bit_of("mib_ms"), TOTALS = bit_of("cgroup_cpu_us");

/* What a row does to a line's state beside filling a member. */
struct reading {
	struct entry *entry;
	char *why;
	uint64_t seen;
	uint64_t version;
	std::string_view type, time, run;
};

int
bad(struct reading *r, std::string_view name, const char *what)
{
	/* Names are rows of the table, never the line's own bytes. */
	std::snprintf(r->why, JSON_WHY_MAX, "%.*s %s", (int)name.size(),
	    name.data(), what);
	return -EBADMSG;
}

/* The row of a key; `next` is tried first. */
size_t
find(std::string_view key, size_t next)
{
	for (size_t i = 0; i < FIELDS; i++) {
		size_t at = next + i < FIELDS ? next + i : next + i - FIELDS;

		if (fields[at].name == key)
			return at;
	}
	return FIELDS;
}

int
take_text(struct reading *r, const struct field &field, element value)
{
	std::string_view text;

	if (value.get_string().get(text) != simdjson::SUCCESS)
		return bad(r, field.name, "is no text");
	if (field.name == "type")
		r->type = text;
	else if (field.name == "time")
		r->time = text;
	else if (field.name == "run")
		r->run = text;
	else {
		struct span span = { text.data(), text.size() };

		std::memcpy((char *)r->entry + field.offset, &span,
		    sizeof(span));
	}
	return 0;
}

int
take_number(struct reading *r, const struct field &field, element value)
{
	uint64_t number;

	if (value.get_uint64().get(number) != simdjson::SUCCESS)
		return bad(r, field.name, "is no number of 0 or more");
	if (field.kind == EXIT) {
		if (number > INT32_MAX)
			return bad(r, field.name, "is no exit code");
		r->entry->exit = (int64_t)number;
	} else if (field.offset == APART)
		r->version = number;
	else
		std::memcpy((char *)r->entry + field.offset, &number,
		    sizeof(number));
	return 0;
}

int
take(struct reading *r, size_t row, element value)
{
	const struct field &field = fields[row];

	if ((r->seen & UINT64_C(1) << row) != 0)
		return bad(r, field.name, "stands in the line twice");
	r->seen |= UINT64_C(1) << row;
	if (value.is_null()) {
		if (field.need == NEEDED)
			return bad(r, field.name, "is null");
		return 0;
	}
	if (field.kind == TEXT)
		return take_text(r, field, value);
	if (field.kind != BOOL)
		return take_number(r, field, value);
	if (value.get_bool().get(r->entry->is_cold) != simdjson::SUCCESS)
		return bad(r, field.name, "is neither true nor false");
	return 0;
}

int
check_whole(struct reading *r)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (fields[i].need != OPTIONAL &&
		    (fields[i].types & 1u << r->entry->type) != 0 &&
		    (r->seen & UINT64_C(1) << i) == 0)
			return bad(r, fields[i].name, "is missing");
	return 0;
}

int
set_type(struct reading *r)
{
	if (r->version != 1) {
		std::snprintf(r->why, JSON_WHY_MAX, "%s", r->version == 0 ?
		    "v is missing" : "v is not 1: a newer fcgi-host can read it");
		return -EBADMSG;
	}
	if (r->type == "exec")
		r->entry->type = ENTRY_EXEC;
	else if (r->type == "instance")
		r->entry->type = ENTRY_INSTANCE;
	else if (r->type == "host")
		r->entry->type = ENTRY_HOST;
	else
		return bad(r, "type", "is not exec, instance or host");
	return 0;
}

int
set_ids(struct reading *r)
{
	struct entry *e = r->entry;

	/* from 1 on, and who looks at numbers in a row may add one */
	if (e->seq == 0 || e->seq == UINT64_MAX)
		return bad(r, "seq", "is no number of a record");
	if (civil_parse_time(r->time.data(), r->time.size(), &e->time_us) != 0)
		return bad(r, "time", "is no time");
	switch (e->type) {
	case ENTRY_EXEC:
		if (entry_id(e->id, &e->run, &e->number) != 0)
			return bad(r, "id", "is no id");
		break;
	case ENTRY_INSTANCE:
		if (entry_id(e->instance, &e->run, &e->number) != 0)
			return bad(r, "instance", "is no id");
		break;
	default:
		if (entry_id({ r->run.data(), r->run.size() }, &e->run,
		    nullptr) != 0)
			return bad(r, "run", "is no run");
	}
	return 0;
}

int
finish(struct reading *r)
{
	struct entry *e = r->entry;
	int error = set_type(r);

	if (error == 0)
		error = check_whole(r);
	if (error == 0)
		error = set_ids(r);
	if (error != 0)
		return error;
	e->has_totals = (r->seen & TOTALS) != 0;
	if ((r->seen & MIB_MS) == 0 && e->type == ENTRY_EXEC &&
	    __builtin_mul_overflow(e->mem_limit_mib, e->billed_ms, &e->mib_ms))
		e->mib_ms = UINT64_MAX; /* as the writer has it */
	return 0;
}

} // namespace

struct json *
json_new(void)
{
	struct json *json = new (std::nothrow) struct json;

	if (json != nullptr &&
	    json->parser.allocate(JSON_LINE_MAX) == simdjson::SUCCESS)
		return json;
	delete json;
	return nullptr;
}

void
json_free(struct json *json)
{
	delete json;
}

int
json_read(struct json *json, const char *line, size_t n, struct entry *entry,
    char *why)
{
	struct reading r = { entry, why, 0, 0, {}, {}, {} };
	simdjson::dom::object object;
	element document;
	size_t next = 0;

	std::memset(entry, 0, sizeof(*entry));
	entry->exit = -1;
	if (n > JSON_LINE_MAX) {
		std::snprintf(why, JSON_WHY_MAX,
		    "the line has more than %zu bytes", JSON_LINE_MAX);
		return -EBADMSG;
	}
	auto error = json->parser.parse(line, n, false).get(document);
	if (error != simdjson::SUCCESS) {
		std::snprintf(why, JSON_WHY_MAX, "this is no JSON: %s",
		    simdjson::error_message(error));
		return -EBADMSG;
	}
	if (document.get_object().get(object) != simdjson::SUCCESS) {
		std::snprintf(why, JSON_WHY_MAX, "this is no JSON object");
		return -EBADMSG;
	}
	for (auto pair : object) {
		size_t row = find(pair.key, next);

		if (row == FIELDS)
			continue;
		int wrong = take(&r, row, pair.value);
		if (wrong != 0)
			return wrong;
		next = row + 1;
	}
	return finish(&r);
}
