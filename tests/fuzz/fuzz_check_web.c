/*
 * The configuration of somebody else's web server, any file of it, as `check`
 * looks for our address and for how long the server waits: what is found is a
 * time within bounds that stands there, and only where the address does.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <stdio.h>

#include "fcgi-host/cmd_check.h"

#define TEXT_MAX 16384
/* A number of at most 31 bits in days, some of them behind each other. */
#define TIME_MAX ((int64_t)INT32_MAX * 86400000)

static char path[] = "/run/fh/fh.sock", address[] = "127.0.0.1:9000";
static const struct conf conf = { .refs = 1, .listen = { path, address },
	.listen_count = 2 };
static const char *const servers[] = { "nginx", "Apache", "lighttpd", "Caddy",
	"HAProxy" };
static const char *const keys[] = { "fastcgi_read_timeout", "timeout=",
	"\"read-timeout\"", "read_timeout", "timeout server" };

static bool
goes_on(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' &&
	    strchr("_-./", c) != NULL);
}

/* Whether it stands there as a whole word, or at the end of one. */
static bool
stands_in(const char *text, const char *word)
{
	const char *at = text;

	for (; (at = strstr(at, word)) != NULL; at++)
		if (!goes_on(at[strlen(word)]) &&
		    (word[0] == '/' || at == text || !goes_on(at[-1]) ||
		    at[-1] == '/'))
			return true;
	return false;
}

/* The end of our path, since HAProxy's may be cut, or our address. */
static bool
may_name_us(const char *text)
{
	return stands_in(text, "/fh.sock") || stands_in(text, address);
}

/* A comment in front of it makes no difference. */
static int64_t
patience(const char *text, unsigned server, const char *comment)
{
	struct buf copy = { .data = NULL };
	bool is_named = false;
	int64_t ms;

	CLAIM(buf_addf(&copy, "%s%s", comment, text) == 0 &&
	    buf_add(&copy, "", 1) == 0);
	ms = check_web_patience_ms(servers[server], &conf,
	    (char *)copy.data + copy.start, &is_named);
	CLAIM(strlen((char *)copy.data + copy.start) + 1 == buf_len(&copy));
	CLAIM(!is_named || may_name_us(text));
	CLAIM(ms == -1 || (is_named && ms >= 0));
	CLAIM(ms == -1 || strstr(text, keys[server]) != NULL);
	buf_free(&copy);
	return ms;
}

/* The same whatever stands behind the word. */
static void
check_time(const char *text, int64_t bare_ms)
{
	int64_t ms = check_web_time_ms(text, bare_ms);
	char word[64];
	size_t n = strcspn(text, " \t\n;,)}\"");

	CLAIM(ms >= -1);
	if (n >= sizeof(word))
		return;
	memcpy(word, text, n);
	word[n] = '\0';
	CLAIM(check_web_time_ms(word, bare_ms) == ms);
	CLAIM(ms < 0 || isdigit((unsigned char)word[0]));
	CLAIM(ms <= TIME_MAX * 32);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t how = take_byte(&data, &n);
	unsigned server = ((unsigned)how & 31) % 5;
	int64_t ms;
	char *text;

	if (n > TEXT_MAX)
		n = TEXT_MAX;
	text = calloc(1, n + 1);
	CLAIM(text != NULL);
	if (n > 0)
		memcpy(text, data, n);
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\0')
			text[i] = '\n';
	ms = patience(text, server, "");
	CLAIM(patience(text, server, "# {\n") == ms);
	CLAIM(patience(text, server, "# (\n") == ms);
	CLAIM(patience(text, server, "# \"\n") == ms);
	check_time(text, how >> 5);
	free(text);
	return 0;
}
