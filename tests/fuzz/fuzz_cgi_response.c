/*
 * The head of a CGI answer: however the bytes are cut, the same verdict at the
 * same byte; and the normal form is one head, with nothing smuggled in, that
 * is its own normal form.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>

#include "fcgi-host/cgi_response.h"

static size_t
decode(struct cgi_response *response, const uint8_t *data, size_t n,
    size_t header_max, bool is_cut, uint32_t seed)
{
	size_t done = 0;

	cgi_response_init(response, header_max);
	while (done < n && response->state == CGI_RESPONSE_MORE) {
		size_t left = n - done;
		size_t length = is_cut ? next_cut(&seed, left) : left;
		size_t taken = cgi_response_feed(response, data + done, length);

		CLAIM(taken <= length);
		if (response->state == CGI_RESPONSE_MORE)
			CLAIM(taken == length);
		done += taken;
	}
	CLAIM(done <= header_max);
	CLAIM((response->state == CGI_RESPONSE_BAD) ==
	    (response->problem != NULL));
	return done;
}

/* Not by strncasecmp: libFuzzer listens to it, and reads on behind the first
 * byte that differs, beyond the head's end. */
static bool
begins(const uint8_t *line, const char *name)
{
	for (; *name != '\0'; line++, name++)
		if (tolower(*line) != tolower((unsigned char)*name))
			return false;
	return true;
}

/* A line of the normal form begins with a token and ": ", and is not for the
 * connection or the web server. */
static void
check_field(const uint8_t *line)
{
	static const char *const never[] = { "Transfer-Encoding:",
		"Connection:", "Keep-Alive:", "Upgrade:", "Trailer:", "TE:",
		"Proxy-", "X-Accel-Redirect:", "X-Sendfile:", "X-Sendfile2:",
		"X-LIGHTTPD-send-file:", "X-LIGHTTPD-send-file2:",
		"X-Reproxy-URL:" };
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t length = strspn((const char *)line, token);

	CLAIM(length > 0 && memcmp(line + length, ": ", 2) == 0);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		CLAIM(!begins(line, never[i]));
}

/* Which of the fields that may stand there once only this is, as a bit. */
static unsigned
single_field(const uint8_t *line)
{
	static const char *const once[] = { "Status:", "Location:",
		"Content-Type:", "Content-Length:" };

	for (unsigned i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (begins(line, once[i]))
			return 1u << i;
	return 0;
}

/* Lines that end in CRLF, none empty but the last, none with a control byte
 * inside but tab; one Status, no Location behind it, no known field twice. */
static void
check_form(const struct buf *head)
{
	const uint8_t *at = head->data + head->start;
	size_t n = buf_len(head), line = 0, statuses = 0;
	unsigned seen = 0, field;

	CLAIM(n > 4);
	for (size_t i = 0; i < n; i++) {
		if (at[i] == '\r') {
			CLAIM(i + 1 < n && at[i + 1] == '\n');
			CLAIM(line > 0 || i + 2 == n);
			line = 0;
			i++;
			continue;
		}
		CLAIM(at[i] == '\t' || (at[i] >= 0x20 && at[i] != 0x7f));
		if (line == 0) {
			check_field(at + i);
			field = single_field(at + i);
			CLAIM((seen & field) == 0);
			seen |= field;
			statuses += n - i > 8 &&
			    memcmp(at + i, "Status: ", 8) == 0;
			CLAIM(statuses == 0 || n - i < 9 ||
			    strncasecmp((const char *)at + i, "Location:",
			    9) != 0);
		}
		line++;
	}
	CLAIM(line == 0 && statuses == 1 && memcmp(at + n - 4, "\r\n\r\n", 4) == 0);
}

static void
check_done(const struct cgi_response *response)
{
	struct cgi_response again;
	struct buf head = { 0 }, head_again = { 0 };

	CLAIM(response->status >= 200 && response->status <= 599);
	CLAIM(response->fields <= CGI_RESPONSE_FIELDS_MAX);
	CLAIM(response->has_location || response->has_status ||
	    response->has_content_type);
	CLAIM(cgi_response_put_head(response, &head) == 0);
	check_form(&head);
	/* The normal form has a Status, perhaps one field more. */
	if (response->fields < CGI_RESPONSE_FIELDS_MAX) {
		CLAIM(decode(&again, buf_head(&head), buf_len(&head),
		    SIZE_MAX, false, 0) == buf_len(&head));
		CLAIM(again.state == CGI_RESPONSE_DONE);
		CLAIM(again.status == response->status);
		CLAIM(again.content_length == response->content_length);
		CLAIM(again.has_location == response->has_location);
		CLAIM(cgi_response_put_head(&again, &head_again) == 0);
		CLAIM(same_bytes(&head, &head_again));
		cgi_response_free(&again);
	}
	buf_free(&head);
	buf_free(&head_again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint32_t seed = take_byte(&data, &n) * 2654435761u;
	size_t header_max = (size_t)take_byte(&data, &n) * 64;
	struct cgi_response whole, cut;
	size_t whole_done, cut_done;

	whole_done = decode(&whole, data, n, header_max, false, 0);
	cut_done = decode(&cut, data, n, header_max, true, seed);
	CLAIM(whole.state == cut.state);
	CLAIM(whole_done == cut_done);
	CLAIM(whole.problem == cut.problem);
	CLAIM(whole.status == cut.status);
	CLAIM(whole.content_length == cut.content_length);
	CLAIM(same_bytes(&whole.head, &cut.head));
	if (whole.state == CGI_RESPONSE_DONE)
		check_done(&whole);
	cgi_response_free(&whole);
	cgi_response_free(&cut);
	return 0;
}
