#include "fcgi-host/funclog.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "fcgi-host/log.h"

void
funclog_init(struct funclog *log, const char *function, uint64_t instance,
    struct funclog_quota *quota)
{
	memset(log, 0, sizeof(*log));
	log->quota = quota;
	log->function = function;
	log->instance = instance;
}

static void
dropped_tell(struct funclog *log, const char *request_id, uint64_t now_us)
{
	if (log->dropped > 0)
		logfiles_event(log->quota->files, log->function, now_us,
		    LOG_WARN, "stderr_dropped",
		    "request=%s function=%s instance=%" PRIu64
		    " lines=%" PRIu64, request_id, log->function,
		    log->instance, log->dropped);
	log->dropped = 0;
}

static bool
quota_take(struct funclog_quota *quota, uint64_t now_us)
{
	if (now_us - quota->window_start_us >=
	    (uint64_t)FUNCLOG_WINDOW_MS * 1000) {
		quota->window_start_us = now_us;
		quota->lines = 0;
	}
	if (quota->lines == FUNCLOG_BURST)
		return false;
	quota->lines++;
	return true;
}

#define LINE_FORMAT "request=%s function=%s instance=%" PRIu64 \
    " cut=%d text=\"%s\""

static void
line_put(const struct funclog *log, const char *request_id, const char *text,
    uint64_t now_us)
{
	struct logfiles *files = log->quota->files;
	char line[LOG_LINE_MAX];
	size_t n;

	if (!logfiles_is_on(files)) {
		log_output("stderr", LINE_FORMAT, request_id, log->function,
		    log->instance, log->is_cut, text);
		return;
	}
	n = log_text(line, LOG_INFO, "stderr", LINE_FORMAT, request_id,
	    log->function, log->instance, log->is_cut, text);
	logfiles_line(files, log->function, line, n, now_us);
}

static void
line_write(struct funclog *log, const char *request_id, uint64_t now_us)
{
	char text[3 * FUNCLOG_LINE_MAX];

	if (!quota_take(log->quota, now_us)) {
		log->dropped++;
	} else {
		dropped_tell(log, request_id, now_us);
		log_value(text, sizeof(text), log->line, log->used);
		line_put(log, request_id, text, now_us);
	}
	log->used = 0;
}

void
funclog_feed(struct funclog *log, const char *request_id, const char *data,
    size_t n, uint64_t now_us)
{
	while (n > 0) {
		const char *end = memchr(data, '\n', n);
		size_t part = end == NULL ? n : (size_t)(end - data);
		size_t room = sizeof(log->line) - log->used;
		size_t taken = part < room ? part : room;

		if (!log->is_cut) {
			memcpy(log->line + log->used, data, taken);
			log->used += taken;
		}
		if (!log->is_cut && taken < part) {
			log->is_cut = 1;
			line_write(log, request_id, now_us);
		}
		if (end == NULL)
			return;
		if (!log->is_cut)
			line_write(log, request_id, now_us);
		log->is_cut = 0;
		data = end + 1;
		n -= part + 1;
	}
}

void
funclog_end(struct funclog *log, const char *request_id, uint64_t now_us)
{
	if (log->used > 0 && !log->is_cut)
		line_write(log, request_id, now_us);
	dropped_tell(log, request_id, now_us);
	log->used = 0;
	log->is_cut = 0;
}
