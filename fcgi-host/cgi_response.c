#include "fcgi-host/cgi_response.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* A line or a value inside one. */
struct slice {
	const char *text;
	size_t n;
};

void
cgi_response_init(struct cgi_response *response, size_t header_max)
{
	*response = (struct cgi_response){
		.state = CGI_RESPONSE_MORE,
		.status = 200,
		.content_length = -1,
		.header_max = header_max,
	};
}

void
cgi_response_free(struct cgi_response *response)
{
	buf_free(&response->line);
	buf_free(&response->head);
}

static void
refuse(struct cgi_response *response, const char *problem)
{
	response->state = CGI_RESPONSE_BAD;
	response->problem = problem;
}

/* Characters */

static bool
is_token_char(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool
is_token(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!is_token_char(name.text[i]))
			return false;
	return name.n > 0;
}

static bool
has_control(struct slice value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.text[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice
trim(struct slice value)
{
	while (value.n > 0 && is_blank(value.text[0])) {
		value.text++;
		value.n--;
	}
	while (value.n > 0 && is_blank(value.text[value.n - 1]))
		value.n--;
	return value;
}

static bool
name_is(struct slice name, const char *wanted)
{
	return name.n == strlen(wanted) &&
	    strncasecmp(name.text, wanted, name.n) == 0;
}

/* The fields that the host itself understands */

/* Three digits, then the end or a blank.  A status below 200 is interim: as
 * the answer it would make the client take the body for the next answer. */
static void
take_status(struct cgi_response *response, struct slice value)
{
	int status = 0;

	if (response->has_status) {
		refuse(response, "Status is given twice");
		return;
	}
	for (size_t i = 0; i < 3; i++) {
		if (i >= value.n || value.text[i] < '0' ||
		    value.text[i] > '9') {
			refuse(response, "Status is not three digits");
			return;
		}
		status = status * 10 + (value.text[i] - '0');
	}
	if (value.n > 3 && !is_blank(value.text[3]))
		refuse(response, "Status is not three digits");
	else if (status < 200 || status > 599)
		refuse(response, "Status is not between 200 and 599");
	response->has_status = true;
	response->status = status;
}

static void
take_content_type(struct cgi_response *response, struct slice value)
{
	(void)value;
	if (response->has_content_type)
		refuse(response, "Content-Type is given twice");
	response->has_content_type = true;
}

static void
take_location(struct cgi_response *response, struct slice value)
{
	if (response->has_location)
		refuse(response, "Location is given twice");
	else if (value.n == 0)
		refuse(response, "Location is empty");
	response->has_location = true;
}

/* Up to 18 digits, which fit in an int64_t. */
static void
take_content_length(struct cgi_response *response, struct slice value)
{
	int64_t length = 0;

	if (response->content_length >= 0) {
		refuse(response, "Content-Length is given twice");
		return;
	}
	if (value.n == 0 || value.n > 18) {
		refuse(response, "Content-Length is not a number");
		return;
	}
	for (size_t i = 0; i < value.n; i++) {
		if (value.text[i] < '0' || value.text[i] > '9') {
			refuse(response, "Content-Length is not a number");
			return;
		}
		length = length * 10 + (value.text[i] - '0');
	}
	response->content_length = length;
}

static const struct known_field {
	const char *name;
	void (*take)(struct cgi_response *response, struct slice value);
	bool is_kept; /* stands in the normal form as it was given */
} known_fields[] = {
	{ "Status", take_status, false },
	{ "Content-Type", take_content_type, true },
	{ "Location", take_location, true },
	{ "Content-Length", take_content_length, true },
};

static const struct known_field *
find_known(struct slice name)
{
	for (size_t i = 0; i < sizeof(known_fields) / sizeof(known_fields[0]);
	    i++)
		if (name_is(name, known_fields[i].name))
			return &known_fields[i];
	return NULL;
}

/*
 * The first speak of the connection between two neighbours (RFC 9110 section
 * 7.6.1); that one is the web server's, not the function's.  The last would
 * make the web server hand out a file or an internal location of its choosing,
 * another tenant's as well.
 */
static bool
is_dropped(struct slice name)
{
	static const char *const names[] = {
		"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade",
		"Trailer", "TE",
		"X-Accel-Redirect", "X-Sendfile", "X-Sendfile2",
		"X-LIGHTTPD-send-file", "X-LIGHTTPD-send-file2",
		"X-Reproxy-URL",
	};
	static const char proxy[] = "Proxy-";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name_is(name, names[i]))
			return true;
	return name.n >= sizeof(proxy) - 1 &&
	    strncasecmp(name.text, proxy, sizeof(proxy) - 1) == 0;
}

/* Lines */

static void
keep_field(struct cgi_response *response, struct slice name,
    struct slice value)
{
	if (buf_add(&response->head, name.text, name.n) != 0 ||
	    buf_add(&response->head, ": ", 2) != 0 ||
	    buf_add(&response->head, value.text, value.n) != 0 ||
	    buf_add(&response->head, "\r\n", 2) != 0)
		refuse(response, "no memory for the header");
}

static void
take_field(struct cgi_response *response, struct slice line)
{
	const struct known_field *known;
	const char *colon = memchr(line.text, ':', line.n);
	struct slice name, value;

	if (is_blank(line.text[0])) {
		refuse(response, "a header line begins with a blank");
		return;
	}
	if (colon == NULL) {
		refuse(response, "a header line has no colon; an answer "
		    "begins with lines like Content-Type: text/plain, and "
		    "an empty one");
		return;
	}
	name = (struct slice){ line.text, (size_t)(colon - line.text) };
	value = trim((struct slice){ colon + 1, line.n - name.n - 1 });
	if (!is_token(name)) {
		refuse(response, "a header field's name is not a token");
		return;
	}
	if (has_control(value)) {
		refuse(response, "a header field's value has a control byte");
		return;
	}
	known = find_known(name);
	if (known != NULL)
		known->take(response, value);
	if (response->state == CGI_RESPONSE_MORE && !is_dropped(name) &&
	    (known == NULL || known->is_kept))
		keep_field(response, name, value);
}

/* "HTTP/1.1 200 OK" as the first line: a program made to write the whole
 * answer (RFC 3875 section 5). */
static bool
is_status_line(struct slice line)
{
	return line.n >= 9 && memcmp(line.text, "HTTP/1.", 7) == 0 &&
	    line.text[7] >= '0' && line.text[7] <= '9' && line.text[8] == ' ';
}

static void
take_status_line(struct cgi_response *response, struct slice line)
{
	response->is_nph = true;
	if (has_control(line)) {
		refuse(response, "the status line has a control byte");
		return;
	}
	take_status(response, (struct slice){ line.text + 9, line.n - 9 });
}

static void
end_head(struct cgi_response *response)
{
	if (!response->has_status && !response->has_location &&
	    !response->has_content_type) {
		refuse(response, "the header has no Content-Type, Location or "
		    "Status");
		return;
	}
	if (!response->has_status && response->has_location)
		response->status = 302;
	response->state = CGI_RESPONSE_DONE;
}

static void
take_line(struct cgi_response *response, struct slice line)
{
	if (line.n > 0 && line.text[line.n - 1] == '\r')
		line.n--;
	if (line.n == 0) {
		end_head(response);
		return;
	}
	if (response->fields++ == CGI_RESPONSE_FIELDS_MAX)
		refuse(response, "the header has too many fields");
	else if (response->fields == 1 && is_status_line(line))
		take_status_line(response, line);
	else
		take_field(response, line);
}

/* Adds to the line in hand; takes the line when its end is there. */
static void
take_bytes(struct cgi_response *response, const uint8_t *data, size_t n)
{
	struct buf *line = &response->line;
	bool is_whole = data[n - 1] == '\n';

	if (buf_add(line, data, is_whole ? n - 1 : n) != 0) {
		refuse(response, "no memory for the header");
		return;
	}
	if (!is_whole)
		return;
	take_line(response, (struct slice){ buf_len(line) == 0 ? "" :
	    (const char *)buf_head(line), buf_len(line) });
	buf_reset(line, SIZE_MAX);
}

size_t
cgi_response_feed(struct cgi_response *response, const uint8_t *data, size_t n)
{
	size_t done = 0;

	while (done < n && response->state == CGI_RESPONSE_MORE) {
		size_t length = n - done;
		const uint8_t *newline;

		if (length > response->header_max - response->taken)
			length = response->header_max - response->taken;
		if (length > 0) {
			newline = memchr(data + done, '\n', length);
			if (newline != NULL)
				length = (size_t)(newline - data) - done + 1;
			take_bytes(response, data + done, length);
		}
		done += length;
		response->taken += length;
		if (response->state == CGI_RESPONSE_MORE &&
		    response->taken == response->header_max)
			refuse(response, "the header is too long");
	}
	return done;
}

/* Answers */

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 103, "Early Hints" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 207, "Multi-Status" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 423, "Locked" },
	{ 424, "Failed Dependency" },
	{ 425, "Too Early" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
	{ 508, "Loop Detected" },
	{ 511, "Network Authentication Required" },
};

const char *
cgi_response_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

bool
cgi_response_is_bodyless(int status, const char *method)
{
	return (status >= 100 && status < 200) || status == 204 ||
	    status == 304 || (method != NULL && strcmp(method, "HEAD") == 0);
}

static int
put_status(const struct cgi_response *response, struct buf *out)
{
	int rc = buf_add_str(out, "Status: ");

	if (rc == 0)
		rc = buf_add_number(out, (uint64_t)response->status, 3);
	if (rc == 0)
		rc = buf_add_str(out, " ");
	if (rc == 0)
		rc = buf_add_str(out, cgi_response_reason(response->status));
	return rc == 0 ? buf_add_str(out, "\r\n") : rc;
}

/* HAProxy takes the status from Status or Location, whichever is last. */
int
cgi_response_put_head(const struct cgi_response *response, struct buf *out)
{
	const struct buf *head = &response->head;
	int rc = 0;

	if (!response->has_location)
		rc = put_status(response, out);
	if (rc == 0 && buf_len(head) > 0)
		rc = buf_add(out, head->data + head->start, buf_len(head));
	if (rc == 0 && response->has_location)
		rc = put_status(response, out);
	if (rc == 0)
		rc = buf_add_str(out, "\r\n");
	return rc;
}

int
cgi_response_put_error(struct buf *out, int status, const char *extra,
    const char *sentence)
{
	return buf_addf(out, "Status: %d %s\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Length: %zu\r\n%s\r\n%s\n", status,
	    cgi_response_reason(status), strlen(sentence) + 1,
	    extra == NULL ? "" : extra, sentence);
}
